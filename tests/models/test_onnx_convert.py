"""Conversion in a child process: what it refuses, and what ends it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, SplineTransformer
from sklearn.tree import DecisionTreeClassifier

from renewal.core import plugin
from renewal.core.errors import Invalid, Missing, Refused, Unavailable
from renewal.core.plugin import load_plugin
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest
from renewal.models import onnx_convert
from renewal.models.onnx import OnnxRuntime
from renewal.models.onnx_convert import compile_key, convert
from renewal.models.onnx_graph import onnx_graph
from renewal.models.sklearn import SklearnAdapter

TWO = Signature((Field("a", "float"), Field("b", "float")))


def manifest_of(**changes: Any) -> Manifest:
    facts = {
        "model": "flights",
        "task": "binary",
        "adapter": "sklearn",
        "artifact": "0" * 64,
        "artifact_bytes": 0,
        "signature": TWO,
        "classes": (False, True),
        "strategy": "train",
    }
    return Manifest(**{**facts, **changes})


def test_the_child_gives_a_graph(adapter: SklearnAdapter, numbers: pa.Table, late: Any) -> None:
    """The plain way: bytes in, a graph with an input a column out."""
    fitted = adapter.fit(LogisticRegression(), numbers, late)
    runtime = OnnxRuntime(convert(manifest_of(), adapter.dump(fitted)), 2)
    gap = np.abs(runtime.predict(numbers) - adapter.predict(fitted, numbers)).max()
    assert gap < 1e-12


def test_what_cannot_be_converted_says_why(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any
) -> None:
    """Broken by a converter's error that is lost in the child, or that fills a screen."""
    fitted = adapter.fit(make_pipeline(SplineTransformer(), LogisticRegression()), numbers, late)
    with pytest.raises(Invalid, match="SplineTransformer") as caught:
        convert(manifest_of(), adapter.dump(fitted))
    assert len(str(caught.value)) < 600
    assert "native form" in caught.value.todo


def test_a_classifier_in_scikit_learns_curves_has_no_compiled_form_yet(
    adapter: SklearnAdapter, numbers: pa.Table, late: Any, curves_on: Callable[..., Any]
) -> None:
    """skl2onnx calibrates on probabilities what scikit-learn calibrates on decisions.

    Broken by taking the frozen model out of its wrapper to make it convert: every
    probability would be wrong, by up to a half.
    """
    base = adapter.fit(LogisticRegression(), numbers, late)
    fitted = curves_on(base, numbers, late)
    with pytest.raises(Invalid, match="FrozenEstimator"):
        onnx_graph(fitted, TWO)


@pytest.mark.parametrize("bare", [True, False], ids=["texts", "encoded"])
def test_splits_by_category_are_refused(
    adapter: SklearnAdapter,
    mixed: pa.Table,
    late: Any,
    bare: bool,  # noqa: FBT001  # a column of the table
) -> None:
    """Broken by letting skl2onnx read them as splits by number: half of the labels differ."""
    trees = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype")
    if not bare:
        encoder = make_column_transformer((OrdinalEncoder(), ["where"]), remainder="passthrough")
        trees = HistGradientBoostingClassifier(max_iter=5, categorical_features=[0])
        trees = make_pipeline(encoder, trees)
    fitted = adapter.fit(trees, mixed, late, seed=0)
    signature = Signature((*TWO.fields, Field("where", "string")))
    with pytest.raises(Invalid, match="splits by category"):
        onnx_graph(fitted, signature)


