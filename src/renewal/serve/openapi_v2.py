"""The paths of the Open Inference Protocol, of labels and of the operator, for the page."""

from __future__ import annotations

from typing import Any

from renewal.serve.openapi_operation import Operation

_TENSORS = [
    {"name": "distance", "shape": [2], "datatype": "FP64", "data": [1400.0, 529.0]},
    {"name": "hour", "shape": [2], "datatype": "FP64", "data": [5.0, 18.0]},
]
_INFER = {"inputs": _TENSORS, "parameters": {"key": ["2013-01-01/UA/1545", "2013-01-01/UA/1714"]}}
_LABELS = {"labels": [{"prediction_id": "01K2ZJ8Q4C6A0R5E9T3Y7W1X2V-0", "label": 1}]}
_BINARY: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string"}}}
_INFER_TEXT = (
    "One tensor for each column, or one matrix where all columns are floats. With the header"
    " `Inference-Header-Content-Length`, tensors may follow the JSON as bytes. The body may be"
    " compressed (gzip, deflate)."
)


def _both(suffix: str, summary: str, answers: str, **more: Any) -> tuple[Operation, Operation]:
    """Return a path of a model, and of one of its versions."""
    method = "POST" if more.get("asks") else "GET"
    tag = more.pop("tag", "health")
    of_model = f"/v2/models/{{model}}{suffix}"
    of_version = f"/v2/models/{{model}}/versions/{{version}}{suffix}"
    return (
        Operation(method, of_model, tag, summary, answers, **more),
        Operation(method, of_version, tag, f"{summary}: one version", answers, **more),
    )


V2_OPERATIONS: tuple[Operation, ...] = (
    *_both(
        "/infer",
        "Predict",
        "InferResponse",
        asks="InferRequest",
        example=_INFER,
        text=_INFER_TEXT,
        tag="predict",
        predicts=True,
        other_answers=_BINARY,
        answered="One tensor for each output. Binary where it is asked for.",
    ),
    Operation("GET", "/v2/health/live", "health", "Is the server up?", "Live"),
    Operation(
        "GET",
        "/v2/health/ready",
        "health",
        "Does every model answer?",
        "ServerReady",
        statuses=(503,),
        errors={
            503: {"application/json": {"schema": {"$ref": "#/components/schemas/ServerReady"}}}
        },
        text="503 also while the server is on its way out, and still answers.",
    ),
    Operation("GET", "/v2", "health", "What the server is", "Server"),
    Operation("GET", "/v2/models", "health", "Which models there are", "Models"),
    *_both("", "Columns and outputs", "Model", statuses=(503,)),
    *_both(
        "/ready",
        "Does it answer?",
        "ModelReady",
        statuses=(503,),
        errors={503: {"application/json": {"schema": {"$ref": "#/components/schemas/ModelReady"}}}},
    ),
    Operation(
        "POST",
        "/v2/models/{model}/feedback",
        "feedback",
        "Send labels",
        "Taken",
        asks="Labels",
        example=_LABELS,
        statuses=(404, 409, 503),
        text="By prediction id, or by the key of the row. A label may come before its row.",
    ),
    Operation(
        "POST",
        "/feedback",
        "feedback",
        "Send labels of any model",
        "Taken",
        asks="Labels",
        example=_LABELS,
        statuses=(404, 409, 503),
        text="As above; `model` may stand in the body.",
    ),
    Operation(
        "POST",
        "/v2/repository/index",
        "operate",
        "What is loaded",
        "Index",
        asks="IndexRequest",
        needs_body=False,
        example={"ready": True},
    ),
    Operation(
        "POST",
        "/v2/repository/models/{model}/load",
        "operate",
        "Serve a model as the registry says, now",
        "Loaded",
        asks="LoadRequest",
        needs_body=False,
        example={},
        statuses=(503,),
    ),
    Operation(
        "POST",
        "/v2/repository/models/{model}/unload",
        "operate",
        "Stop answering for a model",
        "Unloaded",
        asks="LoadRequest",
        needs_body=False,
        example={},
        statuses=(503,),
    ),
    *_both("/config", "How it is served", "Config", tag="operate", statuses=(503,)),
    *_both("/stats", "What it has answered", "Statistics", tag="operate", statuses=(503,)),
    Operation("GET", "/v2/models/stats", "operate", "What all models have answered", "Statistics"),
    Operation(
        "GET",
        "/metrics",
        "operate",
        "Counters and histograms, for Prometheus",
        "",
        kind="text/plain; version=0.0.4; charset=utf-8",
        text="In the form of OpenMetrics where `Accept` asks for it.",
    ),
)
