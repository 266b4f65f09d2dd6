"""The gRPC server, where it is asked for: without the extra, everything else still runs."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from renewal.core.errors import Missing
from renewal.serve.works import Works

_EXTRA = frozenset({"grpc", "google"})


class Listener(Protocol):
    """What answers beside HTTP, on the same event loop; its coroutines belong there."""

    port: int

    async def start(self) -> int:
        """Listen; return the port."""
        ...

    async def stop(self, drain_s: float) -> None:
        """Answer what is under way for at most `drain_s`, and let go."""
        ...


def grpc_listener(works: Works) -> Listener | None:
    """Return the gRPC server of a server; None where its options want none.

    Raises
    ------
    Missing
        Where they want one, and the extra is not installed.
    """
    if works.options.grpc_port is None:
        return None
    try:
        module = import_module("renewal.serve.grpc_server")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise  # ours to mend, and no matter of what is installed
        raise Missing(
            "renewal serve",
            needs="the extra 'grpc' to answer on a gRPC port",
            came=f"no module {error.name!r}",
            todo="pip install 'renewal[grpc]'",
            extra="grpc",
        ) from error
    listener: Listener = module.GrpcServer(works)
    return listener
