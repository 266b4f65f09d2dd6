"""Predictions by the Open Inference Protocol, version 2, over HTTP."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from renewal.core.errors import Invalid, RenewalError
from renewal.core.spec import Signature
from renewal.data.frame import conform
from renewal.serve.features import Features, is_all_floats
from renewal.serve.front import Request, Target
from renewal.serve.http import OK, Reply, reply_to
from renewal.serve.oip import InferRequest, decode_request, encode, output_tensors, read_columns
from renewal.serve.oip_input import WHO
from renewal.serve.outcome import Outcome
from renewal.serve.query import Query
from renewal.serve.works import Works

VERSION, PREDICTION_ID = b"x-renewal-version", b"x-renewal-prediction-id"


@dataclass(frozen=True, slots=True)
class OipRows:
    """The rows of a V2 request, as tensors."""

    request: InferRequest

    def read(self, interface: Signature, needed: frozenset[str]) -> Features:
        """Return the rows in the columns of a model; see `renewal.serve.query.Source`."""
        try:
            table = read_columns(self.request, interface)
            return Features(interface, table=_conformed(table, interface, needed))
        except pa.ArrowException as error:
            raise Invalid(
                WHO,
                needs="values that fit the columns of the model",
                came=str(error),
                todo="Send numbers that 64 bits hold exactly.",
            ) from error


class OipFront:
    """``POST /v2/models/{m}[/versions/{v}]/infer``."""

    def match(self, path: tuple[str, ...]) -> Target | None:
        """Return whom a path names."""
        match path:
            case ("v2", "models", model, "infer"):
                return Target(model)
            case ("v2", "models", model, "versions", version, "infer"):
                return Target(model, version)
        return None

    def read(self, request: Request, target: Target, works: Works) -> Query:
        """Read a request."""
        del works
        asked = decode_request(request.body)
        return Query(
            model=target.model or "",
            source=OipRows(asked),
            pinned=target.pinned,
            request_id=asked.id,
            parameters=asked.parameters,
            wanted=[each.name for each in asked.outputs] if asked.outputs else None,
        )

    def write(self, outcome: Outcome, request: Request, query: Query) -> Reply:
        """Write an answer."""
        del request, query
        body = encode(
            {
                "model_name": outcome.model,
                "model_version": outcome.number,
                "id": outcome.request_id,
                "parameters": outcome.parameters,
                "outputs": output_tensors(outcome.outputs, None),
            }
        )
        headers = {
            VERSION: outcome.version.encode(),
            PREDICTION_ID: outcome.prediction_id.encode(),
        }
        return Reply(OK, body, headers)

    def refuse(self, error: RenewalError) -> Reply:
        """Write an error."""
        return reply_to(error)


def _conformed(table: pa.Table, interface: Signature, needed: frozenset[str]) -> pa.Table:
    """Return the rows in the columns of a model; those that no version reads may be missing."""
    if len(needed) < len(interface.fields):
        there = set(table.column_names)
        for field in interface.fields:
            if field.nullable and field.name not in needed and field.name not in there:
                table = table.append_column(field.name, pa.nulls(table.num_rows))
    return conform(table, interface, who=WHO)


__all__ = ["OipFront", "OipRows", "is_all_floats"]
