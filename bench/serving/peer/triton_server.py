"""Run by the peer's own Python: Triton with its Python backend, through NVIDIA's wheel.

``triton_server.py FOLDER NAME PORT GRPC_PORT``
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

# Installed in an environment of its own, and not where this file is checked.
joblib, decorators = import_module("joblib"), import_module("pytriton.decorators")
config, server = import_module("pytriton.model_config"), import_module("pytriton.triton")

_N_COLUMNS = 30


def main() -> None:
    """Serve until told to stop."""
    folder, name, port, grpc_port = sys.argv[1:]
    model = joblib.load(Path(folder) / "model.joblib")

    @decorators.batch  # type: ignore[untyped-decorator]  # its types are not read
    def answer(rows: Any) -> list[Any]:
        return [model.predict(rows).reshape(-1, 1)]

    given = server.TritonConfig(
        http_port=int(port), grpc_port=int(grpc_port), allow_metrics=False, log_verbose=0
    )
    with server.Triton(config=given) as triton:
        triton.bind(
            model_name=name,
            infer_func=answer,
            inputs=[config.Tensor(name="rows", dtype=np.float64, shape=(_N_COLUMNS,))],
            outputs=[config.Tensor(name="predict", dtype=np.int64, shape=(1,))],
            config=config.ModelConfig(max_batch_size=128),
        )
        triton.serve()


if __name__ == "__main__":
    main()
