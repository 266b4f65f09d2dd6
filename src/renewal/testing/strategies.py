"""What every strategy must hold to: a suite for whoever writes one.

A strategy is checked by the rows that it really uses. Estimators that remember what they were
shown (`renewal.testing.recording`) run through it on rows among which the ones that judge,
choose, or have no label are planted. In a test of your own::

    @pytest.mark.parametrize("check", STRATEGY_CHECKS)
    def test_my_strategy(check):
        run_check(check, MyStrategy)

A strategy for other estimators brings updates of its own: see
`renewal.testing.torch_recording.layered_cases`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge, SGDClassifier

from renewal.core.errors import Invalid, RenewalError
from renewal.core.option_text import parse_options, plain_options, show_options
from renewal.core.plugin import load_plugin, plugin_names
from renewal.data.keyset import KeySet
from renewal.data.rows import NEVER_US, Rows
from renewal.models.adapters import stored
from renewal.models.load import load_estimator
from renewal.store.local import LocalStore
from renewal.testing.recording import Tape, recording
from renewal.testing.updating import TAPE, Case, cases, make_parent, row_ids, snapshot
from renewal.update.contract import ALONE, Made, Means, Parent

_SEED = 7


Cases = Callable[[], tuple[Case, ...]]
"""Makes the updates that a strategy is asked for."""


def run_check(
    name: str,
    strategy: type[Any],
    *,
    expected_failures: Mapping[str, str] | None = None,
    every: Cases = cases,
) -> None:
    """Run one check of a strategy; raise AssertionError with a sentence when it fails.

    Parameters
    ----------
    name : str
        One of `STRATEGY_CHECKS`.
    strategy : type
        The class that the entry point names.
    expected_failures : mapping of str to str or None
        Checks that it cannot hold to, each with the reason. An excuse that is no longer
        needed fails.
    every : callable
        Makes the updates; those that are not possible are passed over.

    Raises
    ------
    AssertionError
        When the check fails, or passes although it is excused.
    """
    reason = (expected_failures or {}).get(name)
    try:
        STRATEGY_CHECKS[name](strategy, every)
    except AssertionError:
        if reason is None:
            raise
        return
    assert reason is None, f"{name} passes: drop the stale excuse {reason!r}"


def check_declares_itself(strategy: type[Any], _every: Cases = cases) -> None:
    """Demand a name, options that are a frozen dataclass with defaults, and a flag."""
    assert isinstance(strategy.name, str), "name is the name of the entry point"
    assert strategy.name, "name is the name of the entry point"
    if strategy.name in plugin_names("strategies"):
        assert load_plugin("strategies", strategy.name) is strategy, (
            f"the entry point {strategy.name!r} names another class"
        )
    options = strategy.Options
    assert dataclasses.is_dataclass(options), "Options is a dataclass"
    frozen = options.__dict__["__dataclass_params__"].frozen
    assert frozen, "Options is frozen: it goes into a manifest"
    assert strategy.Options() == strategy.Options(), "options with the same values are equal"
    assert isinstance(strategy.keeps_parent, bool), "keeps_parent says whether the parent lives on"
    assert strategy.__doc__, "the docstring says what it does, what it costs, when not to use it"
    assert strategy().__dict__ == {}, "a strategy keeps no state: a killed step is done again"


def check_options_are_plain(strategy: type[Any], _every: Cases = cases) -> None:
    """Demand options that survive being written into a recipe and into a manifest."""
    default = strategy.Options()
    assert parse_options(strategy.Options, show_options(default), who="the suite") == default
    for name, value in plain_options(default).items():
        assert isinstance(value, str | int | float | bool | None), f"option {name} is no JSON value"


def check_is_possible_somewhere(strategy: type[Any], every: Cases = cases) -> None:
    """Demand one candidate: where nothing is possible every other check would pass."""
    assert any(True for _ in _made(strategy, every)), (
        "it makes no candidate of any parent of the suite"
    )


def check_says_why_not(strategy: type[Any], every: Cases = cases) -> None:
    """Demand a reason in words where no candidate is possible, and that `make` refuses too."""
    for case in every():
        reasons = [strategy().why_not(case.parent), strategy().why_not(case.parent, case.rows)]
        if reasons == [None, None]:
            continue
        for reason in filter(None, reasons):
            assert " " in reason.strip(), f"{case.label}: {reason!r} is no reason in words"
        assert reasons[1] is not None, f"{case.label}: the parent alone cannot, with rows it can"
        refused = _error(strategy, case.parent, case.rows)
        assert refused is not None, f"{case.label}: make goes on where why_not says {reasons[1]!r}"


def check_uses_only_rows_it_may(strategy: type[Any], every: Cases = cases) -> None:
    """Refuse a fit of any row that judges or chooses, or has no label, and a look at the first."""
    for case, _, tape in _made(strategy, every):
        chosen_on = sorted(tape.fitted & case.choosing_ids)
        assert not chosen_on, (
            f"{case.label}: it fitted {len(chosen_on)} validation rows, such as {chosen_on[:5]}"
        )
        stray = sorted(tape.shown - case.allowed_ids - case.choosing_ids)
        assert not stray, f"{case.label}: it used {len(stray)} rows it may not, such as {stray[:5]}"
        assert tape.shown, f"{case.label}: the candidate was made without looking at a row"


def check_remembers_every_row(strategy: type[Any], every: Cases = cases) -> None:
    """Demand every used row in the key set: one that is missing there may judge the candidate."""
    for case, made, tape in _made(strategy, every):
        used = _rows_of(case, tape.shown - case.choosing_ids)
        lost = int(np.sum(~np.isin(used.key_hash, made.keyset.keys)))
        assert lost == 0, f"{case.label}: {lost} of {len(used)} used rows are not in the key set"
        strangers = int(np.sum(~np.isin(used.group_hash, made.keyset.groups)))
        assert strangers == 0, f"{case.label}: the groups of {strangers} used rows are missing"
        assert isinstance(made.n_rows, int), f"{case.label}: n_rows is a number"
        assert 0 < made.n_rows <= len(case.allowed_ids), f"{case.label}: n_rows={made.n_rows}"
        newest_us = int(used.event_us.max())
        assert made.trained_until_us is not None, f"{case.label}: trained_until_us is missing"
        assert made.trained_until_us >= newest_us, f"{case.label}: it used newer rows than it says"


def check_remembers_its_ancestors(strategy: type[Any], every: Cases = cases) -> None:
    """Demand the parent's training rows, too, where the parent's parameters answer."""
    for case, made, _ in _made(strategy, every):
        lives_on = _birth(case.parent.estimator, case) in _births(made.estimator, case)
        assert made.parent_is_ancestor or not lives_on, (
            f"{case.label}: the parent's parameters answer, and parent_is_ancestor is False"
        )
        assert made.parent_is_ancestor == strategy.keeps_parent, (
            f"{case.label}: keeps_parent={strategy.keeps_parent} says otherwise"
        )
        known = case.parent.keyset
        if made.parent_is_ancestor and known is not None:
            lost = int(np.sum(~np.isin(known.keys, made.keyset.keys)))
            assert lost == 0, f"{case.label}: {lost} training rows of the parent were forgotten"
            assert np.isin(known.groups, made.keyset.groups).all(), f"{case.label}: groups too"


def check_leaves_its_inputs_alone(strategy: type[Any], every: Cases = cases) -> None:
    """Refuse a change of the parent, which serves meanwhile, or of the rows."""
    for case in every():
        before = _scores(case.parent, case.parent.estimator, case.everything)
        rows_before = _fingerprint(case.rows)
        chosen_before = None if case.validation is None else _fingerprint(case.validation)
        if _make_of(strategy, case) is None:
            continue
        after = _scores(case.parent, case.parent.estimator, case.everything)
        assert np.array_equal(before, after), f"{case.label}: the parent predicts something else"
        assert _fingerprint(case.rows) == rows_before, f"{case.label}: the rows were changed"
        if case.validation is not None:
            assert _fingerprint(case.validation) == chosen_before, (
                f"{case.label}: the validation rows were changed"
            )


def check_same_again(strategy: type[Any], every: Cases = cases) -> None:
    """Demand the same candidate, bit for bit, of the same parent, rows, options and seed."""
    for case in every():
        first, second = (_make_of(strategy, case) for _ in range(2))
        if first is None or second is None:
            assert first is second, f"{case.label}: possible once and not the other time"
            continue
        one, other = (
            _scores(case.parent, made.estimator, case.everything) for made in (first, second)
        )
        assert np.array_equal(one, other), f"{case.label}: two runs, two candidates"
        assert first.keyset.to_bytes() == second.keyset.to_bytes(), f"{case.label}: key sets differ"
        assert first.options == second.options, f"{case.label}: options differ"


def check_names_numbers_when_rows_do_not_do(strategy: type[Any], every: Cases = cases) -> None:
    """Demand that no rows, no labels and one class are refused, and the numbers named."""
    for case in every():
        if strategy().why_not(case.parent, case.rows) is not None:
            continue
        for what, rows in _hopeless(case):
            error = _error(strategy, case.parent, rows)
            assert error is not None, f"{case.label}: a candidate was made of {what}"
            assert isinstance(error, RenewalError), f"{case.label}, {what}: raised {error!r}"
            if strategy().why_not(case.parent, rows) is None:
                assert isinstance(error, Invalid), f"{case.label}, {what}: {error!r}"
            assert any(map(str.isdigit, str(error))), f"{case.label}, {what}: no number in {error}"


def check_can_be_stored(strategy: type[Any], every: Cases = cases) -> None:
    """Demand candidates of shipped estimators that predict the same after they were stored."""
    n_made = 0
    for parent, rows, trust in _storable(every):
        task = parent.task.name
        made = _make(strategy, parent, rows)
        if made is None:
            continue
        n_made += 1
        adapter = parent.adapter
        assert made.classes == adapter.classes(made.estimator), f"{task}: classes are wrong"
        assert made.strategy == strategy.name, f"{task}: strategy={made.strategy!r}"
        with TemporaryDirectory() as folder:
            store = LocalStore(folder)
            put = stored(adapter, made.estimator, store)
            manifest = dataclasses.replace(
                parent.version.manifest, artifact=put.artifact, parts=put.parts
            )
            again = load_estimator(manifest, store, trust)
        same = np.array_equal(_scores(parent, made.estimator, rows), _scores(parent, again, rows))
        assert same, f"{task}: it predicts something else after it was stored"
        keys = KeySet.from_bytes(made.keyset.to_bytes())
        assert len(keys) == len(made.keyset), f"{task}: the key set does not survive"
    assert n_made > 0, "no candidate of any estimator that can be stored is possible"


def _storable(every: Cases) -> Iterator[tuple[Parent, Rows, tuple[str, ...]]]:
    """Yield parents that can be stored, with rows, and the classes that loading them trusts."""
    if every is not cases:
        for case in every():
            yield case.parent, case.rows, case.trust
        return
    for task, estimator in (("binary", SGDClassifier(loss="log_loss")), ("regression", Ridge())):
        rows = snapshot("timed", task)
        yield make_parent(estimator, task, rows.take(np.arange(400))), rows, ()


STRATEGY_CHECKS: Mapping[str, Callable[[type[Any], Cases], None]] = MappingProxyType(
    {
        check.__name__.removeprefix("check_"): check
        for check in (
            check_declares_itself,
            check_options_are_plain,
            check_is_possible_somewhere,
            check_says_why_not,
            check_uses_only_rows_it_may,
            check_remembers_every_row,
            check_remembers_its_ancestors,
            check_leaves_its_inputs_alone,
            check_same_again,
            check_names_numbers_when_rows_do_not_do,
            check_can_be_stored,
        )
    }
)
"""The checks by name; see `run_check`."""


def _make(strategy: type[Any], parent: Parent, rows: Rows, means: Means = ALONE) -> Made | None:
    """Make a candidate with the default options; None where it is not possible."""
    if strategy().why_not(parent, rows) is not None:
        return None
    made: Made = strategy().make(parent, rows, strategy.Options(), _SEED, means)
    return made


def _make_of(strategy: type[Any], case: Case) -> Made | None:
    """Make the candidate of a case, with its validation rows and an empty folder at hand."""
    with TemporaryDirectory() as scratch:
        means = Means(validation=case.validation, scratch=Path(scratch))
        return _make(strategy, case.parent, case.rows, means)


def _made(strategy: type[Any], every: Cases) -> Iterator[tuple[Case, Made, Tape]]:
    """Make a candidate of every case that allows it, with a tape running."""
    for case in every():
        with recording(TAPE) as tape:
            made = _make_of(strategy, case)
        if made is not None:
            yield case, made, tape


def _error(strategy: type[Any], parent: Parent, rows: Rows) -> Exception | None:
    try:
        strategy().make(parent, rows, strategy.Options(), _SEED)
    except Exception as error:  # noqa: BLE001  # a plug-in may raise anything: the check says what
        return error
    return None


def _scores(parent: Parent, estimator: Any, rows: Rows) -> Any:
    return parent.adapter.predict(estimator, rows.features)


def _births(estimator: Any, case: Case) -> set[int]:
    """Return the marks of the fits whose parameters answer for an estimator."""
    with recording(TAPE) as tape:
        _scores(case.parent, estimator, case.everything.take(np.arange(2)))
    return tape.births


def _birth(estimator: Any, case: Case) -> int:
    (birth,) = _births(estimator, case)
    return birth


def _rows_of(case: Case, ids: set[int]) -> Rows:
    return case.everything.take(np.isin(row_ids(case.everything), sorted(ids)))


def _fingerprint(rows: Rows) -> str:
    """Return a digest of what a strategy may read of rows."""
    columns: list[Any] = [rows.key_hash, rows.group_hash, rows.event_us, rows.arrived_us]
    said = repr((rows.features.to_pydict(), rows.key.tolist(), np.array(rows.label).tolist()))
    parts = [*(column.tobytes() for column in columns), said.encode()]
    return blake2b(b"".join(parts)).hexdigest()


def _hopeless(case: Case) -> Iterator[tuple[str, Rows]]:
    """Yield rows of which no candidate can be made, with what they are."""
    rows, label = case.rows, np.asarray(case.rows.label)
    is_classes = label.dtype == object
    yield "no rows", rows.take(np.zeros(0, np.int64))
    gaps = np.full(len(rows), None) if is_classes else np.full(len(rows), np.nan)
    waiting = np.full(len(rows), NEVER_US)
    yield "rows without labels", dataclasses.replace(rows, label=gaps, label_arrived_us=waiting)
    if is_classes:
        yield "one class", rows.take(np.asarray(label == "yes", np.bool_))
