"""The walking loop, measured: the demo's final tables, the gate's claims, an update's overhead.

Run it as ``python -m bench.loop``; ``--quick`` takes the demo's short form.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.figure import figure
from renewal.assemble.home import open_home
from renewal.cli.demo_run import run
from renewal.cli.show import table
from renewal.core.clock import SystemClock
from renewal.core.spec import ModelSpec
from renewal.loop.journal import Journal
from renewal.loop.lease import held
from renewal.registry.db import Database
from renewal.registry.registry import Registry

_N_STEPS = 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the demo's short form")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        story = run(Path(folder) / "demo", quick=quick, quiet=True)
        over_s, fits_s = overhead(Path(folder) / "demo")
        step_ms = journal_step_ms(Path(folder) / "journal.db")
    show(story)
    mean = story["mean"]
    live = mean["live"]["log_loss"]
    figure(
        "live_log_loss_over_never",
        live / mean["never"]["log_loss"],
        "<= 0.98",
        ok=live <= 0.98 * mean["never"]["log_loss"],
    )
    figure(
        "live_log_loss_over_monthly",
        live / mean["monthly"]["log_loss"],
        "<= 1.01",
        ok=live <= 1.01 * mean["monthly"]["log_loss"],
    )
    judged = [
        each
        for each in story["decisions"]
        if each["claimed_gain"] is not None and each["true_gain_30d"] is not None
    ]
    errors = np.array([each["claimed_gain"] - each["true_gain_30d"] for each in judged])
    half_width = 2.0 * float(errors.std(ddof=1)) / len(errors) ** 0.5
    error = float(errors.mean())
    figure(
        "claimed_less_true_gain_mean",
        error,
        f"|x| <= {half_width:.4f} (two standard errors)",
        ok=abs(error) <= half_width,
    )
    # The mean of what was promoted alone: the winner's curse shows here first.
    promoted = [
        claim for claim, each in zip(errors, judged, strict=True) if each["outcome"] == "accepted"
    ]
    curse = float(np.mean(promoted)) if promoted else math.nan
    figure("claimed_less_true_gain_mean_of_accepted", curse, "|x| <= 0.02", ok=abs(curse) <= 0.02)
    # A claim that was stopped early as hopeless bounds the gain on one side, or on none.
    bounded = [each for each in judged if None not in (each["lower"], each["upper"])]
    covered = sum(each["lower"] <= each["true_gain_30d"] <= each["upper"] for each in bounded)
    figure(
        "true_gain_within_the_claim",
        f"{covered}of{len(bounded)}",
        ">= 0.9",
        ok=covered >= 0.9 * len(bounded),
    )
    wrong = sum(each["true_gain_30d"] < -0.005 for each in judged if each["outcome"] == "accepted")
    figure("accepted_but_worse_next_30_days", wrong, "0", ok=wrong == 0)
    figure("failed_requests", story["failed_requests"], "0", ok=story["failed_requests"] == 0)
    share = over_s / fits_s if fits_s else math.inf
    figure(
        "update_overhead_s_over_fits",
        over_s,
        "<= 10% of the fits or 2 s",
        ok=share <= 0.1 or over_s <= 2.0,
    )
    figure("journal_step_ms", step_ms, "<= 5", ok=step_ms <= 5.0)


def show(story: dict[str, Any]) -> None:
    """Print the demo's tables."""
    out = Console(width=100)
    out.print(
        table(
            ["month", "AUC never", "live", "monthly", "loss never", "live", "monthly"],
            [
                (
                    each["month"],
                    *(f"{each[way]['auc']:.3f}" for way in ("never", "live", "monthly")),
                    *(f"{each[way]['log_loss']:.4f}" for way in ("never", "live", "monthly")),
                )
                for each in story["months"]
            ],
        )
    )
    out.print(
        table(
            ["decided", "outcome", "candidate", "claimed", "at least", "true, next 30 d"],
            [
                (
                    each["at"][:10],
                    each["outcome"],
                    each["candidate"],
                    each["claimed_gain"],
                    each["lower"],
                    each["true_gain_30d"],
                )
                for each in story["decisions"]
            ],
        )
    )


def overhead(home: Path) -> tuple[float, float]:
    """Return the seconds of one update beyond its fits, and those of its fits."""
    with open_home(home) as opened:
        model = opened.model("flights")
        started = time.perf_counter()
        done = model.update(["retrain"], budget="5m")
        wall_s = time.perf_counter() - started
        fits_s = sum(float(each.get("seconds") or 0.0) for each in done.entries)
        if done.candidate is not None:
            fits_s += float(done.candidate.facts["fit_s"])
    return wall_s - fits_s, fits_s


def journal_step_ms(path: Path) -> float:
    """Return the milliseconds of a journal step that does nothing."""
    db = Database(f"sqlite:///{path}")
    Registry(db, SystemClock()).create_model(ModelSpec("m", "binary", "y"))
    with held(db, "watch:m") as (lease, fence):
        journal = Journal(db, SystemClock(), lease, fence)
        run_ = journal.start("m", "update", {})
        started = time.perf_counter()
        for at in range(_N_STEPS):
            journal.step(run_, f"step {at}", {"at": at}, dict)
        step_ms = (time.perf_counter() - started) / _N_STEPS * 1000
    db.close()
    return step_ms


if __name__ == "__main__":
    main()
