"""What a server says of its models, from memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from renewal.serve.options import ServeOptions
from renewal.serve.server import Server


def test_the_configuration_is_that_of_the_model(home: Any, new_client: Any) -> None:
    """Breaks when it says of every model what holds for the server."""
    home.declare()
    home.champion(home.version())
    options = ServeOptions(native="thread", drain_s=0.02)
    own = replace(options, max_batch_rows=7, max_queue_rows=9)
    server = Server(
        home.registry,
        home.store,
        home.feed,
        home.log_folder,
        home.clock,
        options,
        options_of=lambda _: own,
    )
    server.start()
    try:
        config = new_client(server.url).send("GET", "/v2/models/flights/config").body
    finally:
        server.stop()
    assert config["max_batch_size"] == 7
    assert config["dynamic_batching"]["default_queue_policy"]["max_queue_size"] == 9
    assert config["dynamic_batching"]["default_queue_policy"]["default_timeout_microseconds"] == 6e7
