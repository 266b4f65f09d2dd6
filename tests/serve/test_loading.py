"""Loading a version in its compiled form: only by a record, and never at any price."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import pytest

from renewal.core.version import Version
from renewal.evaluate.compiled_record import CompiledForm, write_form
from renewal.models.onnx_convert import compile_key
from renewal.models.onnx_graph import onnx_graph
from renewal.models.parity_refusals import Refusals
from renewal.models.sklearn import SklearnAdapter
from renewal.serve import loading
from renewal.serve.server import Server
from tests.serve.conftest import COLUMNS, NOW, Home

KEY = str(compile_key("sklearn"))


def compiled(home: Home, version: Version, *, key: str = KEY, refusals: Any = None) -> str:
    """Write the record of a version that was found equal; return its graph."""
    fitted = SklearnAdapter().load(home.store.get(version.manifest.artifact))
    graph = home.store.put(onnx_graph(fitted, version.manifest.signature))
    form = CompiledForm("compiled", "equal", graph=graph, refusals=refusals or Refusals())
    write_form(home.db, version.id, key, form, at=NOW)
    return graph


def forms(server: Server) -> dict[str, str]:
    found: dict[str, str] = server.stats()["models"]["flights"]["forms"]
    return found


def first(home: Home) -> Version:
    home.declare()
    version = home.version()
    home.champion(version)
    home.steady(version)
    return version


def test_both_forms_answer_alike(home: Home) -> None:
    """Broken by scores that come from another form than the record says, or another version."""
    version = first(home)
    compiled(home, version, refusals=Refusals(gaps=(COLUMNS[0],)))
    native = home.start(compiled="never")
    other = home.start()
    assert (forms(native), forms(other)) == ({"v1": "native"}, {"v1": "compiled"})
    clients = home.client(native), home.client(other)
    ours, theirs = (each.infer("flights", 20, seed=3) for each in clients)
    assert ours.output("label") == theirs.output("label")
    assert ours.output("probability") == pytest.approx(theirs.output("probability"), abs=1e-9)
    said = clients[1].send("GET", "/v2/models/flights").body["parameters"]
    assert said["form"] == "compiled"
    assert "form" not in clients[0].send("GET", "/v2/models/flights").body["parameters"]
    other.flush()
    _rows, predictions = home.logged()
    assert {each["version_id"] for each in predictions} == {version.id}


@pytest.mark.parametrize("damage", ["missing", "no graph", "another runtime"])
def test_a_graph_that_does_not_load_is_no_failure(home: Home, damage: str) -> None:
    """Broken by a version that is not served because its faster form is not there."""
    version = first(home)
    if damage == "no graph":
        broken = home.store.put(b"this is no graph")
        form = CompiledForm("compiled", "equal", graph=broken)
        write_form(home.db, version.id, KEY, form, at=NOW)
    elif damage == "missing":
        home.store.delete(compiled(home, version))
    else:
        compiled(home, version, key="onnxruntime 0.1")
    server = home.start()
    assert forms(server) == {"v1": "native"}
    assert home.client(server).infer("flights", 2).status == 200
    assert server.stats()["n_failed_swaps"] == 0


def test_a_record_that_comes_later_is_followed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by a server that stays native until the next plan, or that never stops loading."""
    monkeypatch.setattr(loading, "_LOOK_S", 0.05)
    version = first(home)
    server = home.start()
    assert forms(server) == {"v1": "native"}
    compiled(home, version)
    assert _eventually(lambda: forms(server) == {"v1": "compiled"})
    n_swaps = server.stats()["n_swaps"]
    sleep(0.4)
    assert server.stats()["n_swaps"] == n_swaps
    assert home.client(server).infer("flights", 2).status == 200


def test_a_column_to_be_redacted_that_is_not_there_is_told(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """Breaks when a misspelt name of a column is logged in the clear, and nobody hears of it."""
    first(home)
    home.start(native="thread", log_redact=(COLUMNS[0], "surname"))
    (said,) = [each.message for each in caplog.records if "log_redact" in each.message]
    assert "missing=surname columns=distance,hour,carrier_delay" in said


def _eventually(holds: Callable[[], bool]) -> bool:
    until = monotonic() + 20
    while monotonic() < until:
        if holds():
            return True
        sleep(0.02)
    return False
