"""What a version costs to run: latency beside the other version's, memory, bytes."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.models.contract import Runtime
from renewal.stats.checked import check_share

Floats = NDArray[np.float64]

BATCH = 64
_WARM_UP = 10
_PROGRAM = "renewal.evaluate.memory_child"
_LONGEST_LAST_WORDS = 500


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """What running one version costs.

    Parameters
    ----------
    single_ms, batch_ms : float64 arrays, shape (n_calls,), milliseconds
        How long each call with 1 row, and with 64 rows, took, in the order of the calls.
    artifact_bytes : int or None
        Size of the stored version, where it was given.
    memory_bytes : int or None
        What loading it adds to a process (`memory_of`), where it was measured.
    failed : str or None, default None
        What its first failing call raised; calls end there.
    """

    single_ms: Floats
    batch_ms: Floats
    artifact_bytes: int | None = None
    memory_bytes: int | None = None
    failed: str | None = None

    @property
    def latency_ms_p50_1(self) -> float:
        """Median time of a call with one row; NaN without calls."""
        return _quantile(self.single_ms, 0.5)

    @property
    def latency_ms_p99_1(self) -> float:
        """Time of one row that 99 of 100 calls keep; NaN without calls."""
        return _quantile(self.single_ms, 0.99)

    @property
    def latency_ms_p50_64(self) -> float:
        """Median time of a call with 64 rows; NaN without calls."""
        return _quantile(self.batch_ms, 0.5)

    @property
    def latency_ms_p99_64(self) -> float:
        """Time of 64 rows that 99 of 100 calls keep; NaN without calls."""
        return _quantile(self.batch_ms, 0.99)


@dataclass(frozen=True, slots=True, eq=False)
class LatencyRatio:
    r"""The candidate's latency quantile over the baseline's, with what the calls can show.

    Order statistics bound a quantile without any assumption on the shape of latencies: the
    k-th smallest of n calls lies above the q-quantile with chance :math:`P(B < k)`, and below
    it with :math:`P(B \ge k)`, where *B* is binomial (n, q). Each of the two versions may err
    with half of `alpha`.

    Parameters
    ----------
    baseline_ms, candidate_ms : float64 arrays, milliseconds
        Times of the calls of each, ascending.
    quantile : float in (0, 1)
        Which.

    Notes
    -----
    Showing anything about p99 at level alpha takes :math:`\ln(\alpha/2) / \ln 0.99` calls:
    368 at 5%, 528 at 1%. Below, the bound is 0 and nothing is shown. Calls are taken as
    independent: a machine that stalls for a while stalls both versions, since their calls
    take turns.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> times = np.sort(rng.gamma(20.0, size=(2, 700)), axis=1)
    >>> ratio = LatencyRatio(times[0], 1.5 * times[1], quantile=0.99)
    >>> ratio.lower(0.05) > 1.1, ratio.p_value(1.1) < 0.05, ratio.p_value(1.6) < 0.05
    (True, True, False)

    References
    ----------
    .. [1] David and Nagaraja (2003). Order statistics, 3rd edition, section 7.1.
    """

    baseline_ms: Floats
    candidate_ms: Floats
    quantile: float

    @property
    def value(self) -> float:
        """The observed ratio; NaN without calls."""
        below = _quantile(self.baseline_ms, self.quantile)
        return _quantile(self.candidate_ms, self.quantile) / below if below > 0.0 else math.nan

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower bound of the ratio; 0 where the calls are too few."""
        check_share(alpha, who="LatencyRatio.lower", name="alpha")
        early, late = self._errors()
        lows, highs = np.flatnonzero(early <= alpha / 2.0), np.flatnonzero(late <= alpha / 2.0)
        if len(lows) == 0 or len(highs) == 0:
            return 0.0
        return float(self.candidate_ms[lows[-1]] / self.baseline_ms[highs[0]])

    def p_value(self, limit: float) -> float:
        """Return the one-sided p-value of "the ratio is at most `limit`"."""
        early, late = self._errors()
        if len(early) == 0 or len(late) == 0:
            return 1.0
        # The last call of the baseline that is still `limit` times faster than each call of
        # the candidate: together they claim the ratio, and err at most as below.
        place = np.searchsorted(limit * self.baseline_ms, self.candidate_ms, side="left") - 1
        errors = np.where(place >= 0, np.maximum(early, late[np.maximum(place, 0)]), 1.0)
        return min(1.0, 2.0 * float(errors.min()))

    def _errors(self) -> tuple[Floats, Floats]:
        """Chance that each call of the candidate is above, and of the baseline below."""
        _at_least, below = _tails(len(self.candidate_ms), self.quantile)
        at_least, _below = _tails(len(self.baseline_ms), self.quantile)
        return below, at_least


