"""The store on disk: whole or not at all, verified when read, safe among processes."""

from __future__ import annotations

import contextlib
import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewal.core.errors import Corrupt, Invalid, NotFound, Unavailable
from renewal.store.contract import Store
from renewal.store.digest import digest
from renewal.store.local import LocalStore

CHILD = Path(__file__).with_name("endless_puts.py")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


def file_of(store: LocalStore, name: str) -> Path:
    return store.path / name[:2] / name[2:]


def damage(path: Path, how: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(how(data))


@given(data=st.binary(max_size=4096))
@settings(max_examples=50, deadline=None)
def test_what_was_put_comes_back(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    store: Store = LocalStore(tmp_path_factory.getbasetemp() / "shared")
    name = store.put(data)
    assert name == digest(data)
    assert store.get(name) == data
    assert name in set(store.digests())


def test_layout_and_mode_are_the_documented_ones(store: LocalStore) -> None:
    """Breaks when other tools, or a later version, would not find the objects."""
    name = store.put(b"weights")
    path = store.path / name[:2] / name[2:]
    assert path.read_bytes() == b"weights"
    assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0, "an object is read-only"


def test_putting_twice_keeps_one_file(store: LocalStore) -> None:
    assert store.put(b"a") == store.put(b"a")
    assert list(store.digests()) == [digest(b"a")]
    assert len(list(store.path.glob("*/*"))) == 1


def test_missing_object_is_not_found(store: LocalStore) -> None:
    with pytest.raises(NotFound, match=digest(b"never")):
        store.get(digest(b"never"))


@pytest.mark.parametrize("name", ["", "../registry.db", "a" * 63, "A" * 64])
def test_what_is_no_digest_is_refused_before_any_path_is_made(store: LocalStore, name: str) -> None:
    with pytest.raises(Invalid, match="64"):
        store.get(name)


@pytest.mark.parametrize("n_bytes", [0, 1, 1000, 4095])
def test_truncated_object_is_corrupt_and_names_its_path(store: LocalStore, n_bytes: int) -> None:
    """Breaks when a file is trusted by its name, its presence or its mode."""
    name = store.put(random.Random(1).randbytes(4096))
    path = file_of(store, name)
    damage(path, lambda data: data[:n_bytes])
    with pytest.raises(Corrupt, match=str(path)) as caught:
        store.get(name)
    assert caught.value.fields == {"digest": name, "path": str(path)}


@given(bit=st.integers(0, 8 * 512 - 1))
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_is_corrupt(tmp_path_factory: pytest.TempPathFactory, bit: int) -> None:
    """Breaks when a read can return other bytes than were put."""
    store = LocalStore(tmp_path_factory.getbasetemp() / "flipped")
    name = store.put(random.Random(2).randbytes(512))

    def flip(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    damage(file_of(store, name), flip)
    with pytest.raises(Corrupt):
        store.get(name)


def test_putting_again_mends_a_damaged_object(store: LocalStore) -> None:
    """Breaks when an existing file makes put return without looking at its bytes."""
    name = store.put(b"weights")
    damage(file_of(store, name), lambda data: data[:3])
    assert store.put(b"weights") == name
    assert store.get(name) == b"weights"


def test_temporary_and_foreign_files_are_no_objects(store: LocalStore) -> None:
    name = store.put(b"weights")
    (store.path / name[:2] / ".tmp-0123456789abcdef").write_bytes(b"half")
    (store.path / name[:2] / "README").write_bytes(b"")
    (store.path / "ab").write_bytes(b"a file where a folder is expected")
    assert list(store.digests()) == [name]


def test_the_order_of_a_write_survives_a_power_cut(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when the name appears before its bytes are on the disk, or is never synced.

    kill -9 cannot show this, since the kernel outlives the process; so the order of the
    calls is the test: file synced, then renamed, then the folder synced.
    """
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(handle: int) -> None:
        mode = os.fstat(handle).st_mode
        done.append("sync folder" if stat.S_ISDIR(mode) else "sync file")
        fsync(handle)

    def watched_rename(self: Path, target: Path) -> Path:
        assert self.parent == target.parent, "a rename is atomic within one folder"
        done.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    store.put(b"weights")
    assert done == ["sync folder", "sync file", "rename", "sync folder"]


def test_a_write_that_fails_leaves_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a full disk leaves a temporary file or half an object."""

    def full(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(28, "No space left on device")

    kept = store.put(b"there before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        store.put(b"weights")
    monkeypatch.undo()
    assert list(store.digests()) == [kept]
    assert not list(store.path.glob("*/.tmp-*"))


def test_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="file"):
        LocalStore(tmp_path / "file" / "objects")


@pytest.mark.parametrize("seed", range(3))
def test_kill_in_the_middle_of_puts_leaves_whole_objects_only(tmp_path: Path, seed: int) -> None:
    """Breaks when a killed writer leaves a half object, or loses one whose put returned."""
    folder = tmp_path / "objects"
    acknowledged: list[str] = []
    for round_ in range(4):
        child = subprocess.Popen(
            [sys.executable, CHILD, folder, str(10 * seed + round_)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        acknowledged.append(child.stdout.readline().strip())  # it runs by now
        time.sleep(random.Random(10 * seed + round_).uniform(0.0, 0.06))
        child.kill()
        acknowledged += child.stdout.read().split()
        assert child.wait() == -9
        child.stdout.close()
    store = LocalStore(folder)
    kept = list(store.digests())
    for name in kept:
        assert digest(store.get(name)) == name
    # The last line may be cut off by the kill.
    assert {name for name in acknowledged if len(name) == 64} <= set(kept)
    assert store.tidy(older_than_s=0) <= 4, "a killed writer leaves one temporary file at most"
    assert list(store.digests()) == kept


def test_delete_spares_the_young(store: LocalStore) -> None:
    name = store.put(b"weights")
    assert not store.delete(name, older_than_s=3600)
    assert store.get(name) == b"weights"
    os.utime(file_of(store, name), (0, 0))
    assert store.delete(name, older_than_s=3600)
    assert not store.delete(name)
    assert list(store.digests()) == []


def test_putting_again_makes_an_object_young(store: LocalStore) -> None:
    """Breaks when a sweep takes what somebody has just put and is about to refer to."""
    name = store.put(b"weights")
    os.utime(file_of(store, name), (0, 0))
    store.put(b"weights")
    assert not store.delete(name, older_than_s=3600)


def test_renewing_makes_an_object_young_without_its_bytes(store: LocalStore) -> None:
    """Breaks when a sweep takes the base that a version is about to name."""
    name = store.put(b"weights")
    os.utime(file_of(store, name), (0, 0))
    assert store.renew(name)
    assert not store.delete(name, older_than_s=3600)
    assert store.delete(name)
    assert not store.renew(name)
    with pytest.raises(Invalid):
        store.renew("../../etc/passwd")


def test_threads_that_put_and_delete_one_object_never_lose_a_put(store: LocalStore) -> None:
    """Breaks when age is read before a put and the file removed after it."""
    name = digest(b"contested")
    path = file_of(store, name)
    store.put(b"contested")
    stop = threading.Event()

    def sweep_old() -> None:
        while not stop.is_set():
            store.delete(name, older_than_s=3600)

    sweeper = threading.Thread(target=sweep_old)
    sweeper.start()
    try:
        for _ in range(300):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, (0, 0))  # old again: the sweeper may take it at any moment
            store.put(b"contested")
            assert store.get(name) == b"contested"
    finally:
        stop.set()
        sweeper.join()
