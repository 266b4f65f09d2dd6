"""Three ways after a fine-tuning: the original, the fine-tuned one and a retrained one.

Fine-tuning is cheap because it starts from what is there. Whether that was worth it shows only
beside what a fresh fit would have given, on the same rows that none of the three has seen. The
comparison decides nothing: the gate has judged the candidate before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from renewal.core.errors import RenewalError
from renewal.core.version import Version
from renewal.evaluate.report import Report
from renewal.loop.comparing import evaluate_versions
from renewal.loop.happening import Happening
from renewal.loop.journal import Output
from renewal.loop.racing import Racing
from renewal.registry.codec import to_plain
from renewal.update.stretches import judged_rows

FINE_TUNE = "fine_tune"
"""The strategy after which the three are compared."""

RETRAIN = "retrain"

COMPARED = "three way"
"""The step of the journal that holds the comparison."""


def three_way(
    racing: Racing,
    tuned: Version,
    recipes: Sequence[str],
    *,
    in_race: bool,
    limit_s: float | None = None,
) -> Mapping[str, Any]:
    """Retrain for comparison and measure the three on the rows that are judged.

    Parameters
    ----------
    racing : Racing
        Of the update; its `retrain` recipe is taken where it has one.
    tuned : Version
        The fine-tuned version.
    recipes : sequence of str
        Labels of the recipes of the race.
    in_race : bool
        Whether it is the one that raced, since another won; else it is the candidate, fitted
        up to the cut. The retrained one is fitted on the same stretch.
    limit_s : float or None, seconds
        After that long the retraining has failed, and there is no comparison.

    Returns
    -------
    mapping
        ``versions`` (id by what each is), ``n_rows``, ``metrics`` by version id and ``loss``;
        or ``why_not`` in words.
    """
    label = next((each for each in recipes if each.startswith(RETRAIN)), RETRAIN)
    fitted = racing.journal.step(
        racing.run,
        "three way: fit",
        {"recipe": label},
        lambda: racing.fit(label, limit_s=limit_s, in_race=in_race),
    )
    if fitted.get("failed") is not None:
        return _told(racing, {"why_not": fitted["failed"]})

    def work() -> Output:
        # Like what loses a race, it is there until it is swept.
        facts = {"fit_s": fitted["seconds"], **fitted["facts"], "raced": True}
        return _compared(racing, tuned, racing.add(fitted["manifest"], label, facts))

    return _told(racing, racing.journal.step(racing.run, COMPARED, {"tuned": tuned.id}, work))


def _compared(racing: Racing, tuned: Version, retrained: Version) -> Output:
    shop, desk = racing.shop, racing.desk
    named = {"original": desk.baseline, "fine-tuned": tuned, "retrained": retrained}
    rows = judged_rows(desk.rows, desk.pinned.window, salt=shop.salt)
    try:
        report = evaluate_versions(shop, tuple(named.values()), rows)
    except RenewalError as error:
        return {"why_not": str(error)}
    return {
        "versions": {what: version.id for what, version in named.items()},
        "names": {what: version.name for what, version in named.items()},
        "n_rows": report.n_rows,
        "loss": _losses(report, named),
        "metrics": {
            what: to_plain(dict(report.of(version.id).metrics)) for what, version in named.items()
        },
    }


def _losses(report: Report, named: Mapping[str, Version]) -> dict[str, float]:
    return {what: report.of(version.id).mean_loss for what, version in named.items()}


def _told(racing: Racing, found: Mapping[str, Any]) -> Mapping[str, Any]:
    if "why_not" in found:
        sentence = f"no retrained version to compare with: {found['why_not']}"
    else:
        shown = ", ".join(
            f"{what} {found['names'][what]} {loss:.4f}" for what, loss in found["loss"].items()
        )
        sentence = f"on the same {found['n_rows']:,} unseen rows: {shown}"
    at = racing.run.started_at
    racing.shop.tell(Happening(at, "three_way", sentence, dict(found)))
    return found
