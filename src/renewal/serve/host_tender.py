"""Who tends the process of a version: starts it, sees it die, starts it again, ends it."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from renewal.core.errors import Failed, RenewalError
from renewal.engine import line as lines
from renewal.engine.crew import Hand
from renewal.engine.packing import unpack_end
from renewal.serve import host_errors as errors
from renewal.serve import host_wire as wire
from renewal.serve.host_child import Order, Ready
from renewal.serve.host_nursery import NURSERY

_LOG = logging.getLogger("renewal.serve")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# How long a process that was killed may take to be gone.
_GONE_S = 10.0
_LONGEST_PAUSE_S = 10.0

State = Literal["starting", "up", "waiting", "given up", "closed"]
_COMING = {"starting", "waiting"}


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What the process of a version may take.

    Parameters
    ----------
    predict_s : float, seconds, default 60
        A prediction that takes longer hangs: its process is killed and started again.
    load_s : float, seconds, default 300
        How long loading may take.
    close_s : float, seconds, default 5
        How long closing waits for the prediction that runs.
    end_s : float, seconds, default 2
        How long a process that was let go may take to end by itself before it is killed.
    patience_s : float, seconds, default 1
        How long a prediction waits for a process that is being started again.
    restarts : int >= 0, default 5
        How often it is started again within `window_s`; then it is given up until the first of
        its deaths is as long ago.
    window_s : float, seconds, default 60
        See `restarts`.
    first_pause_s : float, seconds, default 0.5
        Before the second start again within `window_s`; doubled for each further one, up to
        10 s. The first is at once.
    """

    predict_s: float = 60.0
    load_s: float = 300.0
    close_s: float = 5.0
    end_s: float = 2.0
    patience_s: float = 1.0
    restarts: int = 5
    window_s: float = 60.0
    first_pause_s: float = 0.5

    def pause_s(self, deaths: deque[float], now_s: float) -> tuple[float, bool]:
        """Return how long to wait after some deaths, and whether that is giving up.

        Parameters
        ----------
        deaths : deque of float, seconds
            When; those outside the window are taken out.
        now_s : float, seconds
            By the same clock.

        Examples
        --------
        >>> limits = HostLimits(restarts=2)
        >>> [limits.pause_s(deque([0.0] * n), 10.0) for n in (1, 2, 3)]
        [(0.0, False), (0.5, False), (50.0, True)]
        """
        while deaths and deaths[0] <= now_s - self.window_s:
            deaths.popleft()
        n_deaths = len(deaths)
        if n_deaths > self.restarts:
            return deaths[0] + self.window_s - now_s, True
        if n_deaths <= 1:
            return 0.0, False
        return min(self.first_pause_s * 2.0 ** (n_deaths - 2), _LONGEST_PAUSE_S), False


