"""Who may become champion: the four grounds, and every way to have none of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from renewal.core.clock import ReplayClock
from renewal.core.errors import Conflict, Invalid, NotFound, Refused
from renewal.core.plan import Arm, Plan
from renewal.core.spec import ModelSpec
from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.registry.registry import Move, Registry

Grow = Callable[[int], list[Version]]
Judged = Callable[..., Verdict]


@pytest.fixture
def three(registry: Registry, grow: Grow) -> list[Version]:
    """Register v1, v2 and v3; v1 is champion."""
    versions = grow(3)
    registry.move("flights", Move("champion", None, versions[0].id), who="ada", why="the first")
    return versions


def champion(registry: Registry) -> str | None:
    return registry.aliases("flights").get("champion")


def promote(registry: Registry, frm: Version, to: Version, verdict_id: str | None) -> None:
    registry.move(
        "flights",
        Move("champion", frm.id, to.id),
        who="bob",
        why="it is better",
        verdict_id=verdict_id,
    )


def test_the_first_champion_needs_no_verdict_and_is_logged_as_first(
    registry: Registry, three: list[Version]
) -> None:
    assert champion(registry) == three[0].id
    event = registry.log("flights")[-1]
    assert (event.kind, event.who, event.why) == ("first", "ada", "the first")
    assert event.details == {
        "moves": [{"alias": "champion", "from": None, "to": three[0].id}],
        "verdict": None,
        "forced": False,
    }


def test_an_accept_verdict_beside_the_champion_promotes(
    registry: Registry, three: list[Version], judged: Judged, clock: ReplayClock
) -> None:
    one, two, _ = three
    verdict_id = registry.add_verdict("flights", judged(two.id, one.id))
    clock.move_to(clock.now() + timedelta(days=1))
    promote(registry, one, two, verdict_id)
    assert champion(registry) == two.id
    first, last = registry.history("flights", "champion")
    assert (first.kind, first.from_id, first.to_id) == ("first", None, one.id)
    assert (last.kind, last.from_id, last.to_id) == ("moved", one.id, two.id)
    assert (last.who, last.why, last.verdict_id, last.forced, last.at) == (
        "bob",
        "it is better",
        verdict_id,
        False,
        clock.now(),
    )


def test_without_a_verdict_it_is_refused(registry: Registry, three: list[Version]) -> None:
    with pytest.raises(Refused, match="no verdict"):
        promote(registry, three[0], three[1], None)
    assert champion(registry) == three[0].id


@pytest.mark.parametrize("outcome", ["reject", "undecided"])
def test_another_outcome_is_refused_and_carried(
    registry: Registry, three: list[Version], judged: Judged, outcome: str
) -> None:
    one, two, _ = three
    verdict_id = registry.add_verdict("flights", judged(two.id, one.id, outcome))
    with pytest.raises(Refused, match=f"The bound says {outcome}") as caught:
        promote(registry, one, two, verdict_id)
    assert caught.value.fields["verdict"].outcome == outcome
    assert caught.value.fields["verdict_id"] == verdict_id
    assert champion(registry) == one.id


def test_a_verdict_on_another_candidate_is_refused(
    registry: Registry, three: list[Version], judged: Judged
) -> None:
    """Breaks when any accept verdict opens the door for any version."""
    one, two, other = three
    verdict_id = registry.add_verdict("flights", judged(other.id, one.id))
    with pytest.raises(Refused, match=other.id):
        promote(registry, one, two, verdict_id)


def test_a_baseline_that_is_no_longer_champion_is_a_conflict(
    registry: Registry, three: list[Version], judged: Judged
) -> None:
    """Breaks when better than v1 is taken for better than v2."""
    one, two, other = three
    stale = registry.add_verdict("flights", judged(other.id, one.id))
    promote(registry, one, two, registry.add_verdict("flights", judged(two.id, one.id)))
    with pytest.raises(Conflict, match="champion no longer") as caught:
        promote(registry, two, other, stale)
    assert (caught.value.fields["baseline"], caught.value.fields["champion"]) == (one.id, two.id)
    assert champion(registry) == two.id


def test_the_second_promotion_lost_the_race_and_hears_who_won(
    registry: Registry, three: list[Version], judged: Judged
) -> None:
    one, two, other = three
    winner = registry.add_verdict("flights", judged(two.id, one.id))
    loser = registry.add_verdict("flights", judged(other.id, one.id))
    promote(registry, one, two, winner)
    with pytest.raises(Conflict, match="moved by bob at 2013-01-01") as caught:
        promote(registry, one, other, loser)
    assert caught.value.fields["present"] == two.id
    assert caught.value.fields["who_moved"] == "bob"
    assert champion(registry) == two.id


def test_a_verdict_of_another_model_is_not_found(registry: Registry, three: list[Version]) -> None:
    with pytest.raises(NotFound, match="verdict of 'flights'"):
        promote(registry, three[0], three[1], "0" * 26)


def test_rollback_goes_to_a_former_champion_only(
    registry: Registry, three: list[Version], judged: Judged
) -> None:
    one, two, never = three
    promote(registry, one, two, registry.add_verdict("flights", judged(two.id, one.id)))

    def roll_back(to: Version) -> None:
        registry.move(
            "flights", Move("champion", two.id, to.id), who="eve", why="harm", kind="rolled_back"
        )

    with pytest.raises(Refused, match="never champion"):
        roll_back(never)
    assert champion(registry) == two.id
    roll_back(one)
    assert champion(registry) == one.id
    assert registry.history("flights", "champion")[-1].kind == "rolled_back"


def test_the_words_of_a_rollback_open_no_other_door(
    registry: Registry, three: list[Version]
) -> None:
    """Breaks when a former champion may return without the event saying so."""
    one, two, _ = three
    registry.move("flights", Move("champion", one.id, two.id), who="eve", why="a test", forced=True)
    with pytest.raises(Refused, match="no verdict"):
        promote(registry, two, one, None)


def test_force_has_a_name_and_a_reason_in_the_log(registry: Registry, three: list[Version]) -> None:
    one, two, _ = three
    for who, why in (("", "because"), ("eve", ""), ("  ", "because")):
        with pytest.raises(Refused, match="name and a reason"):
            registry.move(
                "flights", Move("champion", one.id, two.id), who=who, why=why, forced=True
            )
    assert champion(registry) == one.id
    registry.move("flights", Move("champion", one.id, two.id), who="eve", why="x", forced=True)
    last = registry.history("flights", "champion")[-1]
    assert (last.to_id, last.who, last.why, last.forced) == (two.id, "eve", "x", True)


def test_force_does_not_overrule_the_compare_and_swap(
    registry: Registry, three: list[Version]
) -> None:
    """Breaks when force moves away a champion that the one who forces has not seen."""
    with pytest.raises(Conflict):
        registry.move(
            "flights",
            Move("champion", three[1].id, three[2].id),
            who="eve",
            why="x",
            forced=True,
        )


def test_no_champion_at_all_needs_force_and_first_happens_once(
    registry: Registry, three: list[Version]
) -> None:
    """Breaks when taking the champion away opens the door of the first one again."""
    one, two, _ = three
    with pytest.raises(Refused, match="leaves no champion"):
        registry.move("flights", Move("champion", one.id, None), who="eve", why="x")
    registry.move("flights", Move("champion", one.id, None), who="eve", why="x", forced=True)
    assert champion(registry) is None
    for kind in ("moved", "first"):
        with pytest.raises(Refused):
            registry.move("flights", Move("champion", None, two.id), who="e", why="", kind=kind)
    registry.move("flights", Move("champion", None, one.id), who="eve", why="", kind="rolled_back")
    assert champion(registry) == one.id


def test_first_is_said_of_a_first_champion_only(
    registry: Registry, three: list[Version], judged: Judged
) -> None:
    one, two, _ = three
    verdict_id = registry.add_verdict("flights", judged(two.id, one.id))
    with pytest.raises(Refused, match="first"):
        registry.move(
            "flights",
            Move("champion", one.id, two.id),
            who="eve",
            why="",
            verdict_id=verdict_id,
            kind="first",
        )
    with pytest.raises(Refused, match="first"):
        registry.move("flights", Move("mine", None, two.id), who="eve", why="", kind="first")


def test_other_aliases_move_freely_but_by_compare_and_swap(
    registry: Registry, three: list[Version]
) -> None:
    _, two, other = three
    registry.move("flights", Move("mine", None, two.id), who="ada", why="")
    with pytest.raises(Conflict, match="'mine'"):
        registry.move("flights", Move("mine", None, other.id), who="bob", why="")
    registry.move("flights", Move("mine", two.id, other.id), who="ada", why="")
    registry.move("flights", Move("mine", other.id, None), who="ada", why="")
    assert "mine" not in registry.aliases("flights")
    moves = registry.history("flights", "mine")
    assert [(move.from_id, move.to_id) for move in moves] == [
        (None, two.id),
        (two.id, other.id),
        (other.id, None),
    ]


def test_several_aliases_move_together_or_not_at_all(
    registry: Registry, three: list[Version], judged: Judged
) -> None:
    """Breaks when one of two moves stays after the other was refused."""
    one, two, other = three
    registry.move("flights", Move("candidate", None, two.id), who="ada", why="")
    verdict_id = registry.add_verdict("flights", judged(two.id, one.id))
    plan = Plan("flights", "full", (Arm("champion", two.id, 1.0),), (one.id,))
    before = registry.aliases("flights"), registry.log("flights")

    def both(expected_candidate: str) -> None:
        registry.move(
            "flights",
            Move("champion", one.id, two.id),
            Move("candidate", expected_candidate, None),
            who="ada",
            why="rolled out",
            verdict_id=verdict_id,
            plan=plan,
        )

    with pytest.raises(Conflict, match="candidate"):
        both(other.id)
    assert (registry.aliases("flights"), registry.log("flights")) == before
    assert registry.plan("flights") is None
    both(two.id)
    assert registry.aliases("flights") == {"champion": two.id}
    assert registry.plan("flights") == (registry.plans_after(0)[-1][0], plan)
    assert len(registry.log("flights")) == len(before[1]) + 1, "one event for both"


def test_a_plan_alone_is_an_event_without_a_move(registry: Registry, three: list[Version]) -> None:
    one, two, _ = three
    plan = Plan("flights", "shadow", (Arm("champion", one.id, 1.0),), (two.id,))
    registry.move("flights", who="the circuit", why="shadow", plan=plan, kind="rollout")
    assert registry.plan("flights") == (1, plan)
    assert registry.log("flights")[-1].details["moves"] == []
    assert len(registry.history("flights", "champion")) == 1


def test_a_move_to_where_it_points_already_moves_nothing(
    registry: Registry, three: list[Version]
) -> None:
    one = three[0]
    registry.move("flights", Move("champion", one.id, one.id), who="ada", why="again")
    assert len(registry.history("flights", "champion")) == 1


@pytest.mark.parametrize("alias", ["", "v3", "3", "3rd", "a b", "@champion", "a" * 65, "a/b", "é"])
def test_what_is_no_alias_is_refused(registry: Registry, three: list[Version], alias: str) -> None:
    """Breaks when an alias could be read as a version, a path or a URL's end."""
    with pytest.raises(Invalid, match="alias"):
        registry.move("flights", Move(alias, None, three[0].id), who="ada", why="")


def test_an_alias_twice_nothing_at_all_or_a_strange_plan_is_refused(
    registry: Registry, three: list[Version]
) -> None:
    one, two, _ = three
    twice = (Move("mine", None, one.id), Move("mine", None, two.id))
    with pytest.raises(Invalid, match="each once"):
        registry.move("flights", *twice, who="ada", why="")
    with pytest.raises(Invalid, match="neither"):
        registry.move("flights", who="ada", why="")
    plan = Plan("taxis", "steady", (Arm("champion", one.id, 1.0),))
    with pytest.raises(Invalid, match="a plan of 'taxis'"):
        registry.move("flights", Move("mine", None, one.id), who="ada", why="", plan=plan)
    with pytest.raises(NotFound, match="trains"):
        registry.move("trains", Move("mine", None, one.id), who="ada", why="")
    assert "mine" not in registry.aliases("flights")


@pytest.mark.usefixtures("three")
def test_models_do_not_share_aliases_or_history(registry: Registry) -> None:
    registry.create_model(ModelSpec("taxis", "binary", "tip"))
    assert registry.aliases("taxis") == {}
    assert registry.history("taxis", "champion") == ()
    assert registry.history("flights", "Champion") == ()
