"""What the application works with; the server makes it and closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from renewal.core.clock import Clock
from renewal.data.feed import Feed
from renewal.serve.counters import Counters
from renewal.serve.guard import Guard
from renewal.serve.inference import Inference
from renewal.serve.log import PredictionLog
from renewal.serve.options import ServeOptions
from renewal.serve.reporter import Reporter
from renewal.serve.run_folder import RunFolder
from renewal.serve.shadow import Shadow
from renewal.serve.slots import Slot
from renewal.serve.swap import Follower, slot_of


@dataclass(slots=True)
class Works:
    """What the application works with; the server makes it and closes it.

    Parameters
    ----------
    follower : Follower
        Holds the slots.
    log : PredictionLog
        Takes what was answered.
    shadow : Shadow
        Takes what others should score too.
    feeds : callable
        From a model's name to its feed.
    clock : Clock
        The time of predictions.
    options : ServeOptions
        How to serve.
    counters : Counters
        What was answered, refused and failed.
    guard : Guard
        Which request may do what.
    pool, feedback_pool : ThreadPoolExecutor
        Where predictions run, and where labels wait for their commit.
    is_draining : bool
        Whether the server is on its way out.
    run : RunFolder
        What the worker processes of one server share.
    loop : AbstractEventLoop
        Where requests are answered; there once the server has started.
    inference : Inference
        Answers queries.
    reporter : Reporter
        Says what this worker does.
    sticky_header : bytes
        In lower case.
    """

    follower: Follower
    log: PredictionLog
    shadow: Shadow
    feeds: Callable[[str], Feed]
    clock: Clock
    options: ServeOptions
    counters: Counters
    guard: Guard
    pool: ThreadPoolExecutor
    feedback_pool: ThreadPoolExecutor
    is_draining: bool = False
    run: RunFolder = field(default_factory=RunFolder)
    feed_locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop = field(init=False)
    inference: Inference = field(init=False)
    reporter: Reporter = field(init=False)
    sticky_header: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Put inference to work on the rest."""
        self.inference = Inference(self)
        self.reporter = Reporter(self)
        self.sticky_header = self.options.sticky_header.lower().encode()

    def known(self, model: str | None) -> str:
        """Return a model's name where there is such a model, else nothing: a label of metrics."""
        return model if model is not None and model in self.follower.slots else ""

    def slot(self, model: str) -> Slot:
        """Return the slot of a model; raise `NotFound` where there is none."""
        follower = self.follower
        slot = follower.slots.get(model)
        if slot is not None:
            return slot
        # Triton's examples look for exactly these words.
        word = "Request" if self.options.compat == "triton" else "a request"
        return slot_of(follower.slots, model, is_ready=follower.has_polled, word=word)
