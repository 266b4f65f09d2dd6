"""How a server serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Durability = Literal["interval", "fsync"]
Compiled = Literal["when_equal", "never"]


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a server serves.

    Parameters
    ----------
    host : str, default "127.0.0.1"
        Address to listen on; ``0.0.0.0`` opens it to other machines.
    port : int, default 0
        0 takes a free one.
    poll_s : float, seconds, default 0.5
        How often the registry is asked for new plans; a move made in the same process
        is followed at once.
    flush_s : float, seconds, default 1
        How often the prediction log is written to disk.
    trust : tuple of str, default ()
        Own classes that a stored model may load.
    drain_s : float, seconds, default 5
        How long a stop waits for requests and connections that are still open.
    notice_s : float, seconds, default 0
        How long a stop keeps answering after readiness has turned 503, so that a load
        balancer hears of it first.
    threads : int, default 1
        Threads that predict. More help only models that release the interpreter.
    max_body_bytes : int, default 64 MiB
        A larger request is refused with 413.
    max_log_rows : int, default 1,000,000
        Rows that may wait for the disk; more are dropped from the log and counted.
    max_shadow_rows : int, default 100,000
        Rows that may wait for the shadow; more are dropped from it and counted.
    durability : {"interval", "fsync"}, default "interval"
        ``fsync``: an answer leaves only after its log entry is on disk, so that nothing
        answered is lost by kill -9; costs one group-committed fsync a request.
    keep_alive_s : int, seconds, default 75
        How long an idle connection is kept; longer than the pools of usual clients, so
        that none of them sends on a connection that is just being closed.
    compiled : {"when_equal", "never"}, default "when_equal"
        Whether a version of scikit-learn, LightGBM or XGBoost is served as an ONNX graph
        where that was found equal and faster.
    """

    host: str = "127.0.0.1"
    port: int = 0
    poll_s: float = 0.5
    flush_s: float = 1.0
    trust: tuple[str, ...] = ()
    drain_s: float = 5.0
    notice_s: float = 0.0
    threads: int = 1
    max_body_bytes: int = 64 * 1024 * 1024
    max_log_rows: int = 1_000_000
    max_shadow_rows: int = 100_000
    durability: Durability = "interval"
    keep_alive_s: int = 75
    compiled: Compiled = "when_equal"
