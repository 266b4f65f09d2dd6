"""The live view of ``renewal serve``: what every model is served by, and how it goes."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.live import Live

from renewal.cli.live_drawing import draw
from renewal.cli.live_numbers import WINDOW_S, Seen, seen

if TYPE_CHECKING:
    from renewal.serve.run_folder import RunFolder

_LAST_WORDS_S = 2.0


class LiveView:
    """Draws the state of a server from its run folder, whenever it is asked.

    Parameters
    ----------
    run : RunFolder
        Where the workers write.
    console : Console
        Whose height limits the list of models.
    """

    def __init__(self, run: RunFolder, console: Console) -> None:
        self._run = run
        self._console = console
        self._history: deque[Seen] = deque()

    def __rich__(self) -> RenderableType:
        """Read the folder and draw it."""
        if self._run.path is None and self._history:
            # The folder goes with the server; what it said last stays on the screen.
            last = self._history[-1]
            end = seen(last.at_s, *self._run.read())
            end = replace(end, workers=end.workers or last.workers)
            return draw(end, end, time.time(), self._console.height, has_stopped=True)
        now = seen(time.monotonic(), *self._run.read())
        self._history.append(now)
        while len(self._history) > 1 and now.at_s - self._history[1].at_s >= WINDOW_S:
            self._history.popleft()
        return draw(self._history[0], now, time.time(), self._console.height)


@contextmanager
def live_view(run: RunFolder) -> Iterator[int]:
    """Show the live view while the block runs.

    Yields
    ------
    int
        A file descriptor: what is written to it, such as the log of workers, appears line by
        line above the view.
    """
    console = Console()
    reading, writing = os.pipe()
    with Live(
        get_renderable=LiveView(run, console).__rich__, console=console, refresh_per_second=1
    ):
        printing = threading.Thread(target=_print_lines, args=(reading, console), daemon=True)
        printing.start()
        try:
            yield writing
        finally:
            os.close(writing)
            # What a worker has started may hold the pipe for a while longer.
            printing.join(_LAST_WORDS_S)


def _print_lines(reading: int, console: Console) -> None:
    with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            console.print(line.rstrip("\n"), markup=False, highlight=False)