class Tender:
    """A process that is there as long as somebody wants it, and a thread that sees to that.

    Parameters
    ----------
    order : Order
        What the process loads.
    limits : HostLimits
        What it may take.

    Attributes
    ----------
    talking : Lock
        Held by who talks to the process; the lines of a dead one are closed under it, too.
        Taken before any other lock here.
    """

    def __init__(self, order: Order, limits: HostLimits) -> None:
        self.talking = threading.Lock()
        self._order, self._limits, self._who = order, limits, order.who
        # Guards what follows, and tells of its changes.
        self._changed = threading.Condition()
        self._state: State = "starting"
        self._hand: Hand | None = None
        self._loading: Hand | None = None
        self._pid: int | None = None
        self._error: RenewalError | None = None
        self._verdict = self._cause = ""
        self._again_s = 0.0
        self._n_restarts = 0
        self._thread = threading.Thread(
            target=self._tend, name=f"renewal-host {order.name}", daemon=True
        )

    def start(self) -> None:
        """Start the process and wait until the version is loaded; to be called once.

        Raises
        ------
        RenewalError
            When it cannot be; nothing is left behind then.
        """
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._state != "starting")
            error = self._error
        if error is not None:
            self._thread.join()
            raise error

    def up(self) -> Hand:
        """Return the process, after a moment of waiting where it is just being started again.

        Raises
        ------
        Unavailable, Failed
            When there is none.
        """
        with self._changed:
            if self._state in _COMING:
                self._changed.wait_for(lambda: self._state not in _COMING, self._limits.patience_s)
            if self._state == "up" and self._hand is not None:
                return self._hand
            again_s = max(0.1, self._again_s - monotonic())
            if self._state == "closed":
                raise errors.closed(self._who)
            if self._state == "given up":
                raise errors.given_up(self._who, self._limits.restarts, self._cause, again_s)
            raise errors.not_back(self._who, self._cause, again_s)

    def is_up(self, hand: Hand) -> bool:
        """Say whether a process is the one that answers; to be asked while `talking` is held."""
        with self._changed:
            return self._hand is hand

    def kill(self, hand: Hand, verdict: str) -> None:
        """Kill a process, and say why; another is started."""
        with self._changed:
            if self._hand is hand:
                self._verdict = verdict
                if self._state != "closed":
                    self._state = "starting"  # so that nobody else talks to it
                _let_go(hand)

    def lost(self, hand: Hand) -> RenewalError:
        """Return what a prediction is told under which a process has died."""
        with self._changed:
            self._changed.wait_for(lambda: self._hand is not hand, _GONE_S)
            if self._state == "closed":
                return errors.closed(self._who)
            return errors.died(self._who, self._cause)

    def stats(self) -> dict[str, Any]:
        """Return ``state``, ``pid``, ``n_restarts``, ``rss_bytes`` and ``last_end``."""
        with self._changed:
            return {
                "state": self._state,
                "pid": self._pid,
                "n_restarts": self._n_restarts,
                "rss_bytes": None if self._pid is None else _resident_bytes(self._pid),
                "last_end": self._cause or None,
            }

    def close(self) -> bool:
        """Say that nobody wants the process any more; False: that was said before."""
        with self._changed:
            if self._state == "closed":
                return False
            self._state = "closed"
            self._changed.notify_all()
            return True

    def end(self) -> None:
        """After `close`: end the process, by force where it goes on, and return when it is gone."""
        is_mine = self.talking.acquire(timeout=self._limits.close_s)
        try:
            with self._changed:
                if self._loading is not None:
                    _let_go(self._loading)
                if self._hand is not None:
                    _shut(self._hand.line, socket.SHUT_WR)  # it ends when it has answered
        finally:
            if is_mine:
                self.talking.release()
        self._thread.join(self._limits.end_s)
        with self._changed:
            if self._hand is not None:
                _let_go(self._hand)
        self._thread.join(_GONE_S)

    def wait_gone(self, timeout_s: float) -> bool:
        """Wait until nothing is left of it; False: not in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # What follows runs in the thread.

    def _tend(self) -> None:
        error = self._begin()
        if error is not None:
            with self._changed:
                self._state, self._error = "closed", error
                self._changed.notify_all()
            return
        deaths: deque[float] = deque()
        while True:
            hand = self._hand
            if hand is not None:
                wait([hand.watch])
                self._bury(hand)
            deaths.append(monotonic())
            if not self._is_wanted_after(*self._limits.pause_s(deaths, monotonic())):
                return
            self._n_restarts += 1
            error = self._begin()
            if error is not None:
                _LOG.error("version not started again version=%s error=%s", self._who, error)
                with self._changed:
                    self._cause = str(error)

    def _begin(self) -> RenewalError | None:
        """Start the process and have the version loaded; return what is wrong."""
        try:
            hand = NURSERY.hire(self._order.manifest.adapter)
        except RenewalError as error:
            return error
        with self._changed:
            self._loading = hand
            if self._state == "closed":  # closing may have looked before the line above
                _let_go(hand)
        ready = self._loaded(hand)
        with self._changed:
            self._loading = None
            if isinstance(ready, Ready):
                # Also of a closed one: the end of its process is seen to like any other.
                self._hand, self._pid, self._verdict = hand, ready.pid, ""
                self._state = "closed" if self._state == "closed" else "up"
                self._changed.notify_all()
        if isinstance(ready, Ready):
            NURSERY.learn(ready.modules)
            return None
        if ready is None:
            hand.await_end()
            return errors.died_loading(self._who, hand.kill())
        hand.kill()
        return ready

    def _loaded(self, hand: Hand) -> Ready | RenewalError | None:
        """Hand the order to a process and wait until it has loaded the version.

        Returns
        -------
        Ready or RenewalError or None
            None: it has died of that.
        """
        due_s = monotonic() + self._limits.load_s
        try:
            packed = pickle.dumps(self._order, protocol=pickle.HIGHEST_PROTOCOL)
            lines.send(hand.line, (self._who, os.getcwd(), list(sys.path), packed))  # noqa: PTH109  # a string travels
            came = wire.receive(hand.line, due_s)
        except TimeoutError:
            return errors.too_slow_to_load(self._who, self._limits.load_s)
        except OSError:
            came = None
        if came is None:
            return None
        kind, _, _, body = came
        if kind == wire.READY:
            ready: Ready = pickle.loads(body)  # noqa: S301  # our own process wrote it
            return ready
        return error_of(body, self._who)

    def _bury(self, hand: Hand) -> None:
        """Close the lines of a dead process, and note how it died."""
        _shut(hand.line, socket.SHUT_RDWR)  # whoever still waits for its answer is woken
        with self.talking, self._changed:
            cause = hand.cause()["came"]
            self._cause = self._verdict or cause
            self._hand = self._pid = None
            if self._state != "closed":
                self._state = "starting"
                _LOG.warning("native version died version=%s cause=%s", self._who, self._cause)
            self._changed.notify_all()

    def _is_wanted_after(self, pause_s: float, is_given_up: bool) -> bool:  # noqa: FBT001  # as `pause_s` returns it
        """Wait out a pause; False: nobody wants the process any more."""
        with self._changed:
            if self._state == "closed":
                return False
            if pause_s > 0:
                self._state = "given up" if is_given_up else "waiting"
                self._again_s = monotonic() + pause_s
                self._changed.notify_all()
                if self._changed.wait_for(lambda: self._state == "closed", pause_s):
                    return False
            self._state = "starting"
            return True


def error_of(body: memoryview, who: str) -> RenewalError:
    """Return the error that a process has told of."""
    _, error = unpack_end("error", bytes(body), who)
    if isinstance(error, RenewalError):
        return error
    return Failed(
        who,
        needs="an error that travels",
        came=f"{type(error).__name__}: {error}",
        todo="See the server's log; roll the version back if it goes on.",
    )


def _let_go(hand: Hand) -> None:
    """Have a process killed by its keeper."""
    _shut(hand.watch, socket.SHUT_WR)


def _shut(line: socket.socket, how: int) -> None:
    with suppress(OSError):  # the other side is gone already
        line.shutdown(how)


def _resident_bytes(pid: int) -> int | None:
    try:
        pages = Path(f"/proc/{pid}/statm").read_bytes().split()[1]
    except (OSError, IndexError):  # it ended in between, or the system does not tell
        return None
    return int(pages) * _PAGE_BYTES