def latency_ratio(
    baseline: Cost, candidate: Cost, *, quantile: float = 0.99, is_batch: bool = False
) -> LatencyRatio:
    """Return how much slower the candidate answers, at one quantile of its calls.

    Parameters
    ----------
    baseline, candidate : Cost
        Of one `measure_costs`, where their calls took turns.
    quantile : float in (0, 1), default 0.99
        Of the times of calls.
    is_batch : bool, default False
        Calls of 64 rows instead of one.

    Examples
    --------
    >>> slow = Cost(single_ms=np.full(400, 2.0), batch_ms=np.full(60, 8.0))
    >>> fast = Cost(single_ms=np.full(400, 1.0), batch_ms=np.full(60, 8.0))
    >>> latency_ratio(fast, slow).lower(0.05), latency_ratio(fast, slow, is_batch=True).value
    (2.0, 1.0)
    """
    check_share(quantile, who="latency_ratio", name="quantile")
    both = [each.batch_ms if is_batch else each.single_ms for each in (baseline, candidate)]
    return LatencyRatio(np.sort(both[0]), np.sort(both[1]), quantile)


def measure_costs(
    runtimes: Mapping[str, Runtime],
    features: pa.Table,
    *,
    n_single: int = 700,
    n_batch: int = 60,
    limit_s: float = 20.0,
    seed: int = 0,
    artifact_bytes: Mapping[str, int] | None = None,
    memory_bytes: Mapping[str, int] | None = None,
) -> dict[str, Cost]:
    """Time several versions on the same rows, their calls taking turns in random order.

    Noise of the machine then hits all alike. Each call gets other rows than the one before,
    sliced before the clock starts, so that no version lives from a warm cache.

    Parameters
    ----------
    runtimes : mapping of str to Runtime
        Loaded versions by id.
    features : pyarrow.Table
        Rows to draw from; fewer than 64 are drawn with repetition.
    n_single, n_batch : int >= 0, default 700 and 60
        Calls with 1 row and with 64 rows of each version, after 10 that do not count.
    limit_s : float > 0, seconds, default 20
        When it is over, no further round of calls begins; at least one round counts.
    seed : int, default 0
        Of rows and order.
    artifact_bytes, memory_bytes : mapping of str to int, default none
        Carried into the records.

    Returns
    -------
    dict of str to Cost
        By id. A version that raises has `Cost.failed`, and the others go on; no rows give no
        calls, and NaN.

    Notes
    -----
    Time: about ``len(runtimes) * (n_single + n_batch)`` calls, 1 to 3 s for two pipelines of
    scikit-learn. Holds the caller's thread.

    Examples
    --------
    >>> class Constant:
    ...     def predict(self, features):
    ...         return np.zeros((features.num_rows, 1))
    ...     def close(self):
    ...         pass
    >>> found = measure_costs({"a": Constant()}, pa.table({"x": [1.0, 2.0]}), n_single=20)
    >>> len(found["a"].single_ms), len(found["a"].batch_ms), found["a"].latency_ms_p50_1 < 5
    (20, 60, True)
    """
    rng = np.random.default_rng(seed)
    until = time.perf_counter() + limit_s
    failed: dict[str, str] = {}
    # Small calls first; the large ones get what is left of the time.
    times = [
        _timed(runtimes, features, size, n_calls, rng=rng, until=until, failed=failed)
        for size, n_calls in ((1, n_single), (BATCH, n_batch))
    ]
    return {
        name: Cost(
            single_ms=np.array(times[0][name]),
            batch_ms=np.array(times[1][name]),
            artifact_bytes=(artifact_bytes or {}).get(name),
            memory_bytes=(memory_bytes or {}).get(name),
            failed=failed.get(name),
        )
        for name in runtimes
    }


