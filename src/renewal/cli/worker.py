"""A worker process of ``renewal serve --workers N``; started by its supervisor, never by hand."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from renewal.cli.opening import open_existing
from renewal.cli.show import failure
from renewal.core.errors import RenewalError

if TYPE_CHECKING:
    from renewal.serve.options import ServeOptions
    from renewal.serve.server import Server
    from renewal.serve.supervisor import Ticket

# A background thread that computes holds the interpreter for this long at most; by default it
# is 5 ms, which every request on the loop would wait.
SWITCH_S = 0.001


def main() -> None:
    """Serve by the ticket on standard input, until told to stop or the supervisor is gone."""
    line = sys.stdin.buffer.readline()
    # As in the process that started this one: what a stored model trusts is found on it.
    sys.path[:] = json.loads(line)["more"]["path"]
    ticket: Ticket = import_module("renewal.serve.supervisor").read_ticket(line)
    follower = threading.Thread(target=_follow, args=(ticket.stop_s,), daemon=True)
    follower.start()
    try:
        _serve(ticket)
    except RenewalError as error:
        sys.exit(failure(error, as_json=False))


def _serve(ticket: Ticket) -> None:
    more = ticket.more
    run = import_module("renewal.serve.run_folder").RunFolder.joined(
        Path(ticket.run),
        ticket.worker,
        listens_late=ticket.listens_late,
        waits_for_first=ticket.waits_for_first,
    )
    options = {**more["options"], "port": ticket.port, "grpc_port": ticket.grpc_port}
    with open_existing(Path(more["home"]), more["database"]) as home:
        serve_here(home.server(run=run, **options))


def serve_here(server: Server, on_ready: Callable[[str], object] | None = None) -> None:
    """Serve in this process until told to stop.

    Parameters
    ----------
    server : Server
        Not started yet.
    on_ready : callable or None
        Called with the url once it has started.
    """
    sys.setswitchinterval(SWITCH_S)
    set_up_log(server.options)
    server.run(on_ready=on_ready)


def set_up_log(options: ServeOptions) -> None:
    """Give the log of this process the form that the options ask for."""
    import_module("renewal.serve.json_log").configure_logging(options.log_format)


def _follow(stop_s: float) -> None:
    """Stop this process when the supervisor is gone: then its end of the pipe is closed."""
    # Not through sys.stdin: a thread that waits in it must not hold its lock at the end.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(stop_s)
    os._exit(1)


if __name__ == "__main__":
    main()
