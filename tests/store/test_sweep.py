"""Upkeep: what is live stays, what is young stays, the rest goes; verify finds damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.store.local import LocalStore
from renewal.store.sweep import sweep, verify


def age(store: LocalStore, name: str, seconds: float) -> None:
    path = store.path / name[:2] / name[2:]
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


@given(
    objects=st.dictionaries(
        st.binary(max_size=8), st.tuples(st.booleans(), st.booleans()), max_size=12
    )
)
@settings(max_examples=30, deadline=None)
def test_exactly_the_old_and_dead_are_swept(
    tmp_path_factory: pytest.TempPathFactory,
    objects: dict[bytes, tuple[bool, bool]],
) -> None:
    """Breaks when a live or a young object is deleted, or a dead old one is kept."""
    store = LocalStore(tmp_path_factory.mktemp("store"))
    live, dead = set(), set()
    for data, (is_live, is_old) in objects.items():
        name = store.put(data)
        if is_old:
            age(store, name, 7200)
        if is_live:
            live.add(name)
        elif is_old:
            dead.add(name)
    before = set(store.digests())
    assert set(sweep(store, live, older_than_s=3600)) == dead
    assert set(store.digests()) == before - dead


def test_sweep_takes_what_killed_writers_left(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    name = store.put(b"weights")
    left = tmp_path / name[:2] / ".tmp-0123456789abcdef"
    left.write_bytes(b"half")
    assert sweep(store, {name}, older_than_s=3600) == ()
    assert left.exists(), "it may be a write under way"
    os.utime(left, (0, 0))
    sweep(store, {name}, older_than_s=3600)
    assert not left.exists()
    assert list(store.digests()) == [name]


@pytest.mark.parametrize("older_than_s", [-1.0, float("nan")])
def test_sweep_refuses_an_age_that_is_none(tmp_path: Path, older_than_s: float) -> None:
    with pytest.raises(Invalid, match="0 seconds"):
        sweep(LocalStore(tmp_path), set(), older_than_s)


def test_verify_names_the_damaged_objects_only(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    names = sorted(store.put(bytes([i]) * 100) for i in range(5))
    assert verify(store) == ()
    path = tmp_path / names[2][:2] / names[2][2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    assert verify(store) == (names[2],)
