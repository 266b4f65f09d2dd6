"""The table of scopes: what each path needs, and that none is opened by a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.serve.needs import scope_of, scope_of_call

OPEN = None
MODEL = "v2/models/m"


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "", OPEN),
        ("GET", "ping", OPEN),
        ("GET", "health", OPEN),
        ("GET", "v2/health/live", OPEN),
        ("HEAD", "v2/health/ready", OPEN),
        ("GET", f"{MODEL}/ready", OPEN),
        ("GET", f"{MODEL}/versions/3/ready", OPEN),
        ("GET", "v1/models/m", OPEN),
        ("GET", "v2", "any"),
        ("GET", "version", "any"),
        ("GET", "openapi.json", OPEN),
        ("GET", "v2/models", "any"),
        ("GET", "v1/models", "any"),
        ("GET", MODEL, "any"),
        ("GET", f"{MODEL}/versions/3", "any"),
        ("GET", "v1/models/m/metadata", "any"),
        ("GET", "v1/models/m/versions/3", "any"),
        ("POST", "v2/repository/index", "any"),
        ("POST", f"{MODEL}/infer", "predict"),
        ("POST", f"{MODEL}/versions/3/infer", "predict"),
        ("POST", f"{MODEL}/generate_stream", "predict"),
        ("POST", "v1/models/m:predict", "predict"),
        ("POST", "v1/models/m/versions/3:classify", "predict"),
        ("POST", "v1/models/m/labels/champion:regress", "predict"),
        ("POST", "invocations", "predict"),
        ("POST", "feedback", "feedback"),
        ("POST", f"{MODEL}/feedback", "feedback"),
        ("POST", "v2/repository/models/m/load", "operate"),
        ("POST", "v2/repository/models/m/unload", "operate"),
        ("GET", "metrics", "operate"),
        ("GET", "v2/models/stats", "operate"),
        ("GET", f"{MODEL}/stats", "operate"),
        ("GET", f"{MODEL}/versions/3/config", "operate"),
        ("POST", "v2/logging", "operate"),
        ("GET", "v2/trace/setting", "operate"),
        ("GET", f"{MODEL}/trace/setting", "operate"),
        # What is not there yet.
        ("GET", "nothing", "any"),
        ("POST", "docs", "operate"),
        ("POST", "nothing", "operate"),
        ("DELETE", MODEL, "operate"),
        # Names that look like verbs.
        ("GET", "v2/models/ready", "any"),
        ("GET", f"{MODEL}/versions/ready", "any"),
        ("GET", "v2/models/feedback", "any"),
        ("GET", "v2/models/config/ready", OPEN),
        ("POST", "v2/repository/models/infer/load", "operate"),
        ("POST", "v2/repository/models/predict/unload", "operate"),
        ("POST", f"{MODEL}/ready", "operate"),
        ("POST", "v2/health/ready", "operate"),
        ("GET", "v2/health/ready/more", "any"),
        ("GET", "v1/models/m:unknown", OPEN),
    ],
)
def test_what_a_path_needs(method: str, path: str, need: str | None) -> None:
    assert scope_of(method, tuple(part for part in path.split("/") if part)) == need


WORDS = ["v1", "v2", "models", "m", "versions", "ready", "health", "live", "infer", "load", "stats"]


@given(st.sampled_from(["POST", "PUT", "DELETE", "PATCH"]), st.lists(st.sampled_from(WORDS)))
def test_what_changes_something_is_never_open(method: str, path: list[str]) -> None:
    assert scope_of(method, tuple(path)) in {"predict", "feedback", "operate", "any"}
    if path and path[-1] in {"load", "stats"} and len(path) > 3:
        assert scope_of(method, tuple(path)) == "operate"


@pytest.mark.parametrize(
    ("name", "need"),
    [
        ("/inference.GRPCInferenceService/ServerLive", OPEN),
        ("/inference.GRPCInferenceService/ModelReady", OPEN),
        ("/grpc.health.v1.Health/Watch", OPEN),
        ("/inference.GRPCInferenceService/ServerMetadata", "any"),
        ("/inference.GRPCInferenceService/RepositoryIndex", "any"),
        ("/inference.GRPCInferenceService/ModelStreamInfer", "predict"),
        ("ModelInfer", "predict"),
        ("ModelConfig", "operate"),
        ("ModelStatistics", "operate"),
        ("RepositoryModelLoad", "operate"),
        ("SystemSharedMemoryRegister", "operate"),
        ("WhateverComes", "operate"),
    ],
)
def test_what_a_call_needs(name: str, need: str | None) -> None:
    assert scope_of_call(name) == need
