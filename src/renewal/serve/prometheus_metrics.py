"""Metrics for Prometheus: the state and counts of all workers, turned into families at a scrape.

Whichever worker is asked answers for the whole server. The counts of workers that are gone go on
counting, so that no counter goes back before the server stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version as package_version

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import (
    CONTENT_TYPE_PLAIN_0_0_4,
    choose_encoder,
    generate_latest,
)
from prometheus_client.registry import Collector

from renewal.serve.counters import SECONDS, SWAP_SECONDS
from renewal.serve.reporter import BATCH_ROWS
from renewal.serve.status import Counts, Ended, Labels, ModelStatus, WorkerStatus, added

_OF_ROWS = ("model", "version", "arm")
_OF_VERSION = ("model", "version")
_OF_MODEL = ("model",)
_Family = tuple[str, str, str, tuple[str, ...]]

# Family of counts, name, help, labels.
_COUNTERS: tuple[_Family, ...] = (
    (
        "replies",
        "renewal_requests",
        "Replies by model, version, arm, protocol and status; protocol `page` is no prediction.",
        ("model", "version", "arm", "protocol", "status"),
    ),
    ("rows", "renewal_rows", "Rows that were answered.", _OF_ROWS),
    ("failed_rows", "renewal_failed_rows", "Rows on which a version failed.", _OF_ROWS),
    ("gone", "renewal_clients_gone", "Clients that left before their request was complete.", ()),
    ("failed_swaps", "renewal_swap_failed", "Plans that could not be followed.", _OF_MODEL),
    ("log_rows", "renewal_log_rows_written", "Rows of the prediction log on disk.", ()),
    ("log_rows_dropped", "renewal_log_rows_dropped", "Rows lost to the prediction log.", ()),
    ("log_rows_sampled_out", "renewal_log_rows_sampled_out", "Rows left out by log_sample.", ()),
    ("log_entries_left_out", "renewal_log_entries_left_out", "Requests no row can hold.", ()),
    ("log_writes_failed", "renewal_log_writes_failed", "Writes of the log that failed.", ()),
    ("shadow_rows", "renewal_shadow_rows_scored", "Rows scored by a shadow.", _OF_VERSION),
    ("failed_shadow_rows", "renewal_shadow_rows_failed", "Rows a shadow failed on.", _OF_VERSION),
    ("shadow_rows_dropped", "renewal_shadow_rows_dropped", "Rows no shadow had time for.", ()),
    ("labels", "renewal_feedback_labels", "Labels that came by feedback.", _OF_MODEL),
    ("cpu_seconds", "process_cpu_seconds", "Processor time of all workers, in seconds.", ()),
)
_HISTOGRAMS: tuple[tuple[_Family, Sequence[float]], ...] = (
    (
        (
            "request_seconds",
            "renewal_request_seconds",
            "From a request's last byte to its answer; `mixed` where several arms answered.",
            _OF_ROWS,
        ),
        SECONDS,
    ),
    (
        ("batch_rows", "renewal_batch_rows", "Rows that were predicted together.", _OF_VERSION),
        BATCH_ROWS,
    ),
    (
        ("swap_seconds", "renewal_swap_seconds", "From a new plan to its flip.", _OF_MODEL),
        SWAP_SECONDS,
    ),
)
# Gauge of a worker, name, help: added up over the workers.
_GAUGES: tuple[tuple[str, str, str], ...] = (
    ("open_requests", "renewal_open_requests", "Requests that are not answered yet."),
    ("log_rows_waiting", "renewal_log_rows_waiting", "Rows that wait for the log's disk."),
    ("shadow_rows_waiting", "renewal_shadow_rows_waiting", "Rows that wait for a shadow."),
    ("memory_bytes", "process_resident_memory_bytes", "Resident memory of all workers."),
    ("open_fds", "process_open_fds", "Open file descriptors of all workers."),
)


def exposition(accept: str, workers: Sequence[WorkerStatus], ended: Ended) -> tuple[bytes, bytes]:
    """Return the metrics of a server and their content type.

    Parameters
    ----------
    accept : str
        Header of the request: the text form of Prometheus, or OpenMetrics where it is asked for.
    workers : sequence of WorkerStatus
        All that live.
    ended : Ended
        Counts of those that are gone.

    Examples
    --------
    >>> body, kind = exposition("", [WorkerStatus(0, 1, 0.0, 0.0)], Ended())
    >>> [line for line in body.decode().splitlines() if line.startswith("renewal_worker_ready")]
    ['renewal_worker_ready{worker="0"} 0.0']
    >>> kind.decode()
    'text/plain; version=0.0.4; charset=utf-8'
    """
    encode: Callable[[Collector], bytes]
    try:
        encode, kind = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no version
        encode, kind = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
    return encode(_OfServer(workers, ended)), kind.encode()


class _OfServer(Collector):
    """Makes families of the states of workers, when it is asked."""

    def __init__(self, workers: Sequence[WorkerStatus], ended: Ended) -> None:
        self._workers = workers
        self._counts = added([ended.counts, *(each.counts for each in workers)])

    def collect(self) -> Iterator[Metric]:
        yield _gauge("renewal_build_info", "The release that runs.", ("version",), _build())
        yield from self._counters()
        for (family, name, text, labels), bounds in _HISTOGRAMS:
            yield _histogram(name, text, labels, bounds, self._series(family))
        for gauge, name, text in _GAUGES:
            yield GaugeMetricFamily(
                name, text, value=sum(each.gauges.get(gauge, 0.0) for each in self._workers)
            )
        yield from _of_workers(self._workers)
        yield from _of_models(self._workers)

    def _counters(self) -> Iterator[Metric]:
        for family, name, text, labels in _COUNTERS:
            yield _counter(name, text, labels, self._series(family))
        swaps = [(key, [sum(values[:-1])]) for key, values in self._series("swap_seconds")]
        yield _counter("renewal_swap", "Plans that were put in place.", _OF_MODEL, swaps)

    def _series(self, family: str) -> list[tuple[Labels, list[float]]]:
        """Return the counts of a family; a model that no worker knows is no label."""
        known = {model for each in self._workers for model in each.models}
        series = [
            (("", *labels[1:]) if labels and labels[0] not in known else labels, values)
            for labels, values in self._counts.get(family, [])
        ]
        found: Counts = added([{family: series}])
        return found[family]


def _of_workers(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    of_worker = ("worker",)

    def each(name: str, text: str, value: Callable[[WorkerStatus], float]) -> Metric:
        found = [((str(worker.worker),), value(worker)) for worker in workers]
        return _gauge(name, text, of_worker, found)

    yield each("renewal_worker_ready", "Whether a worker takes requests.", lambda w: w.is_ready)
    yield each(
        "renewal_worker_start_time_seconds",
        "When a worker started, in seconds since 1970.",
        lambda w: w.started_at,
    )
    yield each(
        "renewal_worker_resident_memory_bytes",
        "Resident memory of a worker.",
        lambda w: w.gauges.get("memory_bytes", 0.0),
    )
    yield GaugeMetricFamily(
        "process_start_time_seconds",
        "When the oldest worker started, in seconds since 1970.",
        value=min((worker.started_at for worker in workers), default=0.0),
    )


def _of_models(workers: Sequence[WorkerStatus]) -> Iterator[Metric]:
    newest: dict[str, ModelStatus] = {}
    seqs: list[tuple[Labels, float]] = []
    failing: dict[Labels, float] = {}
    queues: dict[Labels, float] = {}
    for worker in workers:
        for name, model in worker.models.items():
            seqs.append(((name, str(worker.worker)), model.plan_seq))
            failing[name,] = max(failing.get((name,), 0.0), float(bool(model.failure)))
            for version, n_rows in model.queue_rows.items():
                queues[name, version] = queues.get((name, version), 0.0) + n_rows
            if name not in newest or newest[name].plan_seq < model.plan_seq:
                newest[name] = model
    weights = [
        ((name, each.arm, each.version), each.weight)
        for name, model in newest.items()
        for each in model.arms
    ]
    yield _gauge(
        "renewal_plan_seq",
        "Number of the plan that a worker follows; -1: none.",
        ("model", "worker"),
        seqs,
    )
    text = "Share of the traffic of an arm, by the newest plan; a shadow has 0."
    yield _gauge("renewal_plan_weight", text, ("model", "arm", "version"), weights)
    yield _gauge("renewal_queue_rows", "Rows that wait.", _OF_VERSION, queues.items())
    text = "Whether a worker cannot follow the newest plan."
    yield _gauge("renewal_model_failing", text, _OF_MODEL, failing.items())


def _gauge(
    name: str, text: str, labels: Sequence[str], series: Iterable[tuple[Labels, float]]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in series:
        family.add_metric(key, float(value))
    return family


def _counter(
    name: str,
    text: str,
    labels: Sequence[str],
    series: Iterable[tuple[Labels, list[float]]],
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, values in series:
        family.add_metric(key, values[0])
    return family


def _histogram(
    name: str,
    text: str,
    labels: Sequence[str],
    bounds: Sequence[float],
    series: Iterable[tuple[Labels, list[float]]],
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    ends = [*(str(float(each)) for each in bounds), "+Inf"]
    for key, values in series:
        n_below = 0.0
        buckets: list[tuple[str, float]] = []
        for end, n in zip(ends, values[:-1], strict=True):
            n_below += n
            buckets.append((end, n_below))
        family.add_metric(key, buckets, values[-1])
    return family


def _build() -> list[tuple[Labels, float]]:
    return [((package_version("renewal"),), 1.0)]
