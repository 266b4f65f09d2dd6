"""What MLflow's own client sees of a server; runs in its environment, prints JSON."""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

URL, ROWS = sys.argv[1], json.loads(sys.argv[2])
COLUMNS = ["distance", "hour", "carrier_delay"]
DELAYS: dict[str, Any] = {"model": "delays"}


def main() -> None:
    """Ask all that the client can ask."""
    parts = urlsplit(URL)
    client = ScoringServerClient(parts.hostname, parts.port)
    client.wait_server_ready(timeout=10)
    client.ping()
    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    records = frame.to_dict(orient="records")
    proba = {"model": "flights", "predict_method": "predict_proba"}

    def invoke(data: Any, params: dict[str, Any] | None = None) -> Any:
        came = client.invoke(data, params or DELAYS)
        return json.loads(came.to_json())["predictions"]

    def failure(data: Any, params: dict[str, Any] | None = None) -> str:
        try:
            return f"came {client.invoke(data, params).to_json()}"
        except MlflowException as error:
            return f"MlflowException {error}"
        except Exception as error:  # noqa: BLE001  # the client raises nothing narrower
            return str(error)

    said = {
        "version": client.get_version(),
        "dataframe_split": invoke(frame),
        "shuffled": invoke(frame[COLUMNS[::-1]]),
        "unnamed": invoke(pd.DataFrame(ROWS)),
        "matrix": invoke(np.array(ROWS)),
        "list": invoke(ROWS),
        "records": invoke(json.dumps({"dataframe_records": records, "params": DELAYS})),
        "instances": invoke(json.dumps({"instances": records, "params": DELAYS})),
        "inputs": invoke(json.dumps({"inputs": frame.to_dict(orient="list"), "params": DELAYS})),
        "labels": invoke(frame, {"model": "flights"}),
        "second": invoke(frame, {**proba, "version": "2"}),
        "probabilities": invoke(frame, proba),
        "frame": client.invoke(frame, DELAYS).get_predictions().shape,
        "unknown": failure(frame, {"model": "nobody"}),
        "unnamed_model": failure(frame),
        "wrong": failure(frame.rename(columns={"hour": "houur"}), DELAYS),
    }
    print(json.dumps(said))  # noqa: T201  # what the tests read


main()
