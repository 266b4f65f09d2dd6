"""CIFAR-10 under changing photos: the mix of classes, a blurred lens, a noisy sensor.

The same small network serves three places. In the first one some classes become rare and
others common; in the second the lens goes out of focus; in the third the sensor is noisy. Each
update races what could repair it: recalibrate with new shares of the classes, estimated without
a label (``method=prior``), fine_tune of all layers with old photos mixed in, and retrain.

What to see: which repair fits which change. New shares of the classes need no new weights;
where the images themselves have changed, shares do not help and the weights must move. The
table shows each on the newest two weeks, which none of them was fitted on, and which one the race
has chosen on the week before.

The photos are read from the folder RENEWAL_DATA (default ../shared/data); without them they
are scikit-learn's digits.

    python examples/cifar10_shift.py [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from photos import START, TRUST, WEEK, Photos, blurred, noisy
from rich.console import Console
from rich.table import Table

import renewal
from renewal.models.layers import Tuning
from renewal.models.torch import TorchAdapter

RECIPES = ("recalibrate:method=prior,min_rows=50", "fine_tune:epochs=3", "retrain")
WAYS = ("recalibrate", "fine_tune", "retrain")
SINCE, UNTIL = 8, 13
CONSOLE = Console(highlight=False)


@dataclass(frozen=True)
class Change:
    """What happens to the photos, as rows that come after it."""

    name: str
    rows: pa.Table


def main(quick: bool = False) -> None:  # noqa: FBT001, FBT002  # the one switch of an example
    """Run the example; `quick` is the form that the tests run."""
    # Below 10,000 rows to learn from, a race fits every recipe on all of them.
    photos = Photos(560 if quick else 13_000)
    old, new = np.split(np.arange(len(photos)), [len(photos) // 2])
    before = photos.rows(old, (0, SINCE), photos.pixels[old])
    how = Tuning(epochs=4 if quick else 10, batch=16 if quick else 64, patience=None)
    network = TorchAdapter().fit(
        photos.model(how), before.select(["image"]), photos.labels[old], seed=0
    )
    table = Table(title="the newest two weeks: accuracy, log-loss, seconds of the fit")
    for name in ("change", "way", "accuracy", "log-loss", "seconds", "the race"):
        table.add_column(name)
    with tempfile.TemporaryDirectory() as folder:
        # A stored version names its class and holds no code: who loads it must trust the class.
        (Path(folder) / "renewal.toml").write_text(TRUST, encoding="utf-8")
        clock = renewal.ReplayClock(START + SINCE * WEEK)
        with renewal.open(folder, clock=clock) as home:
            places = [
                (home.model(
                    change.name.replace(" ", "-"),
                    task="multiclass", target="shows", key="photo", time="taken_at",
                ), change)
                for change in changes(photos, new)
            ]  # fmt: skip
            for model, _change in places:
                model.feed.append(before)
                model.register(network, trained_on=before)
            clock.move_to(START + UNTIL * WEEK)
            chosen = []
            for model, change in places:
                lines = lived(model, change)
                for line in lines:
                    table.add_row(*line)
                table.add_section()
                ways = [way for _name, way, *_numbers, note in lines if note.startswith("chosen")]
                chosen.append(f"{ways[0] if ways else 'nothing'} for {change.name}")
    CONSOLE.print(table)
    CONSOLE.print(f"The race has chosen {', '.join(chosen)}.")


def changes(photos: Photos, at: NDArray[np.int64]) -> tuple[Change, ...]:
    """Return the three changes, each as rows of the weeks after it."""
    weeks = (float(SINCE), float(UNTIL))
    classes = np.unique(photos.labels)
    # Classes of the second half are nine times as rare as those of the first.
    is_rare = np.isin(photos.labels[at], classes[len(classes) // 2 :])
    mixed = at[~is_rare | (np.arange(len(at)) % 9 == 0)]
    return (
        Change("class mix", photos.rows(mixed, weeks, photos.pixels[mixed])),
        Change("blur", photos.rows(at, weeks, blurred(photos.pixels[at]))),
        Change("noise", photos.rows(at, weeks, noisy(photos.pixels[at]))),
    )


def lived(model: renewal.Model, change: Change) -> list[tuple[str, ...]]:
    """Take in the rows after a change, race the recipes, and measure what each has made."""
    model.feed.append(change.rows)
    update = model.update(RECIPES)
    chosen = None if update.candidate is None else update.candidate.manifest.strategy
    newest = change.rows.slice(change.rows.num_rows * 3 // 5)
    lines: list[tuple[str, ...]] = []
    for way, ref, seconds in (("never", "v1", 0.0), *made(model, update)):
        note = f"chosen; gate: {update.verdict.outcome}" if update.verdict and way == chosen else ""
        accuracy, log_loss = scored(model, ref, newest)
        name = change.name if way == "never" else ""
        lines.append((name, way, f"{accuracy:.3f}", f"{log_loss:.3f}", f"{seconds:.1f}", note))
    known = {line[1] for line in lines}
    for entry in update.entries:
        way = entry["recipe"].partition("(")[0]
        if way in WAYS and way not in known:
            lines.append(("", way, "", "", "", f"{entry['outcome']}: {entry['reason']}"))
    return lines


def made(model: renewal.Model, update: renewal.Update) -> list[tuple[str, str, float]]:
    """Return each version of the race with its seconds, fitted up to the newest three weeks."""
    found = {}
    for version in model.versions():
        if version.facts.get("raced") and version.facts["run"] == update.run_id:
            found[version.manifest.strategy] = (version.id, version.facts["fit_s"])
    return [(way, *found[way]) for way in WAYS if way in found]


def scored(model: renewal.Model, ref: str, rows: pa.Table) -> tuple[float, float]:
    """Return accuracy and log-loss of a version on rows."""
    classes = np.array(model.version(ref).manifest.classes, dtype=object)
    scores = model.predict(ref, rows)
    labels = np.array(rows["shows"].to_pylist(), dtype=object)
    place = np.searchsorted(classes.astype(str), labels.astype(str))
    right = scores[np.arange(len(labels)), place]
    return (
        float((scores.argmax(axis=1) == place).mean()),
        float(-np.log(np.clip(right, 1e-12, 1.0)).mean()),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the short form that the tests run")
    main(parser.parse_args().quick)
