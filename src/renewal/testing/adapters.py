"""What every adapter owes the house, as checks that its author can run.

Cross your cases with `ADAPTER_CHECKS`; with pytest::

    EXCUSES = {("weights_repeat", "forest"): "a row twice is drawn twice as often, not weighed"}

    @pytest.mark.parametrize("check", ADAPTER_CHECKS)
    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_adapter(case, check):
        run_adapter_check(check, case, expected_failures=EXCUSES)

A check returns nothing, or raises an AssertionError that says what was promised. What an
adapter declares impossible is checked, too: it must be refused with the reason.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from renewal.core.errors import RenewalError
from renewal.models.native import NativeRuntime
from renewal.testing.adapter_case import (
    AdapterCase,
    copy_of,
    demand_equal,
    demand_form,
    demand_scores_or_typed_error,
    demand_typed_error,
)
from renewal.testing.adapter_going_on import GOING_ON_CHECKS
from renewal.testing.adapter_recipes import RECIPE_CHECKS

__all__ = ["ADAPTER_CHECKS", "AdapterCase", "run_adapter_check"]


def run_adapter_check(
    name: str,
    case: AdapterCase,
    *,
    expected_failures: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Run one check of one case; raise AssertionError with a sentence when it fails.

    Parameters
    ----------
    name : str
        One of `ADAPTER_CHECKS`.
    case : AdapterCase
        What is checked.
    expected_failures : mapping of (str, str) to str or None
        By check and name of the case: what it cannot hold to, and the reason in words. An
        excuse that is no longer needed fails.

    Raises
    ------
    AssertionError
        When the check fails, or passes although it is excused.
    """
    reason = (expected_failures or {}).get((name, case.name))
    try:
        ADAPTER_CHECKS[name](case)
    except (AssertionError, RenewalError) as error:
        if reason is None:
            raise AssertionError(f"{case.name}: {error}") from error
        return
    assert reason is None, f"{case.name}, {name} passes: drop the stale excuse {reason!r}"


def check_accepts(case: AdapterCase) -> None:
    """Check that the adapter accepts the recipe, fitted and not, and no stranger."""
    assert case.adapter.accepts(case.estimator), "the recipe is not accepted"
    assert case.adapter.accepts(case.fitted), "the fitted estimator is not accepted"
    assert not case.adapter.accepts(object()), "a bare object is accepted"


def check_scores(case: AdapterCase) -> None:
    """Check that scores are float64 of shape (n_rows, n_scores), in the order of the classes."""
    scores = case.adapter.predict(case.fitted, case.features)
    classes = case.adapter.classes(case.fitted)
    demand_form(scores, len(case.labels), len(classes) or 1)
    if not classes:
        error = np.abs(scores[:, 0] - case.labels).mean()
        constant = np.abs(np.median(case.labels) - case.labels).mean()
        assert error < constant, f"an error of {error} is no better than a constant's {constant}"
        return
    assert np.abs(scores.sum(axis=1) - 1.0).max() < 1e-6, "probabilities do not sum to 1"
    assert list(classes) == sorted(classes), f"classes are not sorted: {classes}"
    assert {type(each) for each in classes} <= {bool, int, str}, "classes are no plain values"
    columns = np.array([classes.index(label) for label in case.labels.tolist()])
    share = scores[np.arange(len(columns)), columns].mean()
    assert share > 1.0 / len(classes), f"the true class gets {share}: are the columns swapped?"


def check_round_trip(case: AdapterCase) -> None:
    """Check that what was dumped and loaded predicts the same bits."""
    loaded = case.adapter.load(case.adapter.dump(case.fitted), case.trust)
    demand_equal(case, loaded, case.fitted, "after a round trip")
    assert case.adapter.classes(loaded) == case.adapter.classes(case.fitted)


def check_bytes_repeat(case: AdapterCase) -> None:
    """Check that one fit done twice gives the same bytes, and so one version."""
    first, again = case.adapter.dump(case.fit()), case.adapter.dump(case.fit())
    assert first == again, f"two equal fits give {len(first)} and {len(again)} other bytes"


def check_loads_are_apart(case: AdapterCase) -> None:
    """Check that loading twice gives two estimators, neither the one that was dumped."""
    data = case.adapter.dump(case.fitted)
    one, two = case.adapter.load(data, case.trust), case.adapter.load(data, case.trust)
    assert one is not two, "two loads share one estimator"
    assert one is not case.fitted, "a load hands out the estimator that was dumped"


def check_seed(case: AdapterCase) -> None:
    """Check that one recipe and one seed make one model: fitting leaves the recipe as it was."""
    demand_equal(case, case.fit(), case.fitted, "fitted again with the same seed")


def check_purity(case: AdapterCase) -> None:
    """Check that neither rows nor labels are changed by fitting and predicting."""
    features, labels = copy_of(case.features), case.labels.copy()
    case.adapter.predict(case.fit_on(features, labels), features)
    assert features.equals(case.features), "the rows were changed"
    assert np.array_equal(labels, case.labels), "the labels were changed"


def check_predict_is_pure(case: AdapterCase) -> None:
    """Check that predicting leaves the estimator as it was, to the byte."""
    fitted = case.fit()
    before = case.adapter.dump(fitted)
    case.adapter.predict(fitted, case.features)
    assert case.adapter.dump(fitted) == before, "predicting changed the estimator"


def check_batches(case: AdapterCase) -> None:
    """Check that a row scores the same alone and among others within the case's tolerance."""
    whole = case.adapter.predict(case.fitted, case.features)
    for start, length in ((0, 1), (3, 1), (5, 7), (len(whole) - 1, 1)):
        part = case.adapter.predict(case.fitted, case.features.slice(start, length))
        gap = np.abs(part - whole[start : start + length]).max()
        assert gap <= case.tolerance, f"rows {start} to {start + length} differ by {gap}"


