"""The rows of a request of the protocol, by whichever of its forms they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.spec import Signature
from renewal.data.frame import conform
from renewal.serve.features import Features
from renewal.serve.oip import InferRequest, decode_request, read_columns
from renewal.serve.oip_binary import header_length, values_after, whole_body
from renewal.serve.oip_input import WHO, Values, Wanted
from renewal.serve.oip_matrix import (
    NumberRequest,
    decode_numbers,
    layout_of,
    matrix_of_numbers,
    matrix_of_values,
)

Asked = InferRequest | NumberRequest


@dataclass(slots=True)
class OipRows:
    """The rows of a request as tensors, and what the answer needs to know of it.

    Parameters
    ----------
    asked : InferRequest or NumberRequest or None
        The JSON; None: there is none, the whole body is the one input.
    body : bytes
        The JSON again, or that input.
    values : list of (array or list of bytes or None), or None, default None
        What came as bytes; None: nothing.
    wanted : sequence of Wanted or None, default None
        How the client wants each output.
    all_binary : bool, default False
        Whether outputs of which it says nothing are binary.
    accept_encoding : bytes or None, default None
        How it takes the answer.
    """

    asked: Asked | None
    body: bytes
    values: Sequence[Values | None] | None = None
    wanted: Sequence[Wanted] | None = None
    all_binary: bool = False
    accept_encoding: bytes | None = None

    def read(self, interface: Signature, needed: frozenset[str]) -> Features:
        """Return the rows in the columns of a model; see `renewal.serve.query.Source`."""
        if isinstance(self.asked, NumberRequest):
            return self._read(interface, needed)
        # Bytes are the client's: a signalling NaN among them must not warn when it is widened.
        with np.errstate(invalid="ignore"):
            return self._read(interface, needed)

    def _read(self, interface: Signature, needed: frozenset[str]) -> Features:
        layout = layout_of(interface)
        matrix = None
        asked = self.asked
        if layout.is_matrix and asked is not None:
            if isinstance(asked, NumberRequest):
                matrix = matrix_of_numbers(asked.inputs, layout, needed)
            elif self.values is not None:
                matrix = matrix_of_values(asked.inputs, self.values, layout, needed)
        if matrix is not None:
            return Features(interface, matrix=matrix)
        return Features(interface, table=self._table(interface, needed))

    def _table(self, interface: Signature, needed: frozenset[str]) -> pa.Table:
        request, values = self.asked, self.values
        if request is None:
            tensor, found = whole_body(interface, self.body)
            request, values = InferRequest([tensor]), [found]
        elif isinstance(request, NumberRequest):
            request = decode_request(self.body)
        try:
            table = read_columns(request, interface, values)
            return _conformed(table, interface, needed)
        except pa.ArrowException as error:
            raise Invalid(
                WHO,
                needs="values that fit the columns of the model",
                came=str(error),
                todo="Send numbers that 64 bits hold exactly.",
            ) from error


def json_rows(body: bytes) -> OipRows:
    """Return the rows of a body that is JSON.

    Raises
    ------
    Invalid
        When it is none, or binary data should follow it.
    """
    numbers = decode_numbers(body)
    if numbers is not None:
        return OipRows(numbers, body)
    request = decode_request(body)
    if any(each.parameters for each in request.inputs):
        values_after(request.inputs, b"", is_binary=False)
    return OipRows(request, body)


def binary_rows(body: bytes, said: bytes) -> OipRows:
    """Return the rows of a body of which a header says how much is JSON.

    Parameters
    ----------
    body : bytes
        JSON, then binary data.
    said : bytes
        The header.

    Raises
    ------
    Invalid
        When they do not go together.
    """
    n_json = header_length(said, len(body))
    if n_json == 0:
        return OipRows(None, body, all_binary=True)
    head = body[:n_json]
    request = decode_request(head)
    values = values_after(request.inputs, memoryview(body)[n_json:], is_binary=True)
    return OipRows(request, head, values)


def parameters_of(source: OipRows) -> dict[str, Any]:
    """Return the parameters of a request; empty where there are none."""
    return (source.asked.parameters if source.asked is not None else None) or {}


def _conformed(table: pa.Table, interface: Signature, needed: frozenset[str]) -> pa.Table:
    """Return the rows in the columns of a model; those that no version reads may be missing."""
    if len(needed) < len(interface.fields):
        there = set(table.column_names)
        for field in interface.fields:
            if field.nullable and field.name not in needed and field.name not in there:
                table = table.append_column(field.name, pa.nulls(table.num_rows))
    return conform(table, interface, who=WHO)
