"""Checks of what an adapter declares about going on, and of what it then does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from renewal.models.contract import Capabilities, Way
from renewal.models.labels import Labels
from renewal.testing.adapter_case import (
    AdapterCase,
    Watched,
    demand_equal,
    demand_form,
    demand_typed_error,
)

_SILENT = {"continue", "new_classes", "layers"}
_MEANS = {
    "partial_fit": "can_partial_fit",
    "continue": "can_continue_on_new_data",
    "new_classes": "accepts_new_classes",
    "layers": "has_layers",
    "refit": "can_refit",
}
_SEED = 11


def check_declaration(case: AdapterCase) -> None:
    """Check that what is declared holds together, and that what is missing has a reason."""
    for estimator in (case.estimator, case.fitted):
        declared = case.adapter.capabilities(estimator)
        assert declared.can_continue_on_new_data == bool(declared.ways), (
            f"can_continue_on_new_data={declared.can_continue_on_new_data}, ways={declared.ways}"
        )
        assert set(declared.ways) <= set(get_args(Way)), f"unknown ways {declared.ways}"
        assert len(set(declared.ways)) == len(declared.ways), f"a way twice: {declared.ways}"
        assert set(declared.why_not) <= set(_MEANS), f"unknown reasons {set(declared.why_not)}"
        for reason, capability in _MEANS.items():
            if getattr(declared, capability):
                assert reason not in declared.why_not, f"{capability} is there, and why not"
            elif reason in declared.why_not or reason not in _SILENT:
                said = declared.why_not.get(reason, "")
                assert len(said.split()) >= 3, f"{capability} is missing, the reason is {said!r}"
    learned = case.adapter.capabilities(case.fitted)
    assert not learned.grows or (learned.size or 0) > 0, f"it grows, and its size is {learned.size}"
    assert learned.can_partial_fit or learned.ways or not learned.accepts_new_classes, (
        "it accepts new classes, but no way to go on brings any"
    )


def check_impossible_is_refused(case: AdapterCase) -> None:
    """Check that each verb that is declared impossible raises, and says the declared reason."""
    declared = case.adapter.capabilities(case.fitted)
    why_not = declared.why_not
    if not declared.can_partial_fit:
        demand_typed_error(
            lambda: case.adapter.partial_fit(case.fitted, case.features, case.labels),
            "a partial_fit that is declared impossible",
            says=why_not["partial_fit"],
        )
    ways: tuple[Way, ...] = get_args(Way)
    for way in ways:
        if way not in declared.ways:
            demand_typed_error(
                lambda way=way: case.adapter.continue_fit(  # type: ignore[misc]  # a default in a lambda
                    case.fitted, case.features, case.labels, way=way
                ),
                f"continue_fit by {way!r}, which is declared impossible",
                says="" if declared.ways else why_not.get("continue", ""),
            )
    if not declared.can_refit:
        for what, verb in (
            ("fit", lambda: case.adapter.fit(case.estimator, case.features, case.labels)),
            ("with_params", lambda: case.adapter.with_params(case.estimator, {})),
        ):
            demand_typed_error(verb, f"{what} without a recipe", says=why_not["refit"])


def check_going_on(case: AdapterCase) -> None:
    """Check that going on learns, on a copy, the same each time, and grows as declared."""
    half = len(case.labels) // 2
    rows, labels = case.features.slice(0, half), case.labels[:half]
    declared = case.adapter.capabilities(case.fitted)
    for verb, go_on in _verbs(case, declared):
        parent = case.fit()
        with Watched(case, parent, verb) as before:
            kept_rows, kept_labels = rows.to_pydict(), labels.copy()
            child = go_on(parent, rows, labels)
            assert case.adapter.dump(child) != before, f"{verb} learned nothing"
            assert rows.to_pydict() == kept_rows, f"{verb} changed the rows"
            assert np.array_equal(labels, kept_labels), f"{verb} changed the labels"
        demand_equal(case, child, go_on(parent, rows, labels), f"{verb} again with the same seed:")
        with Watched(case, child, f"a second {verb}"):
            grandchild = go_on(child, rows, labels)
        classes = case.adapter.classes(grandchild)
        assert classes == case.adapter.classes(parent), f"{verb} changed the classes: {classes}"
        scores = case.adapter.predict(grandchild, case.features)
        demand_form(scores, len(case.labels), len(classes) or 1)
        _demand_growth(case, parent, grandchild, verb)


def check_going_on_is_stored(case: AdapterCase) -> None:
    """Check that what has gone on is stored whole, and goes on alike after it was loaded."""
    declared = case.adapter.capabilities(case.fitted)
    for verb, go_on in _verbs(case, declared):
        child = go_on(case.fit(), case.features, case.labels)
        loaded = case.adapter.load(case.adapter.dump(child), case.trust)
        demand_equal(case, loaded, child, f"after {verb} and a round trip")
        one, other = (go_on(each, case.features, case.labels) for each in (child, loaded))
        demand_equal(case, one, other, f"a second {verb}, with and without a round trip between:")


def check_new_classes(case: AdapterCase) -> None:
    """Check that a class that it does not know is refused, or taken in without harm."""
    known = case.adapter.classes(case.fitted)
    if not known or isinstance(known[0], bool):
        return
    newcomer: Any = "!new" if isinstance(known[0], str) else min(map(int, known)) - 1
    # It sorts first: columns that are only appended to would change what they mean.
    labels = case.labels.copy()
    labels[::4] = newcomer
    declared = case.adapter.capabilities(case.fitted)
    for verb, go_on in _verbs(case, declared):
        if not declared.accepts_new_classes:
            with Watched(case, case.fitted, verb):
                demand_typed_error(
                    lambda go_on=go_on: go_on(case.fitted, case.features, labels),  # type: ignore[misc]  # a default in a lambda
                    f"{verb} with a class that it does not know",
                )
            continue
        with Watched(case, case.fitted, verb):
            child = go_on(case.fitted, case.features, labels)
        classes = case.adapter.classes(child)
        assert set(classes) == {newcomer, *known}, f"{verb}: the classes are {classes}"
        assert list(classes) == sorted(classes), f"{verb}: classes are not sorted: {classes}"
        scores = case.adapter.predict(child, case.features)
        demand_form(scores, len(labels), len(classes))
        assert np.abs(scores.sum(axis=1) - 1.0).max() < 1e-6, f"{verb}: sums are not 1"
        assert scores[:, 0].mean() > 0, f"{verb} gives the new class nothing"
        columns = np.array([classes.index(label) for label in case.labels.tolist()])
        share = scores[np.arange(len(columns)), columns].mean()
        even = (1.0 - scores[:, 0].mean()) / len(known)
        assert share > even, f"{verb}: the old classes lost their meaning ({share} of {even})"


def check_fewer_classes(case: AdapterCase) -> None:
    """Check that rows of one class only leave the others where they are."""
    known = case.adapter.classes(case.fitted)
    if not known:
        return
    rows = case.features.filter(pa.array((case.labels == known[-1]).tolist()))
    labels = case.labels[case.labels == known[-1]]
    for verb, go_on in _verbs(case, case.adapter.capabilities(case.fitted)):
        child = go_on(case.fitted, rows, labels)
        assert case.adapter.classes(child) == known, f"{verb} forgot a class that did not come"
        demand_form(case.adapter.predict(child, case.features), len(case.labels), len(known))


GOING_ON_CHECKS: dict[str, Callable[[AdapterCase], None]] = {
    "declaration": check_declaration,
    "fewer_classes": check_fewer_classes,
    "going_on": check_going_on,
    "going_on_is_stored": check_going_on_is_stored,
    "impossible_is_refused": check_impossible_is_refused,
    "new_classes": check_new_classes,
}


def _verbs(
    case: AdapterCase, declared: Capabilities
) -> Iterator[tuple[str, Callable[[Any, pa.Table, Labels], Any]]]:
    """Yield each declared way to go on, by its name."""
    if declared.can_partial_fit:
        yield (
            "partial_fit",
            lambda parent, rows, labels: case.adapter.partial_fit(parent, rows, labels, seed=_SEED),
        )
    for way in declared.ways:

        def go_on(parent: Any, rows: pa.Table, labels: Labels, way: Way = way) -> Any:
            return case.adapter.continue_fit(
                parent, rows, labels, way=way, rounds=2, decay=0.5, seed=_SEED
            )

        yield f"continue_fit by {way!r}", go_on


def _demand_growth(case: AdapterCase, parent: Any, child: Any, verb: str) -> None:
    before, after = (case.adapter.capabilities(each) for each in (parent, child))
    if before.size is None or after.size is None:
        assert before.size is after.size, f"{verb}: the size is known once and once not"
        return
    if verb.endswith("'boost'") and before.grows:
        assert after.size > before.size, f"{verb}: it grows, and its size stays {after.size}"
    if verb.endswith("'leaves'"):
        assert after.size == before.size, f"{verb}: from {before.size} to {after.size}"
