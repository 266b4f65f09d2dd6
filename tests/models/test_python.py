"""Any object with fit and predict: stored without pickle, loaded only where it is trusted."""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pyarrow as pa
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

import renewal
from renewal.core.errors import Invalid, NotFound, Refused
from renewal.models.adapters import adapter_for
from renewal.models.load import load_runtime
from renewal.models.python import PythonAdapter, PythonModel
from renewal.models.python_bytes import from_bytes, to_bytes

ADAPTER = PythonAdapter()
ROWS = pa.table({"x": [0.0, 1.0, 2.0, 3.0] * 10})
VALUES = np.array([0.0, 1.0, 2.0, 3.0] * 10)
SAID = np.array([False, False, True, True] * 10, dtype=object)


class Line:
    """Fits a line through the origin."""

    def __init__(self, shrink: float = 0.0) -> None:
        self.shrink = shrink
        self.slope: Any = 0.0

    def fit(self, rows: Any, values: Any) -> None:
        x = np.asarray(rows, dtype=np.float64)[:, 0]
        self.slope = (x * values).sum() / ((x * x).sum() + self.shrink)

    def predict(self, rows: Any) -> Any:
        return np.asarray(rows, dtype=np.float64)[:, 0] * self.slope


class Halves:
    """Tells two halves apart, and says no classes."""

    def __init__(self, *, flat: float = 0.1) -> None:
        self.flat = flat
        self.middle = 0.0

    def fit(self, rows: Any, labels: Any) -> None:
        x = np.asarray(rows["x"])
        self.middle = float((x[labels == np.unique(labels)[0]].max() + x.min()) / 2 + 0.5)

    def predict_proba(self, rows: Any) -> Any:
        late = np.where(np.asarray(rows["x"]) > self.middle, 1 - self.flat, self.flat)
        return np.column_stack([1 - late, late])

    def predict(self, rows: Any) -> Any:
        return self.predict_proba(rows).argmax(axis=1)


class Deciding(Line):
    """Has no probabilities."""


