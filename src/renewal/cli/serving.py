"""The command ``serve``: one process or several, with a live view on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from renewal.cli.opening import open_existing
from renewal.cli.options import DEFAULT_HOME, DatabaseOption, HomeOption, JsonOption
from renewal.cli.show import answer
from renewal.cli.worker import serve_here, set_up_log

if TYPE_CHECKING:
    from renewal.serve.options import ServeOptions
    from renewal.serve.run_folder import RunFolder

LogForm = Literal["text", "json"]
_PORT = 8080
# -P: a folder called renewal where the command was given must not be taken for the package.
_WORKER = (sys.executable, "-P", "-m", "renewal.cli.worker")


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(serve)


def serve(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; default: the policy's.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="0 takes a free one; default: the policy's, or 8080.")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Answer gRPC there, too; 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes on one port; default: the policy's, or 1.")
    ] = None,
    log: Annotated[
        LogForm | None, typer.Option(help="Form of the server's own log; default: the policy's.")
    ] = None,
    live: Annotated[bool, typer.Option(help="Show a live view when this is a terminal.")] = True,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve every model over HTTP and gRPC until told to stop.

    SIGTERM and Ctrl+C stop it gracefully: readiness says 503 first, what is under way is
    answered, the log is written. A second one does not wait.
    """
    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "grpc_port": grpc_port,
        "workers": workers,
        "log_format": log,
    }
    options = {name: value for name, value in given.items() if value is not None}
    served = import_module("renewal.assemble.served")
    found = served.read_serve_options(home, **options)
    if not found.port and port is None:
        options["port"] = _PORT
        found = served.read_serve_options(home, **options)
    run = served.run_folder(home)
    is_live = live and not as_json and _is_terminal()
    if found.workers == 1:
        with (
            open_existing(home, database) as opened,
            _shown(run, is_live=is_live, as_json=as_json) as (on_ready, _stderr),
        ):
            serve_here(opened.server(run=run, **options), on_ready)
        return
    more = {
        "home": str(home.absolute()),
        "database": database,
        "options": options,
        "path": sys.path,
    }
    with _shown(run, is_live=is_live, as_json=as_json) as (on_ready, stderr):
        set_up_log(found)
        code = _supervise(more, found, run, on_ready, stderr)
    if code:
        raise typer.Exit(code)


def _supervise(
    more: dict[str, Any],
    options: ServeOptions,
    run: RunFolder,
    on_ready: Callable[[str], object] | None,
    stderr: int | None,
) -> int:
    supervisor = import_module("renewal.serve.supervisor").Supervisor(
        _WORKER, more, options, run, stderr=stderr
    )
    code: int = supervisor.run(on_ready)
    return code


@contextmanager
def _shown(
    run: RunFolder, *, is_live: bool, as_json: bool
) -> Iterator[tuple[Callable[[str], object] | None, int | None]]:
    """Yield what is called once the server is ready, and where workers write what they say."""
    if is_live:
        with import_module("renewal.cli.live").live_view(run) as stderr:
            yield None, stderr
        return

    def tell(url: str) -> None:
        text = [f"serving on {url} (Ctrl+C stops)"]
        answer({"url": url}, as_json=as_json, text=text)
        sys.stdout.flush()

    yield tell, None


def _is_terminal() -> bool:
    console = Console()
    return console.is_terminal and not console.is_dumb_terminal
