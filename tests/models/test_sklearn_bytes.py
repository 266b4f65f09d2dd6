"""Bytes without code: what is written, what is refused, and that nothing is run unasked."""

from __future__ import annotations

import io
import json
import logging
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from renewal.core.errors import Invalid, Missing, Refused
from renewal.models.sklearn import SklearnAdapter
from renewal.models.sklearn_bytes import from_bytes, to_bytes

OWN = """
from sklearn.base import BaseEstimator, TransformerMixin

class Halves(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X[["a", "b"]] / 2.0
"""


@pytest.fixture
def own_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make a transformer of a user's own, in a module of the user's own."""
    (tmp_path / "shop_features.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("shop_features").Halves
    sys.modules.pop("shop_features", None)


@pytest.fixture
def fitted(numbers: pa.Table, late: Any) -> Any:
    return SklearnAdapter().fit(LogisticRegression(), numbers, late)


def edited(data: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Return an archive whose schema was changed by somebody."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as found, zipfile.ZipFile(target, "w") as made:
        for name in found.namelist():
            part = found.read(name)
            if name == "schema.json":
                schema = json.loads(part)
                change(schema)
                part = json.dumps(schema).encode()
            made.writestr(name, part)
    return target.getvalue()


def sklearn_release(release: str) -> Callable[[dict[str, Any]], None]:
    def change(schema: dict[str, Any]) -> None:
        schema["content"]["content"]["_sklearn_version"]["content"] = json.dumps(release)

    return change


def test_bytes_depend_on_content_alone(fitted: Any) -> None:
    """Broken by an address or a date in the archive: a repeated step would make a new version."""
    with zipfile.ZipFile(io.BytesIO(to_bytes(fitted))) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        names = archive.namelist()
        assert archive.testzip() is None
    assert names == [*(f"{number + 1}.npy" for number in range(len(names) - 1)), "schema.json"]
    assert to_bytes(fitted) == to_bytes(pickle.loads(pickle.dumps(fitted)))  # noqa: S301  # our own


def test_what_lies_between_the_fields_of_a_node_is_not_kept() -> None:
    """Broken by memory that nobody wrote to: each process would make other bytes of a tree."""
    rows = np.random.default_rng(0).normal(size=(80, 2))
    fitted = DecisionTreeClassifier(random_state=0).fit(rows, rows[:, 0] > 0.3 * rows[:, 1])
    before = to_bytes(fitted)
    state = fitted.tree_.__getstate__()
    nodes = state["nodes"].copy()
    used = sum(nodes.dtype[name].itemsize for name in nodes.dtype.names)
    assert used < nodes.dtype.itemsize
    nodes.view(np.uint8).reshape(len(nodes), -1)[:, used:] = 255
    fitted.tree_.__setstate__({**state, "nodes": nodes})
    assert to_bytes(fitted) == before
    assert to_bytes(from_bytes(before)) == before


def test_skops_reads_what_we_write_and_we_read_what_it_writes(fitted: Any) -> None:
    """Broken by a private dialect: users must be able to leave, and to bring models."""
    assert np.array_equal(skops.io.loads(to_bytes(fitted)).coef_, fitted.coef_)
    assert np.array_equal(from_bytes(skops.io.dumps(fitted)).coef_, fitted.coef_)


def test_an_own_class_needs_the_operators_leave(
    own_class: Any, numbers: pa.Table, late: Any
) -> None:
    """Broken by trust that comes from anywhere but the caller."""
    adapter = SklearnAdapter()
    fitted = adapter.fit(make_pipeline(own_class(), LogisticRegression()), numbers, late)
    data = to_bytes(fitted)
    with pytest.raises(Refused) as caught:
        from_bytes(data)
    assert caught.value.fields["types"] == ("shop_features.Halves",)
    assert 'trust = ["shop_features.Halves"]' in caught.value.todo
    loaded = from_bytes(data, ("shop_features.Halves",))
    assert np.array_equal(adapter.predict(loaded, numbers), adapter.predict(fitted, numbers))


def test_a_refused_type_is_not_even_imported(own_class: Any, numbers: pa.Table, late: Any) -> None:
    """Broken by building first and asking later: importing a module runs it."""
    pipeline = make_pipeline(own_class(), LogisticRegression())
    data = to_bytes(SklearnAdapter().fit(pipeline, numbers, late))
    del sys.modules["shop_features"]
    with pytest.raises(Refused):
        from_bytes(data)
    assert "shop_features" not in sys.modules


def test_a_trusted_class_that_is_not_installed_is_missing(
    own_class: Any, numbers: pa.Table, late: Any, tmp_path: Path
) -> None:
    """Broken by an ImportError that does not say what to install."""
    pipeline = make_pipeline(own_class(), LogisticRegression())
    data = to_bytes(SklearnAdapter().fit(pipeline, numbers, late))
    (tmp_path / "shop_features.py").unlink()
    for cached in (tmp_path / "__pycache__").glob("shop_features*"):
        cached.unlink()
    del sys.modules["shop_features"]
    with pytest.raises(Missing, match="shop_features"):
        from_bytes(data, ("shop_features.Halves",))


def test_a_function_with_side_effects_is_refused() -> None:
    """Broken by an allow-list that names more than harmless functions."""
    hostile = FunctionTransformer(np.save).fit(np.zeros((1, 1)))
    with pytest.raises(Refused, match="save"):
        from_bytes(skops.io.dumps(hostile))


@pytest.mark.parametrize(
    ("data", "came"),
    [
        (b"", "0 bytes"),
        (b"\x93NUMPY", "6 bytes"),
        (pickle.dumps(LogisticRegression()), "a pickle"),
    ],
)
def test_other_formats_are_invalid(data: bytes, came: str) -> None:
    """Broken by an error of the zip reader, or by opening a pickle."""
    with pytest.raises(Invalid, match=came):
        from_bytes(data)


def test_damaged_archives_are_invalid(fitted: Any) -> None:
    """Broken by any other exception, at any place of the damage."""
    data = to_bytes(fitted)
    for end in range(0, len(data), 97):
        with pytest.raises(Invalid):
            from_bytes(data[:end])
    changes: list[Callable[[dict[str, Any]], Any]] = [
        lambda schema: schema.clear(),
        lambda schema: schema.pop("__class__"),
        lambda schema: schema.update(protocol=10_000),
        lambda schema: schema.update(protocol="1"),
        lambda schema: schema.update(__loader__="NoSuchNode"),
    ]
    for change in changes:
        with pytest.raises(Invalid):
            from_bytes(edited(data, change))


def test_a_flipped_byte_is_found_or_does_no_harm(fitted: Any) -> None:
    """Broken by a byte that changes a model, or an exception that is not ours."""
    data, n_found = to_bytes(fitted), 0
    for place in range(0, len(data), 7):
        broken = bytearray(data)
        broken[place] ^= 0xFF
        try:
            loaded = from_bytes(bytes(broken))
        except Invalid:
            n_found += 1
        else:  # a date or another field of the archive that no reader looks at
            assert np.array_equal(loaded.coef_, fitted.coef_)
    assert n_found > 0.5 * len(data) / 7


def test_an_archive_of_a_newer_scikit_learn_is_refused(fitted: Any) -> None:
    """Broken by trusting the manifest alone: a file can be registered without one."""
    data = edited(to_bytes(fitted), sklearn_release("99.1.0"))
    with pytest.raises(Invalid, match=r"scikit-learn 99\.1\.0") as caught:
        from_bytes(data)
    assert caught.value.fields["wrote"] == "99.1.0"


def test_an_archive_of_a_newer_skops_is_refused(fitted: Any) -> None:
    """Broken by reading a protocol that is not known yet."""
    data = edited(to_bytes(fitted), lambda schema: schema.update(_skops_version="99.0"))
    with pytest.raises(Invalid, match=r"skops 99\.0"):
        from_bytes(data)


def test_an_archive_of_an_older_scikit_learn_loads_and_is_logged(
    fitted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken by a warning for every part of a model, which are errors in these tests."""
    data = edited(to_bytes(fitted), sklearn_release("1.2.0"))
    with caplog.at_level(logging.INFO, logger="renewal"):
        loaded = from_bytes(data)
    assert np.array_equal(loaded.coef_, fitted.coef_)
    assert "1.2.0" in caplog.text


def test_what_no_other_process_can_import_is_not_written() -> None:
    """Broken by a model that loads here and nowhere else."""

    class Local(LogisticRegression):  # type: ignore[misc]  # scikit-learn ships no types
        pass

    rows, labels = np.array([[0.0], [1.0]]), [0, 1]
    with pytest.raises(Invalid, match="Local"):
        to_bytes(Local().fit(rows, labels))
    doubled = FunctionTransformer(lambda values: values * 2.0)
    with pytest.raises(Invalid, match="lambda"):
        to_bytes(make_pipeline(doubled, LogisticRegression()).fit(rows, labels))


def test_what_the_format_cannot_write_is_invalid(fitted: Any) -> None:
    """Broken by a TypeError without the name of the model."""
    fitted.stream_ = iter(range(3))
    with pytest.raises(Invalid, match="LogisticRegression"):
        to_bytes(fitted)
