"""Putting together what the application works with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from renewal.core.clock import Clock
from renewal.core.spec import ModelSpec
from renewal.data.feed import Feed
from renewal.registry.registry import Registry
from renewal.serve.counters import Counters
from renewal.serve.guard import Guard
from renewal.serve.loading import Loader
from renewal.serve.log import PredictionLog
from renewal.serve.options import ServeOptions
from renewal.serve.run_folder import RunFolder
from renewal.serve.served import Served
from renewal.serve.shadow import Shadow
from renewal.serve.swap import Follower
from renewal.serve.works import Works


def works_of(
    registry: Registry,
    feeds: Callable[[str], Feed],
    clock: Clock,
    options: ServeOptions,
    *,
    loader: Loader,
    log: PredictionLog,
    run: RunFolder,
) -> Works:
    """Put together what the application works with; nothing is started yet."""
    counters = Counters()
    guard = Guard(registry, options.tokens, clock)
    follower = Follower(
        registry, loader, options, counters, unloaded=run.unloaded, on_poll=guard.poll
    )

    def log_shadow(spec: ModelSpec, served: Served) -> None:
        counters.shadowed(spec.name, served)
        log.add(spec, served)

    return Works(
        follower=follower,
        log=log,
        shadow=Shadow(log_shadow, options.max_shadow_rows),
        feeds=feeds,
        clock=clock,
        options=options,
        counters=counters,
        guard=guard,
        run=run,
        pool=ThreadPoolExecutor(options.threads, thread_name_prefix="renewal-predict"),
        feedback_pool=ThreadPoolExecutor(2, thread_name_prefix="renewal-feedback"),
    )
