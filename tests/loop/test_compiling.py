"""Records of compiled forms: who gets one, when it counts, and what keeps a graph."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from renewal.core.errors import Invalid, Unavailable
from renewal.evaluate.compiled_record import (
    CompiledForm,
    forget_forms,
    read_form,
    recorded_graphs,
    write_form,
)
from renewal.loop import compiling
from renewal.loop.compiling import compile_due, compile_version
from renewal.loop.happening import Happening
from renewal.loop.sweeping import sweep_losers
from renewal.models.onnx_convert import compile_key
from renewal.store.local import LocalStore
from tests.loop.conftest import Stage

KEY = str(compile_key("sklearn"))


def test_versions_in_service_are_checked_once_for_each_runtime(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by a check at every tick, or a record that outlives its runtime."""
    told: list[Happening] = []
    shop = replace(stage.shop, tell=told.append)
    compile_due(replace(shop, compiled="never"))
    assert read_form(shop.db, stage.champion.id, KEY) is None
    compile_due(shop)
    compile_due(shop)
    found = read_form(shop.db, stage.champion.id, KEY)
    assert found is not None
    assert found.reason.startswith("equal"), "a logistic regression is equal, whichever is faster"
    assert found.probes[0].n_rows > 1000
    assert found.refusals.gaps == ("x",)
    assert (found.graph in recorded_graphs(shop.db)) == (found.form == "compiled")
    assert [each.kind for each in told] == ["compiled"]
    assert "v1 is served in its" in told[0].sentence
    assert read_form(shop.db, stage.candidate.id, KEY) is None, "it serves nobody"
    monkeypatch.setattr(compiling, "compile_key", lambda _adapter: "onnxruntime 99")
    compile_due(shop)
    assert len(told) == 2
    assert read_form(shop.db, stage.champion.id, "onnxruntime 99") is not None
    assert read_form(shop.db, stage.champion.id, KEY) == found


def test_a_record_whose_graph_is_gone_is_made_anew(stage: Stage) -> None:
    """Broken by a version that is served as it is for ever, though it could be faster."""
    shop = stage.shop
    lost = CompiledForm("compiled", "equal", graph="0" * 64)
    write_form(shop.db, stage.champion.id, KEY, lost, at=shop.clock.now())
    compile_due(shop)
    found = read_form(shop.db, stage.champion.id, KEY)
    assert found is not None
    assert found.graph != lost.graph
    assert found.probes


def test_what_cannot_be_converted_is_native_and_says_why(stage: Stage) -> None:
    """Broken by a watch that tries again at every round, or dies of it."""
    found = compile_version(stage.shop, stage.champion, timeout_s=0.01)
    assert (found.form, found.graph) == ("native", None)
    assert "within 0.01 s" in found.reason
    assert read_form(stage.shop.db, stage.champion.id, KEY) is not None
    other = replace(stage.champion, manifest=replace(stage.champion.manifest, adapter="torch"))
    with pytest.raises(Invalid, match="of the adapter torch"):
        compile_version(stage.shop, other)
    many = replace(stage.champion, manifest=replace(stage.champion.manifest, task="multilabel"))
    assert "the task multilabel" in compile_version(stage.shop, many).reason


class Away(LocalStore):
    """A store that cannot be read for a while."""

    def get(self, digest: str) -> bytes:
        """Say that it is away."""
        raise Unavailable("Away", needs="the disk", came=f"none, for {digest}", todo="Try again.")


def test_a_store_that_is_away_says_nothing_of_a_version(stage: Stage, tmp_path: Path) -> None:
    """Broken by a moment's trouble that keeps a version native for good."""
    shop = replace(stage.shop, store=Away(tmp_path / "away"))
    with pytest.raises(Unavailable, match="the disk"):
        compile_version(shop, stage.champion)
    compile_due(shop)
    assert read_form(shop.db, stage.champion.id, KEY) is None


def test_a_graph_stays_while_a_record_names_it(stage: Stage) -> None:
    """Broken by a sweep of losers that takes a graph which another version is served by."""
    shop, now = stage.shop, stage.shop.clock.now()
    graph = shop.store.put(b"a graph of two versions")
    form = CompiledForm("compiled", "equal", graph=graph)
    native = CompiledForm("native", "slower", native_ms=(1.0, 2.0))
    for version in (stage.champion, stage.candidate):
        write_form(shop.db, version.id, KEY, form, at=now)
    write_form(shop.db, stage.champion.id, "onnxruntime 0", native, at=now)
    kept = read_form(shop.db, stage.champion.id, "onnxruntime 0")
    assert kept is not None
    assert (kept.form, kept.native_ms) == ("native", (1.0, 2.0))
    assert sweep_losers(shop, timedelta(0)).versions == ()
    assert recorded_graphs(shop.db) == (graph,)
    assert forget_forms(shop.db, stage.champion.id) == ()
    assert read_form(shop.db, stage.champion.id, KEY) is None
    assert forget_forms(shop.db, stage.candidate.id) == (graph,)
    assert shop.store.get(graph)