def check_no_rows(case: AdapterCase) -> None:
    """Check that a table without rows gives scores without rows."""
    scores = case.adapter.predict(case.fitted, case.features.slice(0, 0))
    demand_form(scores, 0, len(case.adapter.classes(case.fitted)) or 1)


def check_column_order(case: AdapterCase) -> None:
    """Check that the runtime takes columns in any order, and more of them than it needs."""
    runtime = NativeRuntime(case.adapter, case.fitted, case.signature)
    turned = case.features.select(case.features.column_names[::-1])
    turned = turned.append_column("renewal_further", pa.array([0.0] * turned.num_rows))
    found = runtime.predict(turned)
    assert np.array_equal(found, case.adapter.predict(case.fitted, case.features)), (
        "another order of columns gives other scores"
    )


def check_missing_column(case: AdapterCase) -> None:
    """Check that a missing column is a typed error, from the runtime and from a fit on names."""
    fewer = case.features.drop_columns(case.features.column_names[:1])
    runtime = NativeRuntime(case.adapter, case.fitted, case.signature)
    demand_typed_error(lambda: runtime.predict(fewer), "a missing column")
    demand_typed_error(lambda: case.adapter.predict(case.fitted, fewer), "a missing column")


def check_gaps(case: AdapterCase) -> None:
    """Check that rows full of nulls give finite scores or a typed error, never anything else."""
    for name in case.features.column_names:
        at = case.features.column_names.index(name)
        field = case.features.schema.field(name)
        nulls = _nulls(case.features.num_rows, field.type)
        demand_scores_or_typed_error(case, case.features.set_column(at, field, nulls), name)


def check_unseen_category(case: AdapterCase) -> None:
    """Check that a text that no row of the fit held gives finite scores or a typed error."""
    for at, field in enumerate(case.features.schema):
        if pa.types.is_string(field.type):
            column = pa.array(["never seen before"] * case.features.num_rows)
            demand_scores_or_typed_error(
                case, case.features.set_column(at, field, column), field.name
            )


def check_ready(case: AdapterCase) -> None:
    """Check that an estimator made ready for a runtime scores the same within the tolerance."""
    loaded = case.adapter.load(case.adapter.dump(case.fitted), case.trust)
    runtime = NativeRuntime(
        case.adapter, case.adapter.ready(loaded, case.signature), case.signature
    )
    whole = case.adapter.predict(case.fitted, case.features)
    for rows in (slice(0, 1), slice(0, len(whole))):
        found = runtime.predict(case.features.slice(rows.start, rows.stop))
        gap = np.abs(found - whole[rows]).max()
        assert gap <= case.tolerance, f"made ready, rows 0 to {rows.stop} differ by {gap}"


def check_threads(case: AdapterCase) -> None:
    """Check that four threads predicting at once get what one gets."""
    alone = case.adapter.predict(case.fitted, case.features)
    with ThreadPoolExecutor(4) as pool:
        tables = [case.features] * 8
        together = list(pool.map(lambda rows: case.adapter.predict(case.fitted, rows), tables))
    assert all(np.array_equal(alone, each) for each in together), "threads disturb each other"


def check_foreign_bytes(case: AdapterCase) -> None:
    """Check that bytes that it did not write, or half of those it wrote, are a typed error."""
    data = case.adapter.dump(case.fitted)
    for foreign in (b"", b"no model", b"\x80\x05K*.", data[: len(data) // 2]):
        demand_typed_error(
            lambda foreign=foreign: case.adapter.load(foreign, case.trust),  # type: ignore[misc]  # a default in a lambda
            f"{foreign[:8]!r}",
        )


def check_environment(case: AdapterCase) -> None:
    """Check that the environment names what the bytes need, each with a version."""
    environment = case.adapter.environment()
    assert "python" in environment, "python is not named"
    assert set(case.adapter.reads_forward) <= set(environment), "a library has no version"
    assert all(version[:1].isdigit() for version in environment.values()), f"{environment}"


def check_pickles(case: AdapterCase) -> None:
    """Check that the adapter goes to another process and works there alike."""
    again = pickle.loads(pickle.dumps(case.adapter))  # noqa: S301  # written one call ago
    assert again.name == case.adapter.name, "the pickled adapter has another name"
    found = again.predict(case.fitted, case.features)
    assert np.array_equal(found, case.adapter.predict(case.fitted, case.features)), (
        "the pickled adapter predicts something else: an adapter keeps no state"
    )


ADAPTER_CHECKS: dict[str, Callable[[AdapterCase], None]] = {
    "accepts": check_accepts,
    "batches": check_batches,
    "bytes_repeat": check_bytes_repeat,
    "column_order": check_column_order,
    "environment": check_environment,
    "foreign_bytes": check_foreign_bytes,
    "gaps": check_gaps,
    "loads_are_apart": check_loads_are_apart,
    "missing_column": check_missing_column,
    "no_rows": check_no_rows,
    "predict_is_pure": check_predict_is_pure,
    "pickles": check_pickles,
    "purity": check_purity,
    "ready": check_ready,
    "round_trip": check_round_trip,
    "scores": check_scores,
    "seed": check_seed,
    "threads": check_threads,
    "unseen_category": check_unseen_category,
    **GOING_ON_CHECKS,
    **RECIPE_CHECKS,
}
"""The checks by name; see `run_adapter_check`."""


def _nulls(n_rows: int, kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.wrap_array(pa.nulls(n_rows, kind.storage_type))
    return pa.nulls(n_rows, kind)
