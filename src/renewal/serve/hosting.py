"""A native version in a process of its own: what it breaks there, it does not break here.

The process opens the store, loads the version and predicts; the server sends rows and gets
scores. A version that crashes fails the requests that were in it and is started again; one that
hangs is killed; one that leaks is let go with its memory.
"""

from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.core.version import Manifest
from renewal.engine.share import CORES
from renewal.models.task import Scores
from renewal.serve import host_errors as errors
from renewal.serve import host_wire as wire
from renewal.serve.features import is_all_floats
from renewal.serve.host_child import Order
from renewal.serve.host_tender import HostLimits, Tender, error_of
from renewal.store.contract import Store

_OWN_ENVIRONMENT = "RENEWAL_"
_DEFAULT = HostLimits()
# A GPU that has refused one kernel refuses all that come after it from the same process.
_SPENT = "device"


def hosted_runtime(
    manifest: Manifest,
    store: Store,
    trust: tuple[str, ...] = (),
    *,
    name: str = "a version",
    limits: HostLimits = _DEFAULT,
) -> HostedRuntime:
    """Load a version in a process of its own and return what predicts with it; close it when done.

    The sibling of `renewal.models.load.load_runtime`: equal scores, equal errors.

    Parameters
    ----------
    manifest, store, trust
        As for `load_runtime`; the store pickles.
    name : str, default "a version"
        Of the version, such as ``v3``: for messages and the process list.
    limits : HostLimits
        What the process may take.

    Raises
    ------
    Invalid, Refused, NotFound, Corrupt, Missing
        As `load_runtime` raises them.
    Failed
        When loading raised something else, or ended the process.
    Unavailable
        When no process can be started, memory ran out, or loading took too long.

    Notes
    -----
    The first takes a second or two: the libraries are loaded, once for all versions of this
    process. Each further one takes what its own bytes take, and some 20 ms.
    """
    runtime = HostedRuntime(manifest, store, trust, name=name, limits=limits)
    runtime.start()
    return runtime


