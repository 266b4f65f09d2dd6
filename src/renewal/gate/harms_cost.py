"""Harms that are measured on the machine: latency beside the champion's, bytes, memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from renewal.evaluate.cost import Cost, latency_ratio
from renewal.gate.harms_labels import Both
from renewal.gate.options import Guards
from renewal.gate.vetoes import Harm, failure


def latency_harms(costs: Mapping[str, Cost], both: Both, guards: Guards) -> Iterator[Harm]:
    """Yield the harm of slower answers, at batch 1 and 64."""
    if not costs or not guards.needs_cost:
        return
    before, after = (costs[each.version_id] for each in both)
    if after.failed is not None:
        yield failure("latency", f"a call of the candidate fails: {after.failed}", 1)
        return
    n_calls = len(after.single_ms)
    if guards.max_latency_ratio is not None:
        for is_batch, batch in ((False, 1), (True, 64)):
            ratio = latency_ratio(before, after, is_batch=is_batch)
            yield Harm(
                name=f"latency p99 at batch {batch}",
                value=ratio.value,
                lower=ratio.lower(guards.alpha),
                upper=math.nan,
                bound=guards.max_latency_ratio,
                p_value=ratio.p_value(guards.max_latency_ratio),
                n_rows=len(after.batch_ms) * batch if is_batch else n_calls,
                n_blocks=len(after.batch_ms) if is_batch else n_calls,
                n_effective=float(len(after.batch_ms) if is_batch else n_calls),
                method="order statistics of calls",
                told=math.isfinite(ratio.value),
                words=f"the 99th percentile of latency at batch {batch}, over the champion's, is",
                n_digits=2,
                is_change=False,
            )
    if guards.max_latency_ms is not None:
        yield _measured(
            "latency",
            "the 99th percentile of latency at batch 1 is, in ms,",
            after.latency_ms_p99_1,
            guards.max_latency_ms,
            n_calls,
        )


def size_harms(costs: Mapping[str, Cost], both: Both, guards: Guards) -> Iterator[Harm]:
    """Yield the harm of a version that is too large to store or to load."""
    cost = costs.get(both[1].version_id)
    if cost is None:
        return
    if guards.max_bytes is not None and cost.artifact_bytes is not None:
        yield _measured(
            "size", "the stored version has, in bytes,", cost.artifact_bytes, guards.max_bytes, 1
        )
    if guards.max_memory_bytes is not None and cost.memory_bytes is not None:
        yield _measured(
            "memory", "loading it takes, in bytes,", cost.memory_bytes, guards.max_memory_bytes, 1
        )


def _measured(name: str, words: str, value: float, bound: float, n: int) -> Harm:
    """Return a harm that is measured and not estimated: its bounds are itself."""
    return Harm(
        name=name,
        value=value,
        lower=value,
        upper=value,
        bound=bound,
        p_value=0.0 if value > bound else 1.0,
        n_rows=n,
        n_blocks=n,
        n_effective=float(n),
        method="measured",
        told=True,
        words=words,
        n_digits=0 if value >= 100 else 2,
        is_change=False,
    )
