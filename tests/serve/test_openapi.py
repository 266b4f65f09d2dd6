"""The OpenAPI page: it names every path that is answered, and nothing else, and it is true."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta
from sklearn.linear_model import LinearRegression

from renewal.serve.needs import scope_of
from renewal.serve.openapi import OPERATIONS, document
from renewal.serve.openapi_operation import Operation
from renewal.serve.routes import FRONTS, PAGES

NAMED = {"{model}": "flights", "{version}": "1", "{label}": "champion"}


@pytest.fixture(scope="module")
def server(shared_home: Any) -> Any:
    shared_home.declare()
    first, second = shared_home.version(seed=0), shared_home.version(seed=1)
    shared_home.champion(first)
    shared_home.canary(first, second, 0.5, shadow=False)
    shared_home.declare("delays", task="regression")
    delays = shared_home.version("delays", estimator=LinearRegression())
    shared_home.champion(delays)
    shared_home.steady(delays)
    return shared_home.start()


@pytest.fixture(scope="module")
def client(server: Any, shared_home: Any) -> Any:
    return shared_home.client(server)


def path_of(operation: Operation) -> str:
    """Return a path that is there; unloading would take the model from the other tests."""
    path = operation.path
    if path.endswith("/unload"):
        path = path.replace("{model}", "nobody")
    for name, value in NAMED.items():
        path = path.replace(name, value)
    return path


def asked(client: Any, operation: Operation) -> tuple[int, str, bytes]:
    """Send an operation its own example; its columns are not those of the model here."""
    body = operation.example
    client.connection.request(
        operation.method,
        path_of(operation),
        json.dumps(body) if body is not None else None,
        {"Content-Type": "application/json"} if body is not None else {},
    )
    answer = client.connection.getresponse()
    return answer.status, answer.headers["content-type"], answer.read()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_every_path_of_the_page_is_answered_as_it_says(client: Any, operation: Operation) -> None:
    """Breaks when a path is described that is not there, or answers in another form."""
    status, kind, body = asked(client, operation)
    described = document()["paths"][operation.path][operation.method.lower()]["responses"]
    assert b"no such path" not in body
    assert status not in {405, 413}
    assert str(status) in described, (status, body)
    check(described[str(status)], kind, body)


def check(described: Any, kind: str, body: bytes) -> None:
    """Hold an answer against its description."""
    media = next(
        found
        for name, found in described["content"].items()
        if name.partition(";")[0] == kind.partition(";")[0]
    )
    if "schema" in media and kind.startswith("application/json"):
        schema = {**media["schema"], "components": document()["components"]}
        Draft202012Validator(schema).validate(json.loads(body))


def test_every_word_of_a_front_or_a_page_stands_in_a_path() -> None:
    """Breaks when a front or a page answers what the page does not describe."""
    described = {
        word for each in OPERATIONS for word in re.split(r"[/:]", each.path) if "{" not in word
    }
    names = {each.__module__ for each in (*PAGES, *(type(front) for front in FRONTS))}
    words = {word for name in names for word in words_of(inspect.getsource(sys.modules[name]))}
    assert {"v2", "infer", "ready", "invocations", "metadata", "metrics"} <= words
    assert words <= described, words - described


def words_of(source: str) -> set[str]:
    """Return the texts of patterns, and those of lists and tuples that stand for a path."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.MatchValue):
            found |= texts_in(node.value)
        elif isinstance(node, ast.Compare | ast.Dict | ast.Assign):
            for each in ast.walk(node):
                if isinstance(each, ast.Tuple | ast.List) and each.elts:
                    texts = [texts_in(one) for one in each.elts]
                    is_path = bool(texts[0] & {"v1", "v2", "metrics", "invocations"})
                    if all(texts) and (is_path or isinstance(node, ast.Compare)):
                        found |= set().union(*texts)
    return found


def texts_in(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    return set()


def test_the_page_is_valid_openapi() -> None:
    """Breaks on a reference to nothing, a doubled id, or an example that its schema refuses."""
    page = document()
    assert page["openapi"].startswith("3.1.")
    schemas = page["components"]["schemas"]
    for reference in re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(page)):
        assert reference in schemas
    for schema in schemas.values():
        meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
    ids = [each.name for each in OPERATIONS]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in page["tags"]}
    for each in OPERATIONS:
        assert each.tag in tags
        if each.example is not None:
            schema = {"$ref": f"#/components/schemas/{each.asks}", "components": page["components"]}
            Draft202012Validator(schema).validate(each.example)


def test_the_page_says_which_scope_a_path_needs() -> None:
    paths = document()["paths"]
    infer = paths["/v2/models/{model}/infer"]["post"]
    assert "scope `predict`" in infer["description"]
    assert scope_of("GET", ("v2", "health", "live")) is None
    assert paths["/v2/health/live"]["get"]["security"] == []
    assert "401" not in paths["/v2/health/live"]["get"]["responses"]


def test_the_page_for_people_needs_nothing_from_elsewhere(client: Any) -> None:
    client.connection.request("GET", "/docs")
    answer = client.connection.getresponse()
    text = answer.read().decode()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    # Whatever a browser would load: sources, styles, imports, fetches.
    links = re.findall(r"""(?:src|href|url\(|import|fetch\()\s*=?\s*["'`(]?([^"'`)\s>]+)""", text)
    assert links
    assert not [link for link in links if link.startswith(("http", "//"))]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_the_page_is_read_only(client: Any, path: str) -> None:
    assert client.send("POST", path, {}).status == 405


def test_what_the_page_allows_and_forbids_is_answered_as_it_says(
    server: Any, client: Any, tmp_path: Path
) -> None:
    """Schemathesis: no crash, no undocumented status, no answer of another form."""
    (tmp_path / "schemathesis.toml").write_text(
        '[parameters]\n"path.model" = "flights"\n'
        '"path.version" = "1"\n"path.label" = "champion"\n'
        "[checks.not_a_server_error]\nexpected-statuses = [200, 400, 404, 405, 413, 415, 501]\n",
        encoding="utf-8",
    )
    command: list[str | Path] = [
        Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json",
        "--max-examples", "5", "--seed", "1", "--phases", "examples,coverage,fuzzing",
        "--exclude-path-regex", "load$", "--exclude-checks",
        # A body of the right form may still not fit the columns of the model.
        "positive_data_acceptance,negative_data_rejection",
        "--warnings", "off", "--no-color", "--request-timeout", "30",
    ]  # fmt: skip
    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert client.send("GET", "/v2/health/ready").status == 200