class HostedRuntime:
    """A version that is loaded in another process; `predict` may be called by several threads.

    One prediction runs at a time; the others wait for it.

    Parameters
    ----------
    manifest, store, trust, name, limits
        As for `hosted_runtime`.

    Attributes
    ----------
    takes_matrix : bool
        Whether rows may come as a matrix: every column is a float.
    pool : Executor
        A thread for who would not wait: in one of several versions' a process that hangs
        would hold up the others.

    Raises
    ------
    Invalid
        When the store does not pickle.
    """

    def __init__(
        self,
        manifest: Manifest,
        store: Store,
        trust: tuple[str, ...] = (),
        *,
        name: str = "a version",
        limits: HostLimits = _DEFAULT,
    ) -> None:
        self.takes_matrix = is_all_floats(manifest.signature)
        self._who = f"{name} of model {manifest.model!r}"
        self._limits = limits
        self._names = list(manifest.signature.names)
        own = {key: text for key, text in os.environ.items() if key.startswith(_OWN_ENVIRONMENT)}
        own.pop(CORES, None)
        order = Order(manifest, store, trust, self._who, name, own)
        _demand_pickles(order)
        self.pool = ThreadPoolExecutor(1, thread_name_prefix=f"renewal-predict {name}")
        self._tender = Tender(order, limits)

    def start(self) -> None:
        """Start the process and wait until the version is loaded; to be called once.

        Raises
        ------
        RenewalError
            As `hosted_runtime`; nothing is left behind then.
        """
        self._tender.start()

    def predict(self, features: pa.Table, timeout_s: float | None = None) -> Scores:
        """Return scores for every row of `features`.

        Parameters
        ----------
        features : pyarrow.Table
            The columns of the signature in any order; further columns are ignored.
        timeout_s : float or None, seconds
            A process that takes longer is killed; None: as the limits say.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_scores)
            As a runtime in this process would return them.

        Raises
        ------
        Invalid
            On a missing column, or rows that the estimator does not take.
        Failed
            When the version raised something else, or its process died too often.
        Unavailable
            When its process died or was killed under the prediction, is being started again,
            or was closed.
        """
        names = features.column_names
        if names != self._names and set(self._names).issubset(names):
            features = features.select(self._names)  # what nobody reads does not travel
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, features.schema) as stream:
            stream.write_table(features)
        body = memoryview(sink.getvalue())
        return self._asked((wire.TABLE, len(body), 0, body), timeout_s)

    def predict_matrix(self, values: NDArray[np.float64], timeout_s: float | None = None) -> Scores:
        """Return the scores of rows that are a matrix; its table is made in the other process.

        Parameters
        ----------
        values : float64 array, shape (n_rows, n_columns)
            The columns of the signature, in order; a gap is NaN.
        timeout_s : float or None, seconds
            As for `predict`.

        Raises
        ------
        Invalid
            Where a column is no float (`takes_matrix`), or the shape is another.
        RenewalError
            As `predict`.
        """
        if not self.takes_matrix or values.shape[1:] != (len(self._names),):
            raise Invalid(
                "HostedRuntime.predict_matrix",
                needs=f"a matrix of {len(self._names)} columns, in the signature all floats",
                came=f"one of shape {values.shape}",
                todo="Hand in the columns of the signature in order, or a table: predict.",
            )
        n_rows, n_columns = values.shape
        body = wire.bytes_of(values.astype(np.float64, copy=False))
        return self._asked((wire.MATRIX, n_rows, n_columns, body), timeout_s)

    def stats(self) -> dict[str, Any]:
        """Return the state of the process.

        Returns
        -------
        dict
            ``state`` (starting, up, waiting, given up, closed), ``pid`` and ``rss_bytes`` (None
            while there is no process; what is shared with other processes counts),
            ``n_restarts``, and ``last_end``: how the last one died.
        """
        return self._tender.stats()

    def close(self) -> None:
        """Have the process ended: after the prediction that runs, by force where that goes on.

        Returns at once, so that whoever lets go of a version last has not to wait for it; see
        `wait_gone`. Closing twice is free of harm.
        """
        if self._tender.close():
            self.pool.shutdown(wait=False)
            ending = threading.Thread(target=self._tender.end, name="renewal-host-end", daemon=True)
            ending.start()

    @property
    def is_gone(self) -> bool:
        """Whether it was closed, and its process and its memory are gone."""
        return self._tender.wait_gone(0.0)

    def wait_gone(self, timeout_s: float = 30.0) -> bool:
        """Wait, after `close`, until the process and its memory are gone; False: not in time."""
        return self._tender.wait_gone(timeout_s)

    def _asked(self, asked: wire.Message, timeout_s: float | None) -> Scores:
        tender = self._tender
        limit_s = self._limits.predict_s if timeout_s is None else timeout_s
        due_s = monotonic() + limit_s
        hand = tender.up()
        if not tender.talking.acquire(timeout=limit_s):
            raise errors.queued_too_long(self._who, limit_s)
        error = None
        try:
            came = None
            if tender.is_up(hand):
                wire.send(hand.line, asked, due_s)
                came = wire.receive(hand.line, due_s)
            if came is not None and came[0] != wire.SCORES:
                error = error_of(came[3], self._who)
                if error.fields.get("reason") == _SPENT:
                    tender.kill(hand, f"one whose GPU refused its work: {error.came}")
        except TimeoutError:
            tender.kill(hand, f"one that was killed: a prediction took more than {limit_s:g} s")
            raise errors.hung(self._who, limit_s) from None
        except OSError:  # it is dead, or was closed
            came = None
        finally:
            tender.talking.release()
        if error is not None:
            raise error
        if came is None:
            raise tender.lost(hand)
        _, n_rows, n_scores, body = came
        return wire.matrix_of(body, n_rows, n_scores)


def _demand_pickles(order: Order) -> None:
    try:
        pickle.dumps(order)
    except Exception as error:
        raise Invalid(
            order.who,
            needs="a store that another process can open: one that pickles",
            came=f"{type(error).__name__}: {error}",
            todo="Use a LocalStore, or serve native versions in threads: native = 'thread'.",
        ) from error
