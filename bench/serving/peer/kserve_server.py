"""Run by the peer's own Python: KServe's SDK server on one model, as its guide writes it.

Without its log of every request, which would cost it a third of its speed.

``kserve_server.py FOLDER NAME PORT``
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

# Installed in an environment of its own, and not where this file is checked.
joblib, kserve = import_module("joblib"), import_module("kserve")
_Base: Any = kserve.Model


class Served(_Base):  # type: ignore[misc]  # its types are not read
    """A scikit-learn model behind the protocol's second version."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.model = joblib.load(folder / "model.joblib")
        self.ready = True

    async def predict(self, payload: Any, *_more: Any, **_named: Any) -> Any:
        """Answer a request with the labels."""
        found = self.model.predict(payload.inputs[0].as_numpy())
        output = kserve.InferOutput("predict", list(found.shape), "INT64", found.tolist())
        return kserve.InferResponse(payload.id, self.name, [output])


def main() -> None:
    """Serve until told to stop."""
    folder, name, port = sys.argv[1:]
    server = kserve.ModelServer(
        http_port=int(port), enable_grpc=False, workers=1, enable_latency_logging=False
    )
    logging.disable(logging.INFO)
    server.start([Served(name, Path(folder))])


if __name__ == "__main__":
    main()
