"""Objects read in pieces: whole, or said to be damaged."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from renewal.core.errors import Corrupt, Invalid, NotFound
from renewal.store.local import LocalStore
from renewal.store.reader import Reader, read_object

DATA = bytes(range(256)) * 5000


class Elsewhere:
    """A store without files."""

    def __init__(self, inside: LocalStore) -> None:
        self.get = inside.get


@pytest.fixture(params=["files", "none"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    local = LocalStore(tmp_path)
    local.put(DATA)
    return local if request.param == "files" else Elsewhere(local)


def test_pieces_are_the_object(store: Any, tmp_path: Path) -> None:
    name = LocalStore(tmp_path).put(DATA)
    with read_object(store, name) as reader:
        found = reader.read(3) + reader.read(0) + reader.read()
        while piece := reader.read(100_000):
            found += piece
        reader.finish()
    assert found == DATA
    assert reader.n_bytes == len(DATA)
    with pytest.raises(NotFound):
        read_object(store, "af" * 32)
    with pytest.raises(Invalid):
        read_object(store, "../secrets")


@pytest.mark.parametrize("change", ["cut", "altered", "longer"])
def test_damage_shows_at_the_end_wherever_it_is(tmp_path: Path, change: str) -> None:
    """Broken when what was not read by the caller is not verified either."""
    store = LocalStore(tmp_path)
    name = store.put(DATA)
    (path,) = [each for each in tmp_path.glob("??/*") if not each.name.startswith(".")]
    path.chmod(0o644)
    last = {"cut": DATA[:-1], "altered": DATA[:-1] + b"x", "longer": DATA + b"x"}[change]
    path.write_bytes(last)
    with read_object(store, name) as reader:
        reader.read(10)
        with pytest.raises(Corrupt, match="bytes of digest"):
            reader.finish()


def test_the_file_is_closed(tmp_path: Path) -> None:
    file = BytesIO(b"x")
    with Reader(file, LocalStore(tmp_path).put(b"x")):
        pass
    assert file.closed
