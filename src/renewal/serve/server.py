"""The server: threads, a socket and an event loop around the application."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic, sleep
from types import FrameType
from typing import Any

import uvicorn

from renewal.core.clock import Clock
from renewal.core.errors import Unavailable
from renewal.data.feed import Feed
from renewal.registry.registry import Registry
from renewal.serve.app import App
from renewal.serve.building import works_of
from renewal.serve.grpc_optional import grpc_listener
from renewal.serve.lane import lane_of
from renewal.serve.listening import bound_socket, turn_away, url_of
from renewal.serve.loading import Loader
from renewal.serve.log import PredictionLog
from renewal.serve.options import ServeOptions
from renewal.serve.run_folder import RunFolder
from renewal.serve.sealing import Sealing
from renewal.store.contract import Store

_LOG = logging.getLogger("renewal.serve")
_START_S = 30.0
_STEP_S = 0.01
# How shells number the end of a process by a signal.
_BY_SIGNAL = 128
# A stop waits for this much silence: time for a reply to reach its client and be followed.
_QUIET_S = 0.2
# Time to accept, and begin to answer, whoever has connected already.
_QUEUE_S = 0.1
_COLLECT_S = 5.0


class Server:
    """Serves every model of a registry over HTTP, by the plans that the registry holds.

    Parameters
    ----------
    registry : Registry
        Its plans are obeyed; a model without one is served by its champion.
    store : Store
        Where the bytes of versions lie.
    feeds : callable
        From a model's name to its feed, for labels.
    log_folder : Path
        Segments of the prediction log of model m go to ``log_folder/m``.
    clock : Clock
        The time of predictions; a replay clock in replays.
    options : ServeOptions
        How to serve.
    options_of : callable or None
        From a model's name to what differs for it: how its versions run, what of it is logged.
        None: `options` for all.
    run : RunFolder or None
        Where it says once a second what it does; as a worker among several, what they share.

    Notes
    -----
    Threads: one for the event loop, ``options.threads`` that predict, two that wait for
    labels to be committed, two that load versions, and one each for the follower, the
    shadow, the log and the run folder.
    """

    def __init__(  # noqa: PLR0917  # the five places it stands between, and how
        self,
        registry: Registry,
        store: Store,
        feeds: Callable[[str], Feed],
        log_folder: Path,
        clock: Clock,
        options: ServeOptions | None = None,
        *,
        options_of: Callable[[str], ServeOptions] | None = None,
        run: RunFolder | None = None,
    ) -> None:
        options = options or ServeOptions()
        options_of = options_of or (lambda _: options)
        self.options = options
        self._works = works = works_of(
            registry,
            feeds,
            clock,
            options,
            loader=Loader(registry, store, feeds, options_of),
            log=PredictionLog(
                log_folder,
                flush_s=options.flush_s,
                max_rows=options.max_log_rows,
                options_of=options_of,
            ),
            run=run or RunFolder(),
        )
        self._sealing = Sealing(
            registry.db,
            log_folder,
            feeds,
            lambda: list(works.follower.slots),
            lambda: works.log.n_rows_written,
            every_s=options.seal_s,
        )
        self._socket: socket.socket | None = None
        self._loop_error: BaseException | None = None
        self._uvicorn = uvicorn.Server(self._config())
        self._thread = threading.Thread(target=self._run_loop, name="renewal-http", daemon=True)
        self._grpc = grpc_listener(self._works)
        self._is_stopped = False

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:8080``; empty before `start`."""
        return self._works.reporter.url

    @property
    def grpc_port(self) -> int:
        """Where gRPC is answered, on the same host; 0: nowhere, or not yet."""
        return 0 if self._grpc is None else self._grpc.port

    def start(self) -> None:
        """Listen, load every model, and return; requests are answered by threads.

        Raises
        ------
        Unavailable
            When the address is taken.
        """
        works = self._works
        try:
            works.run.open(is_needed=False)
            works.reporter.start()
            if works.run.listens_late:
                works.follower.start()
                works.run.await_first()
            self._listen()
            works.log.start()
            works.shadow.start()
            self._thread.start()
            self._await_loop()
            if self._grpc is not None:
                self._on_loop(self._grpc.start(), _START_S)
            if not works.run.listens_late:
                works.follower.start()
            self._sealing.start()
            works.reporter.has_started = True
            works.reporter.write()
        except BaseException:
            self.stop()
            raise
        names = ", ".join(sorted(self._works.follower.slots)) or "no model yet"
        _LOG.info("serving url=%s models=%s", self.url, names)

    def run(self, on_ready: Callable[[str], object] | None = None) -> None:
        """Serve in the foreground until SIGTERM or SIGINT, then stop gracefully.

        Parameters
        ----------
        on_ready : callable or None
            Called with the url once it listens.

        Notes
        -----
        To be called from the main thread, where signals arrive. A second one ends the process
        at once; a worker among several leaves that to its supervisor.
        """
        told = threading.Event()

        def tell(number: int, _frame: FrameType | None) -> None:
            if told.is_set() and not self._works.run.shares_port:
                os._exit(_BY_SIGNAL + number)
            told.set()
            self._works.run.hurry()

        before = {each: signal.signal(each, tell) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.start()
            self._collect_by_hand()
            if on_ready is not None:
                on_ready(self.url)
            while not told.wait(_START_S):
                self._check_loop()
        finally:
            self.stop()
            for each, handler in before.items():
                signal.signal(each, handler)

    def stop(self) -> None:
        """Turn unready, answer what is under way, write the log, and let go of everything.

        Readiness says 503 at once and every reply asks its client to reconnect elsewhere;
        the socket closes after ``notice_s`` and when no request has come for a moment, or
        ``drain_s`` later at the latest. Calling it twice does no harm.
        """
        if self._is_stopped:
            return
        self._is_stopped = True
        works = self._works
        works.is_draining = True
        if self._thread.is_alive():
            self._drain()
            if self._grpc is not None:
                drain_s = self.options.drain_s
                self._on_loop(self._grpc.stop(drain_s), drain_s + _START_S)
            self._empty_queue()
            self._uvicorn.should_exit = True
            self._thread.join()
        elif self._socket is not None:
            self._socket.close()
        works.pool.shutdown()
        works.feedback_pool.shutdown()
        works.follower.close()
        works.shadow.close(self.options.drain_s)
        works.log.close()
        self._sealing.close()
        works.reporter.close()
        works.run.close()
        _LOG.info("stopped url=%s", self.url)

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait for the shadow, then write the log buffer to segments.

        Raises
        ------
        Unavailable
            When the shadow is not done in time, or the disk does not take the segments.
        """
        if not self._works.shadow.drain(timeout_s):
            raise Unavailable(
                "Server.flush",
                needs=f"the shadow to finish within {timeout_s:g} s",
                came=f"{self._works.shadow.stats()['n_rows_waiting']} rows waiting",
                todo="Call it again, or send fewer rows.",
                retry_after_s=1.0,
            )
        self._works.log.flush()

    def wait_for(self, model: str, plan_seq: int, timeout_s: float = 30.0) -> None:
        """Wait until a model is served by a plan, or by a newer one.

        Parameters
        ----------
        model : str
            Whose.
        plan_seq : int
            As `Registry.publish` returned it.
        timeout_s : float, seconds, default 30
            How long.

        Raises
        ------
        Unavailable
            When the plan cannot be followed, with the reason, or the time ran out.
        """
        self._works.follower.wait_for(model, plan_seq, timeout_s)

    def stats(self) -> dict[str, Any]:
        """Return counters of requests, log and shadow, and the state of every model."""
        works = self._works
        return {
            **works.counters.stats(),
            "n_swaps": works.follower.n_swaps,
            "n_failed_swaps": works.follower.n_failed,
            "is_ready": works.follower.is_ready and not works.is_draining,
            "log": works.log.stats(),
            "shadow": works.shadow.stats(),
            "models": {name: slot.stats() for name, slot in list(works.follower.slots.items())},
        }

    def _collect_by_hand(self) -> None:
        """Keep the garbage collector from stopping requests, in a process that only serves.

        What is there now stays: models, libraries. The rest is looked through when the log has
        just been written, for then there is least of it: by itself the collector would go through
        the entries that wait for the log again and again, for a fifth of a second each time.
        """
        gc.collect()
        gc.freeze()
        if self.options.flush_s <= _COLLECT_S:
            gc.disable()
            self._works.log.on_flushed = _Collector(self.options.flush_s).collect

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            App(self._works),
            http=lane_of(self._works),
            loop="auto",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=self.options.keep_alive_s,
            timeout_graceful_shutdown=max(1, round(self.options.drain_s)),
        )

    def _listen(self) -> None:
        works, options = self._works, self.options
        self._socket = bound_socket(options.host, options.port, shares_port=works.run.shares_port)
        works.reporter.url = url_of(options.host, self._socket)

    def _run_loop(self) -> None:
        try:
            new_loop = self._uvicorn.config.get_loop_factory()
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # the worker border: whoever waits for it is told
            self._loop_error = error
            _LOG.exception("the event loop ended")

    async def _serve(self) -> None:
        self._works.loop = asyncio.get_running_loop()
        await self._uvicorn.serve(sockets=[self._socket] if self._socket is not None else None)

    def _await_loop(self) -> None:
        until_s = monotonic() + _START_S
        while not self._uvicorn.started:
            self._check_loop()
            if monotonic() > until_s:
                raise Unavailable(
                    "Server.start",
                    needs="its event loop to start",
                    came=f"nothing in {_START_S:g} s",
                    todo="See the log; the machine may be overloaded.",
                )
            sleep(_STEP_S)

    def _on_loop(self, work: Coroutine[Any, Any, Any], timeout_s: float) -> None:
        """Do something on the event loop, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._works.loop).result(timeout_s)

    def _check_loop(self) -> None:
        if not self._thread.is_alive():
            raise Unavailable(
                "Server",
                needs="a running event loop",
                came=repr(self._loop_error),
                todo="See the log, then start a new server.",
            ) from self._loop_error

    def _empty_queue(self) -> None:
        """Take in who has connected and let nobody else do so."""
        if self._socket is not None:
            turn_away(self._socket)
            sleep(min(_QUEUE_S, self.options.drain_s))

    def _drain(self) -> None:
        """Wait until it is quiet, at most `drain_s` after the notice."""
        sleep(self.options.notice_s)
        until_s = monotonic() + self.options.drain_s
        quiet_s = min(_QUIET_S, self.options.drain_s)
        while self._works.counters.quiet_s < quiet_s and monotonic() < until_s:
            sleep(_STEP_S)


class _Collector:
    """Runs the garbage collector, but not again too soon: with fsync each request is a flush.

    Parameters
    ----------
    every_s : float, seconds
        The shortest time between two collections.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_s = 0.0

    def collect(self) -> None:
        """Collect, unless it was done a moment ago."""
        if monotonic() >= self._next_s:
            gc.collect()
            self._next_s = monotonic() + self._every_s
