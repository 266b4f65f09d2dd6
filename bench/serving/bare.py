"""The runtime's own ``run()`` in a loop, in a process: reads seconds, prints how many calls."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.serving.homes import input_dtype, session_of
from bench.serving.requests import rows

_AT_ONCE = 16


def main() -> None:
    """Call the graph on batches of so many rows for every number of seconds that is read."""
    graph, n_rows = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
    session = session_of(graph)
    name, outputs = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    batches = [np.ascontiguousarray(each) for each in rows(_AT_ONCE, n_rows, input_dtype(graph))]
    print("ready", flush=True)
    for line in sys.stdin:
        n, began = 0, perf_counter()
        until = began + float(line)
        while perf_counter() < until:
            for each in batches:
                session.run(outputs, {name: each})
            n += len(batches)
        print(n, perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
