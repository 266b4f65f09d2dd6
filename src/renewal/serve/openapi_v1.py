"""The paths of TensorFlow Serving, KServe V1 and MLflow, for the OpenAPI page."""

from __future__ import annotations

from typing import Any

from renewal.serve.openapi_operation import BLANK, NEVER, Operation

_ROWS = [{"distance": 1400.0, "hour": 5.0}, {"distance": 529.0, "hour": 18.0}]
_PREDICT_TEXT = (
    "`instances` are rows: objects by column name, lists in column order, or bare values where"
    " there is one column. `inputs` are columns: an object of name and list, or a matrix. A"
    ' gap is null; bytes are {"b64": "..."}. The bare token NaN is read as a gap and never'
    " written: null is."
)
_NAMED = {
    "": "",
    "/versions/{version}": ": one version",
    "/labels/{label}": ": by its alias",
}
_STATUS_503 = {503: {"application/json": {"schema": {"$ref": "#/components/schemas/V1Status"}}}}
_NOT_OFFERED: dict[str, str] = {
    "classify": "The form for examples of TensorFlow",
    "regress": "The form for examples of TensorFlow",
    "explain": "KServe's form for explanations",
}


def _of_each(suffix: str, summary: str, answers: str, **more: Any) -> list[Operation]:
    method = "POST" if more.get("asks") else "GET"
    return [
        Operation(
            method, f"/v1/models/{{model}}{named}{suffix}", "v1", summary + says, answers, **more
        )
        for named, says in _NAMED.items()
    ]


V1_OPERATIONS: tuple[Operation, ...] = (
    *_of_each(
        ":predict",
        "Predict",
        "V1Response",
        asks="V1Request",
        example={"instances": _ROWS},
        text=_PREDICT_TEXT,
        answered="In the shape of the request: `predictions` by row, or `outputs` by column.",
        predicts=True,
    ),
    *(
        Operation(
            "POST",
            f"/v1/models/{{model}}:{verb}",
            "v1",
            f"Not offered: {text}",
            NEVER,
            asks="Anything",
            needs_body=False,
            statuses=(501,),
        )
        for verb, text in _NOT_OFFERED.items()
    ),
    Operation("GET", "/", "v1", "Is the server up?", "Alive"),
    Operation("GET", "/v1/models", "v1", "Which models there are", "Models"),
    *_of_each(
        "",
        "Which versions answer",
        "V1Status",
        statuses=(400, 503),
        errors=_STATUS_503,
        text="TensorFlow Serving's document with KServe's `name` and `ready`.",
    ),
    *_of_each(
        "/metadata",
        "Columns and outputs, as TensorFlow writes them",
        "V1Metadata",
        statuses=(400, 503),
    ),
    Operation(
        "POST",
        "/invocations",
        "mlflow",
        "Predict",
        "MlflowResponse",
        asks="MlflowRequest",
        example={
            "dataframe_split": {
                "columns": ["distance", "hour"],
                "data": [[1400.0, 5.0], [529.0, 18.0]],
            }
        },
        text="Exactly one of four forms, or CSV with a header. The model is the server's only one,"
        " or named by `?model=`, by the header `x-renewal-model` or by `params`, which may"
        " also hold `version`, the facts of rows (`key`, `sticky`) and"
        ' `"predict_method": "predict_proba"`.',
        answered="Labels, values or probabilities, one entry a row.",
        predicts=True,
        error="MlflowError",
        query={"model": "The name of a model.", "version": "A version or an alias."},
        other_bodies={
            "text/csv": {
                "schema": {"type": "string"},
                "examples": {"example": {"value": "distance,hour\n1400,5\n529,18\n"}},
            }
        },
        errors={
            415: {
                "text/plain": {"schema": {"type": "string"}},
                "application/json": {"schema": {"$ref": "#/components/schemas/MlflowError"}},
            }
        },
    ),
    *(
        Operation(
            "GET",
            path,
            "mlflow",
            "Does every model answer?",
            BLANK,
            statuses=(503,),
            errors={503: {"application/json": {}}},
            answered="One empty line, as MLflow's own server answers.",
        )
        for path in ("/ping", "/health")
    ),
    Operation("GET", "/version", "mlflow", "The version of Renewal", "", kind="text/plain"),
)