class Forgetful(Line):
    """Does not keep what it was made with."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how


class Holding(Line):
    """Holds what is no data."""

    def fit(self, rows: Any, values: Any) -> None:
        super().fit(rows, values)
        self.parts = {"deep": [1, {"deeper": object()}]}


def path(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def test_only_a_class_that_the_operator_names_is_imported() -> None:
    """Broken by a file whose path is imported because it is in the file."""
    data = ADAPTER.dump(ADAPTER.fit(Line(), ROWS, VALUES))
    with pytest.raises(Refused, match="trust") as refused:
        ADAPTER.load(data)
    assert refused.value.fields["types"] == (path(Line),)
    with pytest.raises(Refused):
        ADAPTER.load(data, (path(Halves),))
    assert ADAPTER.predict(ADAPTER.load(data, (path(Line),)), ROWS)[3, 0] == pytest.approx(3.0)


def _under(data: bytes, name: str) -> bytes:
    """Return an archive that names another class."""
    with ZipFile(io.BytesIO(data)) as found:
        parts = {each: found.read(each) for each in found.namelist()}
    header = json.loads(parts["header.json"]) | {"class": name}
    target = io.BytesIO()
    with ZipFile(target, "w") as archive:
        for each, part in parts.items():
            archive.writestr(each, json.dumps(header) if each == "header.json" else part)
    return target.getvalue()


@pytest.mark.parametrize(
    "name", ["renewal_gone.models.Line", f"{Line.__module__}.Renamed", "os.system", "nothing"]
)
def test_an_import_path_that_is_gone_is_named(name: str) -> None:
    """Broken by an ImportError, or an AttributeError, in the middle of a deployment."""
    data = _under(ADAPTER.dump(ADAPTER.fit(Line(), ROWS, VALUES)), name)
    with pytest.raises(NotFound, match=name):
        ADAPTER.load(data, (name,))


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("facts", []),
        ("facts", {}),
        ("facts", {"classes": 5}),
        ("state", None),
        ("state", "text"),
        ("state", ["d", ["slope", ["a", "claims.npy"]]]),
    ],
)
def test_damaged_parts_of_a_trusted_class_are_typed_errors(part: str, wrong: Any) -> None:
    """Broken by a KeyError, or a MemoryError, in the middle of a deployment."""
    claims = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(claims, header)
    data = ADAPTER.dump(ADAPTER.fit(Line(), ROWS, VALUES))
    target = io.BytesIO()
    with ZipFile(io.BytesIO(data)) as found, ZipFile(target, "w") as archive:
        archive.writestr("claims.npy", claims.getvalue())
        archive.writestr(
            "header.json", json.dumps(json.loads(found.read("header.json")) | {part: wrong})
        )
    with pytest.raises(Invalid, match="PythonAdapter wrote"):
        ADAPTER.load(target.getvalue(), (path(Line),))


def test_a_small_archive_that_claims_gigabytes_is_never_unfolded() -> None:
    """Broken by a reader that unfolds every part before it asks whether it may."""
    target = io.BytesIO()
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({"format": "renewal.python.1"}))
        archive.writestr("1.npy", bytes(2**20))
    data = target.getvalue()
    claimed = data.replace(struct.pack("<I", 2**20), struct.pack("<I", 2**32 - 2))
    assert claimed != data
    with pytest.raises(Invalid, match="more than 2 GiB"):
        from_bytes(claimed, (path(Line),))


def test_a_pickle_is_refused_unread() -> None:
    with pytest.raises(Invalid, match="pickle"):
        from_bytes(pickle.dumps(Line()), (path(Line),))


def test_a_state_that_is_no_data_is_refused_with_what_to_write() -> None:
    """Broken by a dump that pickles what it does not know."""
    fitted = ADAPTER.fit(Holding(), ROWS, VALUES)
    with pytest.raises(Invalid, match="to_bytes") as refused:
        ADAPTER.dump(fitted)
    assert "['parts']['deep'][1]['deeper']" in str(refused.value)


def test_arrays_of_objects_never_reach_numpys_pickle() -> None:
    line = Line()
    line.slope = np.array([object()])
    with pytest.raises(Invalid, match="to_bytes"):
        to_bytes(line, {})


def test_a_state_of_plain_values_and_arrays_comes_back_in_its_types() -> None:
    line = Line()
    line.slope = {
        "a": np.arange(6, dtype=np.int16).reshape(2, 3),
        ("t", 1): [True, None, 2**70, float("inf"), b"\x00\xff", np.float32(0.1), ()],
    }
    again, facts = from_bytes(to_bytes(line, {"classes": [1]}), (path(Line),))
    assert facts == {"classes": [1]}
    assert np.array_equal(again.slope["a"], line.slope["a"])
    assert again.slope["a"].dtype == np.int16
    assert again.slope["t", 1] == line.slope["t", 1]
    assert type(again.slope["t", 1][5]) is np.float32


def test_a_class_that_no_other_process_finds_is_refused() -> None:
    class Local(Line):
        """Lives in a function."""

    with pytest.raises(Invalid, match="import"):
        ADAPTER.dump(PythonModel(Local()))
    module = ModuleType("renewal_passing")
    kind = type("Passing", (Line,), {"__module__": "renewal_passing"})
    module.Passing = kind  # type: ignore[attr-defined]  # made here
    sys.modules["renewal_passing"] = module
    try:
        data = ADAPTER.dump(PythonModel(kind()))
    finally:
        del sys.modules["renewal_passing"]
    with pytest.raises(NotFound, match="renewal_passing"):
        ADAPTER.load(data, ("renewal_passing.Passing",))


def test_what_it_lacks_is_said_in_words() -> None:
    with pytest.raises(Invalid, match="predict_proba"):
        ADAPTER.fit(Deciding(), ROWS, SAID)
    with pytest.raises(Invalid, match="get_params"):
        ADAPTER.fit(Forgetful("so"), ROWS, VALUES)
    with pytest.raises(Invalid, match="weigh rows"):
        ADAPTER.fit(Line(), ROWS, VALUES, weights=np.ones(40))
    with pytest.raises(Invalid, match="'shrink'"):
        ADAPTER.with_params(Line(), {"shrin": 1.0})
    with pytest.raises(Invalid, match="ValueError"):
        ADAPTER.fit(Line(), pa.table({"x": ["a"] * 40}), VALUES)


def test_it_is_asked_last_and_leaves_libraries_to_their_adapters() -> None:
    """Broken by an adapter of last resort that takes what another one refused for a reason."""
    assert adapter_for(Line(), who="test").name == "python"
    assert adapter_for(LogisticRegression(), who="test").name == "sklearn"
    with pytest.raises(Invalid, match="KMeans"):
        adapter_for(KMeans(), who="test")


def test_an_object_lives_in_a_home_that_trusts_it(tmp_path: Path) -> None:
    """Broken when a step from training to a served version loses a part of the object."""
    trust = (path(Halves),)
    (tmp_path / "renewal.toml").write_text(f'trust = ["{trust[0]}"]\n', encoding="utf-8")

    def rows(n: int, seed: int) -> dict[str, Any]:
        x = np.random.default_rng(seed).uniform(0.0, 3.0, n)
        return {"x": x, "target": x > 1.5}

    with renewal.open(tmp_path) as home:
        model = home.model("m", task="binary", target="target")
        first = model.train(Halves(flat=0.4), rows(300, 1))
        assert first.manifest.adapter == "python"
        assert first.manifest.classes == (False, True)
        model.feed.append(rows(600, 2))
        update = model.update(["incremental", "retrain"])
        outcomes = {each["recipe"]: each["outcome"] for each in update.entries}
        assert outcomes["retrain"] == "made"
        assert outcomes["incremental"] != "made"
        runtime = load_runtime(first.manifest, home.store, trust)
        assert runtime.predict(pa.table({"x": [3.0]})).round(1).tolist() == [[0.4, 0.6]]
        with pytest.raises(Refused):
            load_runtime(first.manifest, home.store)