@dataclass(frozen=True, slots=True)
class Memory:
    """What loading a version added to a fresh process.

    Parameters
    ----------
    n_bytes : int or None
        Resident growth, libraries that loading imports included; None where it failed.
    failed : str or None
        Why there is no number: what loading raised, that it took too long or that its
        process ended.
    """

    n_bytes: int | None
    failed: str | None


def memory_of(load: Callable[[], Any], *, limit_s: float = 60.0) -> Memory:
    """Load a version in a fresh child process and measure by how much it grows.

    Parameters
    ----------
    load : callable without arguments
        Returns what is to stay in memory. It is pickled: a function of a module or a
        `functools.partial` of one, no lambda.
    limit_s : float > 0, seconds, default 60
        The child is killed after that.

    Returns
    -------
    Memory
        A failure is a result; nothing is raised.

    Notes
    -----
    0.2 s for the start of a Python process, and what loading takes, its imports included: 2 s
    with scikit-learn. Modules that the callable itself needs are imported before the count
    begins, the framework's when the version is loaded. On Linux resident pages are counted,
    elsewhere their peak.

    Examples
    --------
    >>> from functools import partial
    >>> memory_of(partial(int, "no number")).failed
    "ValueError: invalid literal for int() with base 10: 'no number'"
    """
    # Modules that this process can import, the child can too.
    paths = os.pathsep.join(path or os.curdir for path in sys.path)
    try:
        done = subprocess.run(  # noqa: S603  # this Python and a module of this package
            [sys.executable, "-m", _PROGRAM],
            input=pickle.dumps(load),
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Memory(None, f"it was not loaded after {limit_s:g} s")
    except Exception as error:  # noqa: BLE001  # pickling a stranger's callable may raise anything
        return Memory(None, f"{type(error).__name__}: {error}")
    if done.returncode != 0 or not done.stdout:
        last = " ".join(done.stderr.decode(errors="replace").split())[-_LONGEST_LAST_WORDS:]
        return Memory(None, f"its process ended with status {done.returncode}: {last}")
    told = json.loads(done.stdout)
    return Memory(told.get("n_bytes"), told.get("failed"))


def _quantile(times_ms: Floats, share: float) -> float:
    return float(np.quantile(times_ms, share)) if len(times_ms) else math.nan


def _tails(n: int, share: float) -> tuple[Floats, Floats]:
    """Return P(B >= k) and P(B < k) of a binomial (n, share) B, for k from 1 to n."""
    k = np.arange(n + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    log_ways = log_factorial[n] - log_factorial - log_factorial[::-1]
    chance = np.exp(log_ways + k * math.log(share) + (n - k) * math.log1p(-share))
    return np.cumsum(chance[::-1])[::-1][1:], np.cumsum(chance)[:-1]


def _timed(
    runtimes: Mapping[str, Runtime],
    features: pa.Table,
    size: int,
    n_calls: int,
    *,
    rng: np.random.Generator,
    until: float,
    failed: dict[str, str],
) -> dict[str, list[float]]:
    """Return the times of each version's calls; write down in `failed` what they raise."""
    times: dict[str, list[float]] = {name: [] for name in runtimes}
    if features.num_rows == 0 or n_calls == 0:
        return times
    for call in range(-_WARM_UP, n_calls):
        if call != 0 and time.perf_counter() > until:
            if call > 0:
                break
            continue  # no time to warm up; one round counts all the same
        few = features.num_rows < size
        rows = rng.choice(features.num_rows, size=size, replace=few) if size > 1 else None
        at = rng.integers(features.num_rows)
        piece = features.slice(at, 1) if rows is None else features.take(pa.array(rows))
        for place in rng.permutation(len(runtimes)):
            name = list(runtimes)[place]
            if name in failed:
                continue
            began = time.perf_counter()
            try:
                runtimes[name].predict(piece)
            except Exception as error:  # noqa: BLE001  # the plug-in border: a version may raise anything
                failed[name] = f"{type(error).__name__}: {error}"
                continue
            if call >= 0:
                times[name].append(1000.0 * (time.perf_counter() - began))
    return times
