"""The small forms of `bench.gate.truth` and `bench.gate.fairness`, every step the real one.

Breaks when the forward way fits what it judges or a day beside it, when the other two ways
would no longer be fooled (then the benchmark shows nothing), when a claim takes a side that
its interval does not, or when the guard lets harm pass without naming the group.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships none

from bench.gate import fairness, truth
from bench.gate.pairs import is_there
from renewal.stats.paired import paired_mean

ELEC2 = next(source for source in truth.SOURCES if source.name == "elec2")
needs_elec2 = pytest.mark.skipif(not is_there(ELEC2), reason="elec2 is absent: set RENEWAL_DATA")
needs_adult = pytest.mark.skipif(
    not fairness.PATH.exists(), reason="adult is absent: set RENEWAL_DATA"
)


def update(claimed: float, true: float, *, half_width: float = 0.01) -> truth.Update:
    """Return an update whose champion loses 0.5 a row."""
    side = int(claimed - half_width > 0) - int(claimed + half_width < 0)
    said = truth.Claimed(claimed, claimed - half_width, claimed + half_width, side, "undecided")
    return truth.Update(100, said, paired_mean([true - 0.001, true + 0.001]), 0.5)


@pytest.mark.parametrize(
    ("claimed", "true", "is_covered", "is_wrong"),
    [
        (0.02, 0.025, True, False),
        (0.02, -0.004, False, False),  # worse by 0.8% of the loss
        (0.02, -0.006, False, True),
        (-0.02, 0.006, False, True),
        (0.005, -0.006, False, False),  # it took no side
    ],
)
def test_a_side_is_wrong_when_the_truth_is_on_the_other_by_a_size_that_matters(
    claimed: float,
    true: float,
    is_covered: bool,  # noqa: FBT001  # a parameter of the test
    is_wrong: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    found = update(claimed, true)
    assert (found.is_covered, found.is_wrong) == (is_covered, is_wrong)
    assert found.error == pytest.approx(claimed - true)


def test_the_figures_tell_the_worse_of_both_rules(capsys: pytest.CaptureFixture[str]) -> None:
    """Half covered and two wrong sides under one rule, all well under the other."""
    bad = tuple(update(0.02, true) for true in (0.021, 0.02, -0.1, -0.1))
    good = tuple(update(0.02, true) for true in (0.021, 0.02, 0.019, 0.02))
    courses = [
        truth.Course("elec2", way, policy, good if policy == truth.NEVER else bad)
        for policy in truth.POLICIES
        for way in truth.WAYS
    ]
    truth.show("elec2", courses)
    truth.tell("elec2", courses)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FIGURE")]
    assert all(len(line.split()) == 5 for line in lines)
    assert "FIGURE truth.elec2_coverage 0.5 >=0.8 short" in lines
    assert "FIGURE truth.elec2_sign_errors_within_chance 2 <=1 short" in lines
    assert "FIGURE truth.elec2_sign_errors 2 <=0 short" in lines


@needs_elec2
def test_each_way_fits_and_judges_what_it_says() -> None:
    rows = truth.rows_of("elec2")
    day = rows.event_us // truth.DAY_US
    at = {way: truth.parts(way, rows, 400) for way in truth.WAYS}
    for fitted, judged in at.values():
        assert judged.any()
        assert not (fitted & judged).any()
        assert day[fitted | judged].max() < 400
    fitted, judged = at[truth.OURS]
    assert day[fitted].max() == 384  # a day lies between
    assert np.unique(day[judged]).tolist() == list(range(386, 400))
    fitted, judged = at[truth.HASHED]
    assert np.unique(day[judged]).tolist() == list(range(386, 400))
    assert set(range(386, 400)) <= set(day[fitted].tolist())  # beside the rows it judges
    champion = truth.parts(truth.NAIVE, rows, 372)[0]
    leaked = champion & at[truth.NAIVE][1]
    assert leaked.sum() > 0.7 * at[truth.NAIVE][1].sum()  # the champion knows its test


@needs_elec2
def test_ours_covers_the_truth_and_the_recipe_does_not() -> None:
    """Every fourth update of Elec2, 7 of them, seeded; recipe and truth differ by far."""
    with threadpool_limits(1):
        ours, naive = (truth.play(ELEC2, way, every=4) for way in (truth.OURS, truth.NAIVE))
    for course in ours:
        assert len(course.updates) == 7
        assert course.coverage >= 5 / 7
        assert course.n_wrong(1) + course.n_wrong(-1) == 0
        for each in course.updates:
            assert each.claimed.lower < each.claimed.gain < each.claimed.upper
            assert each.claimed.outcome != "accept" or each.claimed.side == 1
    assert all(course.coverage <= 2 / 7 for course in naive)


@needs_adult
def test_the_guard_rejects_harm_and_names_the_group() -> None:
    """Both harms gain accuracy; the one shown with 590 women above 50K is rejected for them."""
    with threadpool_limits(1):
        found = {each.name: each for each in fairness.cases(quick=True)}
    harmful, honest = found[fairness.HARMFUL], found[fairness.HONEST]
    champion, candidate = (each.metrics["accuracy"] for each in harmful.report.versions)
    assert candidate > champion + 0.02
    before, after = (fairness.true_positive_rates(harmful.report, at) for at in (0, 1))
    assert after["sex=Female"] < before["sex=Female"] - 0.05
    assert after["sex=Male"] > before["sex=Male"]
    assert harmful.unguarded.outcome == "accept"
    assert harmful.names("sex=Female")
    assert [each.name for each in harmful.vetoes] == ["fairness sex tpr_difference_change"]
    assert not replace(harmful, guarded=harmful.unguarded).names("sex=Female")
    assert honest.guarded.outcome == "accept"
    assert honest.vetoes == ()
    assert fairness.difference_to_fairlearn(harmful.report) <= fairness.LARGEST_DIFFERENCE
