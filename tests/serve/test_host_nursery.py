"""Where the processes of versions come from."""

from __future__ import annotations

import pytest

from renewal.core.errors import Invalid, NotFound, Unavailable
from renewal.serve.host_nursery import THREADS, Nursery


@pytest.mark.parametrize("text", ["two", "0", "-1", ""])
def test_a_wrong_number_of_threads_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by a variable that is misread: every version would then take all cores."""
    monkeypatch.setenv(THREADS, text)
    with pytest.raises(Invalid, match=THREADS):
        Nursery().hire("sklearn")


def test_nobody_is_born_when_the_server_ends() -> None:
    """Broken by a version that is started again while the interpreter shuts down."""
    nursery = Nursery()
    nursery.close()
    with pytest.raises(Unavailable, match="is ending"):
        nursery.hire("sklearn")


def test_an_unknown_adapter_starts_nobody() -> None:
    nursery = Nursery()
    with pytest.raises(NotFound, match="sklern"):
        nursery.hire("sklern")
    assert nursery._crew is None
