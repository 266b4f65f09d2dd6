"""The bodies and answers of every protocol, as JSON Schema, for the OpenAPI page."""

from __future__ import annotations

from typing import Any

from renewal.serve.mlflow_front import CODES

Schema = dict[str, Any]


def _object(required: str = "", /, **properties: Any) -> Schema:
    """Return the schema of an object; further keys are ignored where it comes in."""
    found: Schema = {"type": "object", "properties": properties}
    if required:
        found["required"] = required.split()
    return found


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _of(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_ANY: Schema = {}
_TEXT: Schema = {"type": "string"}
_BOOL: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXTS = _list(_TEXT)
_SHAPE = _list({"type": "integer", "minimum": -1})
_FACT = {
    "description": "One value, or one for each row.",
    "anyOf": [_TEXT, {"type": "integer"}, _list({"type": ["string", "integer"]})],
}
_FACTS = {
    "key": _FACT,
    "sticky": _FACT,
    "group": _FACT,
    "block": _FACT,
    "event_time": {**_FACT, "description": "ISO-8601 with its zone, or microseconds since 1970."},
}
_DATATYPE = {
    "type": "string",
    "enum": [
        "BOOL", "BYTES", "FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64",
        "UINT8", "UINT16", "UINT32", "UINT64",
    ],
}  # fmt: skip
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_LABEL: Schema = {"type": ["string", "integer", "number", "boolean", "null"]}
_ARRIVED: Schema = {
    "type": ["string", "integer", "null"],
    "description": "When the label came: ISO-8601, or microseconds since 1970; now by default.",
}
_ENTRY = {
    "label": _LABEL,
    "prediction_id": {"type": ["string", "null"]},
    "key": {"type": ["string", "integer", "null"]},
    "arrived_at": _ARRIVED,
}

_COMMON: dict[str, Schema] = {
    "Error": {
        "description": "What went wrong: who needs what, what came, what to do.",
        **_object("error", error=_TEXT),
        "additionalProperties": False,
    },
    "Anything": _ANY,
    "Page": _object("openapi paths", openapi=_TEXT, paths={"type": "object"}),
    "Models": _object("models", models=_TEXTS),
}

_V2: dict[str, Schema] = {
    "InferRequest": _object(
        "inputs",
        id={"type": ["string", "null"]},
        parameters={
            "description": "What is said of the rows; other names are ignored.",
            "anyOf": [
                _object(
                    **_FACTS,
                    timeout={"description": "Microseconds.", "type": "integer", "minimum": 0},
                    binary_data_output=_BOOL,
                ),
                {"type": "null"},
            ],
        },
        inputs=_list(_of("InputTensor"), minItems=1),
        outputs={
            "description": "Left out: all of them.",
            "anyOf": [
                _list(_object("name", name=_TEXT, parameters={"type": ["object", "null"]})),
                {"type": "null"},
            ],
        },
    ),
    "InputTensor": {
        "description": "A column, of shape [n] or [n, 1]; or all of them as one matrix.",
        **_object(
            "name shape datatype",
            name=_TEXT,
            shape=_list(_COUNT),
            datatype=_DATATYPE,
            parameters={"type": ["object", "null"]},
            data={"description": "Flat or nested, row by row; a gap is null.", "type": "array"},
        ),
    },
    "OutputTensor": _object(
        "name shape datatype",
        name=_TEXT,
        shape=_list(_COUNT),
        datatype=_DATATYPE,
        parameters={"type": "object"},
        data={"type": "array"},
    ),
    "Answered": _object("prediction_id version arm", prediction_id=_TEXT, version=_TEXT, arm=_TEXT),
    "InferResponse": _object(
        "model_name model_version id parameters outputs",
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_of("Answered"),
        outputs=_list(_of("OutputTensor")),
    ),
    "Live": _object("live", live=_BOOL),
    "ServerReady": _object(
        "ready live",
        ready=_BOOL,
        live=_BOOL,
        failures={"type": "object", "additionalProperties": _TEXT},
    ),
    "Server": _object("name version extensions", name=_TEXT, version=_TEXT, extensions=_TEXTS),
    "TensorMetadata": _object(
        "name datatype shape",
        name=_TEXT,
        datatype=_DATATYPE,
        shape=_SHAPE,
        parameters={"type": "object"},
    ),
    "Model": _object(
        "name versions platform inputs outputs",
        name=_TEXT,
        versions=_TEXTS,
        platform=_TEXT,
        inputs=_list(_of("TensorMetadata")),
        outputs=_list(_of("TensorMetadata")),
        parameters={"type": "object"},
    ),
    "ModelReady": _object("name ready", name=_TEXT, ready=_BOOL, failure=_TEXT),
    "Config": _object(
        "name platform input output",
        name=_TEXT,
        platform=_TEXT,
        backend=_TEXT,
        max_batch_size=_COUNT,
        input=_list({"type": "object"}),
        output=_list({"type": "object"}),
        parameters={"type": "object"},
    ),
    "Statistics": _object(
        "model_stats",
        model_stats=_list(
            _object(
                "name version inference_count execution_count inference_stats",
                name=_TEXT,
                version=_TEXT,
                inference_count=_COUNT,
                execution_count=_COUNT,
                last_inference=_COUNT,
                inference_stats={
                    "type": "object",
                    "additionalProperties": _object("count ns", count=_COUNT, ns=_COUNT),
                },
                batch_stats=_list({"type": "object"}),
            )
        ),
    ),
}

_OPERATING: dict[str, Schema] = {
    "IndexRequest": _object(ready=_BOOL),
    "Index": _list(
        _object(
            "name version state reason",
            name=_TEXT,
            version=_TEXT,
            state={"type": "string", "enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]},
            reason=_TEXT,
        )
    ),
    "LoadRequest": _object(parameters={"type": ["object", "null"]}),
    "Loaded": _object("name load", name=_TEXT, load=_BOOL),
    "Unloaded": _object("name unload", name=_TEXT, unload=_BOOL),
    "Labels": {
        "description": "One label, or many under `labels`; each names a prediction or a key.",
        **_object(
            **_ENTRY,
            model={"type": ["string", "null"]},
            labels={"anyOf": [_list(_object(**_ENTRY), minItems=1), {"type": "null"}]},
        ),
    },
    "Taken": _object("n_labels n_waiting", n_labels=_COUNT, n_waiting=_COUNT),
}

_ROWS = {"type": "array", "minItems": 1}
_V1: dict[str, Schema] = {
    "V1Request": {
        **_object(
            instances=_ROWS,
            inputs={"type": ["array", "object"]},
            signature_name={"enum": ["", "serving_default", None]},
            parameters={"anyOf": [_object(**_FACTS), {"type": "null"}]},
        ),
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    },
    "V1Response": {
        **_object(
            "parameters",
            predictions={"type": "array"},
            outputs=_ANY,
            parameters=_of("Answered"),
            versions=_TEXTS,
        ),
        "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
    },
    "Alive": _object("status", status={"const": "alive"}),
    "V1Status": _object(
        "name ready model_version_status",
        name=_TEXT,
        ready=_BOOL,
        failure=_TEXT,
        model_version_status=_list(
            _object(
                "version state status",
                version=_TEXT,
                state={
                    "type": "string",
                    "enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"],
                },
                status=_object("error_code error_message", error_code=_TEXT, error_message=_TEXT),
            )
        ),
    ),
    "V1Metadata": _object(
        "model_spec metadata",
        model_spec=_object(
            "name signature_name version", name=_TEXT, signature_name=_TEXT, version=_TEXT
        ),
        metadata=_object("signature_def", signature_def={"type": "object"}),
    ),
}

_MLFLOW: dict[str, Schema] = {
    "MlflowRequest": {
        **_object(
            dataframe_split=_object(
                "data", columns=_list({"type": ["string", "integer"]}), data=_ROWS
            ),
            dataframe_records=_ROWS,
            instances=_ROWS,
            inputs={"type": ["array", "object"]},
            params={
                "anyOf": [
                    _object(
                        **_FACTS,
                        model=_TEXT,
                        version={"type": ["string", "integer"]},
                        predict_method={"enum": ["predict", "predict_proba"]},
                    ),
                    {"type": "null"},
                ]
            },
        ),
        "oneOf": [{"required": [form]} for form in _FORMS],
    },
    "MlflowResponse": _object(
        "predictions parameters",
        predictions={"type": "array"},
        parameters=_of("Answered"),
        versions=_TEXTS,
    ),
    "MlflowError": {
        **_object(
            "error_code message",
            error_code={"type": "string", "enum": sorted({*CODES.values(), "INTERNAL_ERROR"})},
            message=_TEXT,
        ),
        "additionalProperties": False,
    },
}

SCHEMAS: dict[str, Schema] = {**_COMMON, **_V2, **_OPERATING, **_V1, **_MLFLOW}
"""By the names that the tables of `renewal.serve.openapi` refer to."""
