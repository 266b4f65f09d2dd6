"""The gRPC server: the Open Inference Protocol and gRPC's health service on one port.

It runs on the event loop of the HTTP server and uses the same slots, queues and log; a call is
another way to ask, not another server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import grpc
from grpc.aio import Server
from grpc.aio import server as new_server

from renewal.core.errors import Unavailable
from renewal.serve.grpc_calls import page_verb
from renewal.serve.grpc_health import Health
from renewal.serve.grpc_infer import Infer
from renewal.serve.grpc_messages import HEALTH, INFERENCE, verb_messages
from renewal.serve.grpc_pages import PAGES
from renewal.serve.works import Works

_LOG = logging.getLogger("renewal.serve")
_KEEP_ALIVE_MS, _ANSWER_MS, _PINGS_MS = 120_000, 20_000, 10_000


class GrpcServer:
    """Answers gRPC on a port of its own; its verbs belong on one event loop.

    Parameters
    ----------
    works : Works
        What it works with; ``works.options.grpc_port`` says where, 0 takes a free port.

    Notes
    -----
    Workers of one server share a fixed port (SO_REUSEPORT), as over HTTP.
    """

    def __init__(self, works: Works) -> None:
        self._works = works
        self._health = Health(works)
        self._server: Server | None = None
        self.port = 0

    async def start(self) -> int:
        """Listen; return the port.

        Raises
        ------
        Unavailable
            When the address is taken.
        """
        options = self._works.options
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"{host}:{options.grpc_port or 0}"
        server = new_server(options=self._options())
        server.add_generic_rpc_handlers(self._handlers())
        try:
            self.port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise Unavailable(
                "Server.start",
                needs=f"the address {address} for gRPC",
                came=str(error),
                todo="Stop whoever listens there, or choose another port (0 takes a free one).",
            ) from error
        await server.start()
        self._server = server
        _LOG.info("serving grpc=%s:%d", host, self.port)
        return self.port

    async def stop(self, drain_s: float) -> None:
        """Take no new calls, answer those under way for at most `drain_s`, and let go.

        ``works.is_draining`` has turned health to NOT_SERVING before. Calling it twice, or
        before `start`, does no harm.
        """
        server, self._server = self._server, None
        if server is None:
            return
        self._health.end()
        await server.stop(drain_s)
        await asyncio.sleep(0)  # the handlers that were just cancelled say goodbye

    def _options(self) -> list[tuple[str, Any]]:
        works = self._works
        return [
            ("grpc.so_reuseport", int(works.run.shares_port)),
            ("grpc.max_receive_message_length", works.options.max_body_bytes),
            ("grpc.max_send_message_length", -1),
            # A peer that is gone without a word is found out; one that pings is let be.
            ("grpc.keepalive_time_ms", _KEEP_ALIVE_MS),
            ("grpc.keepalive_timeout_ms", _ANSWER_MS),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", _PINGS_MS),
        ]

    def _handlers(self) -> Sequence[grpc.GenericRpcHandler]:
        infer = Infer(self._works)
        # Bytes in and out: what is no message is then refused by us, with a status of its own.
        kinds = verb_messages(INFERENCE)
        verbs: dict[str, Any] = {}
        for name, page in PAGES.items():
            verb = page_verb(self._works, name, kinds[name][0], page)
            verbs[name] = grpc.unary_unary_rpc_method_handler(verb)
        verbs["ModelInfer"] = grpc.unary_unary_rpc_method_handler(infer.one)
        verbs["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(infer.stream)
        health = {
            "Check": grpc.unary_unary_rpc_method_handler(self._health.check()),
            "Watch": grpc.unary_stream_rpc_method_handler(self._health.watch),
        }
        return (
            grpc.method_handlers_generic_handler(INFERENCE, verbs),
            grpc.method_handlers_generic_handler(HEALTH, health),
        )