def test_splits_by_gaps_alone_are_converted() -> None:
    """Broken by trying trees in float64 first: for such a threshold skl2onnx never stops."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 2))
    is_gap = rng.random(300) < 0.5
    rows[is_gap, 0] = np.nan
    tree = DecisionTreeClassifier(random_state=0).fit(rows, is_gap)
    assert np.isinf(tree.tree_.threshold).any()
    graph = onnx_graph(tree, TWO)
    table = pa.table({"a": rows[:, 0], "b": rows[:, 1]})
    said = OnnxRuntime(graph, 2).predict(table)
    assert np.array_equal(said[:, 1] > 0.5, is_gap)


def test_the_child_trusts_what_the_operator_trusts(
    adapter: SklearnAdapter,
    numbers: pa.Table,
    late: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken by a child that loads anything, or that cannot find the operator's classes."""
    (tmp_path / "shop_parts.py").write_text(
        "from sklearn.base import BaseEstimator, TransformerMixin\n"
        "class Twice(TransformerMixin, BaseEstimator):\n"
        "    def fit(self, X, y=None):\n"
        "        self.n_features_in_ = X.shape[1]\n"
        "        return self\n"
        "    def transform(self, X):\n"
        "        return 2 * X\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    twice = __import__("shop_parts").Twice()
    assert isinstance(twice, BaseEstimator | TransformerMixin)
    fitted = adapter.fit(make_pipeline(twice, LogisticRegression()), numbers, late, names=False)
    data = adapter.dump(fitted)
    with pytest.raises(Refused, match=r"shop_parts\.Twice"):
        convert(manifest_of(), data)
    with pytest.raises(Invalid, match="Twice"):
        convert(manifest_of(), data, trust=("shop_parts.Twice",))


def test_time_over_kills_the_child_and_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by killing the child alone, or by a wait that has no end."""
    (tmp_path / "slow_child.py").write_text(
        "import subprocess, sys, time\n"
        "pids = [subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid]\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(pids[0]))\n"
        "time.sleep(60)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(onnx_convert, "_PROGRAM", "slow_child")
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"within 1\.5 s") as caught:
        convert(manifest_of(), b"", timeout_s=1.5)
    assert time.monotonic() - begun < 10
    assert caught.value.fields["timeout_s"] == 1.5
    _demand_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what another process holds")
def test_too_much_memory_kills_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by a conversion that takes the machine's memory, and the server with it."""
    (tmp_path / "large_child.py").write_text(
        "import time\nheld = bytearray(b'1') * 150_000_000\ntime.sleep(60)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(onnx_convert, "_PROGRAM", "large_child")
    with pytest.raises(Unavailable, match="within 100 MB") as caught:
        convert(manifest_of(), b"", memory_bytes=100_000_000, timeout_s=30.0)
    assert caught.value.fields["memory_bytes"] == 100_000_000


def test_a_key_names_what_a_compiled_form_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by a record that outlives the release of the runtime it was made with."""
    key = compile_key("sklearn")
    assert key is not None
    assert [each in key for each in ("onnxruntime 1.", "skl2onnx ", "scikit-learn ")] == [True] * 3
    assert "lightgbm " in (compile_key("lightgbm") or "")
    assert compile_key("torch") is None
    monkeypatch.setitem(onnx_convert._DEPENDS, "sklearn", ("no-such-package",))
    compile_key.cache_clear()
    assert compile_key("sklearn") is None
    compile_key.cache_clear()


def _demand_gone(pid: int) -> None:
    for _ in range(100):
        if not _runs(pid):
            return
        time.sleep(0.05)
    pytest.fail("a process of the conversion outlived it")


def _runs(pid: int) -> bool:
    """Whether a process runs; one that is dead and unburied does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def test_a_child_that_dies_is_no_riddle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by a KeyError or a FileNotFoundError when there is no answer to read."""
    (tmp_path / "dying_child.py").write_text(
        "import os, signal, sys\n"
        "sys.stderr.write('out of memory')\n"
        "sys.stderr.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(onnx_convert, "_PROGRAM", "dying_child")
    with pytest.raises(Unavailable, match="exit status -9: out of memory"):
        convert(manifest_of(), b"")


def test_a_converter_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by a child that dies of an ImportError while the parent waits."""
    monkeypatch.setattr(
        onnx_convert, "find_spec", lambda name: None if name == "skl2onnx" else find_spec(name)
    )
    with pytest.raises(Missing, match=r"no skl2onnx.*renewal\[compile\]"):
        convert(manifest_of(), b"")


def test_a_runtime_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by an import of onnxruntime anywhere but behind the plug-in table."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in ("onnx", "onnx_session"):
        monkeypatch.delitem(sys.modules, f"renewal.models.{name}")
    plugin._table.cache_clear()
    with pytest.raises(Missing, match=r"'onnxruntime'.*renewal\[onnx\]"):
        load_plugin("runtimes", "onnx")
    assert callable(load_plugin("runtimes", "native"))
