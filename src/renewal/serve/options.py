"""How a server serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Durability = Literal["interval", "fsync"]
Compiled = Literal["when_equal", "never"]
Native = Literal["process", "thread"]
Batching = Literal["when_equal", "never"]
Memory = Literal["double", "unload_first"]
Tokens = Literal["when_any", "required"]
Form = Literal["text", "json"]
Compat = Literal["none", "triton"]

OF_A_MODEL = frozenset(
    {
        "compiled",
        "native",
        "batching",
        "batch_tolerance",
        "max_batch_rows",
        "max_queue_rows",
        "log_sample",
        "log_redact",
    }
)
"""Options that may differ for one model; the others are those of the whole server."""


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
    workers : int >= 1, default 1
        Processes that answer on one port; each holds every model. `renewal serve` alone starts
        more than one.
    grpc_port : int or None, default None
        Where gRPC is answered; 0 takes a free one, None answers none. Needs the extra ``grpc``.
    native : {"process", "thread"}, default "process"
        Where a version that is not an ONNX graph predicts: in a process of its own, so that
        neither its loading nor its crash touches the server, or in a thread of the server.
    batching : {"when_equal", "never"}, default "when_equal"
        Whether requests that wait are predicted together, by a version of which it was found,
        when it was loaded, that a row gets the same scores in company and alone.
    batch_tolerance : float >= 0, unit of a score, default 0
        The largest difference between the two that counts as the same. 0: none, which networks
        on most processors miss by the last bits of a float32; 1e-6 lets them be batched.
    max_batch_rows : int >= 1, default 1024
        Rows that are predicted together at most.
    max_queue_rows : int >= 1, default 10,000
        Rows that may wait for one version; a request beyond them is refused with 429.
    timeout_s : float, seconds, default 60
        A request that has waited longer is answered 504; a client may ask for less.
    memory : {"double", "unload_first"}, default "double"
        While a version is swapped: both in memory, or the old one out first, and 503 with
        Retry-After until the new one answers.
    keep_warm_s : float, seconds, default 600
        How long the version before stays in memory after a swap, so that taking it back takes
        no loading. It leaves before the next version is loaded, and with ``unload_first``.
    swap_drain_s : float, seconds, default 30
        How long what a swap replaced waits for its requests; then they are answered 503.
    aliases : tuple of str, default ("*",)
        Aliases of the user's own, as patterns, whose versions are loaded beside the plan's and
        can be named in URLs.
    sticky_header : str, default "x-renewal-sticky"
        The header whose value picks one arm for a whole request.
    log_sample : float in [0, 1], default 1
        Share of the requests that go into the prediction log, by a hash of the sticky key.
    log_redact : tuple of str, default ()
        Columns whose values are not logged: null instead.
    seal_s : float, seconds, default 10
        How often the server commits what it logged to the feed; 0 leaves it to `renewal watch`.
    tokens : {"when_any", "required"}, default "when_any"
        Whether requests need a token: where the registry holds any, or always.
    log_format : {"text", "json"}, default "text"
        Of the server's own log.
    compat : {"none", "triton"}, default "none"
        ``triton``: the server's name and the words of its errors are those that Triton's
        examples look for.
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
    workers: int = 1
    grpc_port: int | None = None
    native: Native = "process"
    batching: Batching = "when_equal"
    batch_tolerance: float = 0.0
    max_batch_rows: int = 1024
    max_queue_rows: int = 10_000
    timeout_s: float = 60.0
    memory: Memory = "double"
    keep_warm_s: float = 600.0
    swap_drain_s: float = 30.0
    aliases: tuple[str, ...] = ("*",)
    sticky_header: str = "x-renewal-sticky"
    log_sample: float = 1.0
    log_redact: tuple[str, ...] = ()
    seal_s: float = 10.0
    tokens: Tokens = "when_any"
    log_format: Form = "text"
    compat: Compat = "none"
