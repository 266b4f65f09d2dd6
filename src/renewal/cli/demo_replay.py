"""Replaying a year as requests over HTTP, in the order of events, labels delayed."""

from __future__ import annotations

import heapq
import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pyarrow as pa

from renewal.core.clock import ReplayClock, from_us
from renewal.core.errors import RenewalError

_TYPES = {"int64": "INT64", "double": "FP64", "bool": "BOOL"}
_DAY_US = 86_400_000_000
_CONNECTIONS = 2


@dataclass(frozen=True, slots=True)
class Traffic:
    """The rows of a model in event order, ready to be sent.

    Parameters
    ----------
    features : pyarrow.Table
        The inputs of the model.
    key : list of str
        One a row.
    event_us, label_us : int64 arrays
        Event time, and when the label arrives; microseconds since 1970.
    label : float64 array
        NaN where it never comes.
    """

    features: pa.Table
    key: list[str]
    event_us: np.ndarray
    label_us: np.ndarray
    label: np.ndarray


class RequestFailed(RenewalError):
    """A request of the replay was not answered with 200."""


class Replay:
    """Sends traffic to a server, day by day, and its labels when they are due.

    Parameters
    ----------
    url : str
        Of the server.
    model : str
        Its name there.
    traffic : Traffic
        What is sent.
    clock : ReplayClock
        Moved to the event time of each batch before it is sent.
    batch_rows : int, default 250
        Rows a request at most.

    Notes
    -----
    `n_requests`, `n_failed` and `n_rows` count what was sent. A failed request is counted
    and never sent again: the client has no retries.
    """

    def __init__(
        self, url: str, model: str, traffic: Traffic, clock: ReplayClock, batch_rows: int = 250
    ) -> None:
        self.n_requests = 0
        self.n_failed = 0
        self.n_rows = 0
        self.n_labels = 0
        self._traffic = traffic
        self._clock = clock
        self._batch_rows = batch_rows
        self._infer = f"/v2/models/{model}/infer"
        self._feedback = f"/v2/models/{model}/feedback"
        self._due: list[tuple[int, str, float]] = []
        parts = urlsplit(url)
        self._idle: SimpleQueue[http.client.HTTPConnection] = SimpleQueue()
        for _ in range(_CONNECTIONS):
            self._idle.put(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60))
        self._pool = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="client")

    def days(self, from_us_: int, until_us: int) -> Iterator[int]:
        """Send every day's requests and due labels; yield the end of the day, microseconds."""
        for start in range(from_us_, until_us, _DAY_US):
            end = start + _DAY_US
            first, last = np.searchsorted(self._traffic.event_us, [start, end])
            self._send_rows(int(first), int(last))
            self._clock.move_to(from_us(end))
            self._send_labels(end)
            yield end

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown()
        while not self._idle.empty():
            self._idle.get().close()

    def _send_rows(self, first: int, last: int) -> None:
        """Send one day's rows; batches overlap on the connections of the client."""
        pending = []
        for start in range(first, last, self._batch_rows):
            stop = min(start + self._batch_rows, last)
            self._clock.move_to(
                max(from_us(int(self._traffic.event_us[stop - 1])), self._clock.now())
            )
            pending.append((start, stop, self._pool.submit(self._ask, start, stop)))
            if len(pending) >= _CONNECTIONS:
                self._collect(*pending.pop(0))
        for each in pending:
            self._collect(*each)

    def _collect(self, start: int, stop: int, answer: Any) -> None:
        status, body = answer.result()
        self.n_requests += 1
        self.n_rows += stop - start
        if status != http.client.OK:
            self.n_failed += 1
            return
        request = json.loads(body)["parameters"]["prediction_id"]
        for at in range(start, stop):
            if not np.isnan(self._traffic.label[at]):
                row = (
                    int(self._traffic.label_us[at]),
                    f"{request}-{at - start}",
                    float(self._traffic.label[at]),
                )
                heapq.heappush(self._due, row)

    def _ask(self, start: int, stop: int) -> tuple[int, bytes]:
        part = self._traffic.features.slice(start, stop - start)
        body = {
            "inputs": [
                {
                    "name": name,
                    "shape": [part.num_rows],
                    "datatype": _TYPES.get(str(part.schema.field(name).type), "BYTES"),
                    "data": part[name].to_pylist(),
                }
                for name in part.column_names
            ],
            "parameters": {
                "key": self._traffic.key[start:stop],
                "event_time": self._traffic.event_us[start:stop].tolist(),
            },
        }
        return self._post(self._infer, msgspec.json.encode(body))

    def _send_labels(self, until_us: int) -> None:
        """Send every label that has arrived by now, by prediction id."""
        due = []
        while self._due and self._due[0][0] <= until_us:
            at_us, prediction_id, value = heapq.heappop(self._due)
            due.append(
                {
                    "prediction_id": prediction_id,
                    "label": int(value),
                    "arrived_at": from_us(at_us).isoformat(),
                }
            )
        if not due:
            return
        status, body = self._post(self._feedback, msgspec.json.encode({"labels": due}))
        if status != http.client.OK:
            raise RequestFailed(
                "the replay",
                needs="its labels to be taken",
                came=f"{status} {body[:200]!r}",
                todo="See the server's log.",
            )
        self.n_labels += len(due)

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Post once; a connection that broke counts as a failed request."""
        connection = self._idle.get()
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return 0, b""
        finally:
            self._idle.put(connection)
