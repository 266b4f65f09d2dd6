"""CIFAR-10: a small convolutional network fine-tuned on new photos, as it should be done.

Two convolutions and three linear layers learn from photos taken by day. Then photos taken after
sunset come: dark and bluish. All layers but the last are frozen, the head goes on learning from
the new photos, and three versions are compared on the newest ones, which none of them has seen:
the original, the fine-tuned one, and one retrained on everything.

Three mistakes are common where this is shown, and none of them raises an error there:

* The head is frozen with the rest, and nothing learns. Here ``train=last:1`` leaves the last
  layer free, and a pattern that leaves none is refused.
* The loop goes over the loader of the *old* photos, and learns what it knew. Here fine_tune takes
  the rows that the champion was not fitted on, and is refused where there are none.
* Old and new model are compared on photos that one of them was trained on. Here the keys of
  the training rows are a part of every version, and the gate leaves those rows out.

What to see: how much of the loss the last layer alone repairs, in a fraction of the time of
a retraining; and what the retraining is worth beside it.

The photos are read from the folder RENEWAL_DATA (default ../shared/data); without them they
are scikit-learn's digits.

    python examples/cifar10.py [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from photos import START, TRUST, WEEK, Photos, dark
from rich.console import Console
from rich.table import Table

import renewal
from renewal.models.layers import Tuning

FINE_TUNE = "fine_tune:train=last:1,lr=3e-3,epochs=8,replay=0"
ALL_FROZEN = "fine_tune:train=none.*"
CONSOLE = Console(highlight=False)


def main(quick: bool = False) -> None:  # noqa: FBT001, FBT002  # the one switch of an example
    """Run the example; `quick` is the form that the tests run."""
    photos = Photos(1200 if quick else 15_000)
    n_old = len(photos) * 3 // 5
    day, night = np.split(np.arange(len(photos)), [n_old])
    clock = renewal.ReplayClock(START + 8 * WEEK)
    with tempfile.TemporaryDirectory() as folder:
        # A stored version names its class and holds no code: who loads it must trust the class.
        (Path(folder) / "renewal.toml").write_text(TRUST, encoding="utf-8")
        with renewal.open(folder, clock=clock) as home:
            model = home.model(
                "photos", task="multiclass", target="shows", key="photo", time="taken_at"
            )
            how = Tuning(epochs=3 if quick else 10, patience=None)
            model.train(photos.model(how), photos.rows(day, (0, 8), photos.pixels[day]))
            show_race("Before any new photo", model.update([FINE_TUNE]))
            model.feed.append(photos.rows(night, (8, 13), dark(photos.pixels[night])))
            clock.move_to(START + 13 * WEEK)
            update = model.update([FINE_TUNE, ALL_FROZEN])
            show_race("After five weeks of photos at night", update)
            show_three(model, update)


def show_race(title: str, update: renewal.Update) -> None:
    """Print what became of each recipe."""
    table = Table(title=title)
    for name in ("recipe", "outcome", "log-loss", "seconds", "reason"):
        table.add_column(name, overflow="fold")
    for entry in update.entries:
        loss = "" if entry["loss"] is None else f"{entry['loss']:.3f}"
        reason = entry["reason"].splitlines()[0]
        table.add_row(entry["recipe"], entry["outcome"], loss, f"{entry['seconds']:.1f}", reason)
    CONSOLE.print(table)
    CONSOLE.print(f"The gate: {update.sentence}.\n")


def show_three(model: renewal.Model, update: renewal.Update) -> None:
    """Print the original, the fine-tuned and the retrained version on the same unseen rows."""
    found = update.three_way
    if "loss" not in found:
        CONSOLE.print(f"No three to compare: {found.get('why_not', 'nothing was fine-tuned')}.")
        return
    table = Table(title=f"on the same {found['n_rows']:,} photos, which none of the three has seen")
    for name in ("version", "what", "log-loss", "accuracy", "seconds"):
        table.add_column(name)
    for what, version_id in found["versions"].items():
        version = model.version(version_id)
        table.add_row(
            version.name,
            what,
            f"{found['loss'][what]:.3f}",
            f"{found['metrics'][what]['accuracy']:.3f}",
            f"{version.facts['fit_s']:.1f}",
        )
    CONSOLE.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the short form that the tests run")
    main(parser.parse_args().quick)
