"""What all ways to quantize a graph share: the checks before, the knob, the checks after."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.onnx_layers import MIN_WEIGHTS, Layer, Proto, parsed
from renewal.compress.onnx_sensitivity import most_sensitive
from renewal.core.errors import Invalid
from renewal.models.onnx_feed import output_of
from renewal.models.onnx_model import OnnxModel

_FRACTIONS = (0.75, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05, 0.0)
# Rows that are run in all to rank layers: fewer of them for each where there are many layers.
_RANK_FORWARDS = 2048
_MOST_RANK_ROWS = 256
_FEWEST_RANK_ROWS = 32
_CHECK_ROWS = 64


def why_not_layers(
    form: Form, find: Callable[[Proto], Sequence[Layer]], *, ops: Iterable[str], who: str
) -> str | None:
    """Return why a graph has nothing to quantize, as one sentence; None when it has."""
    try:
        output_of(form.estimator)
        layers = find(parsed(form.estimator.graph, who=who))
    except Invalid as error:
        return f"the graph cannot be read or run: {error}"
    return None if layers else _no_layer(ops)


def demand_share(keep: float, *, who: str) -> None:
    """Refuse a share of layers that is none.

    Raises
    ------
    Invalid
        When it is below 0, or 1 and above: then nothing would be quantized.
    """
    if not 0.0 <= keep < 1.0:
        raise Invalid(
            who,
            needs="keep from 0 to below 1: the share of the layers that stay float32",
            came=f"keep={keep}",
            todo="Choose 0 to quantize all layers.",
        )


def shares(n_layers: int, *, ranked: bool) -> tuple[float, ...]:
    """Return values of `keep` from mild to strong, each another number of layers.

    Parameters
    ----------
    n_layers : int >= 1
        That could be quantized.
    ranked : bool
        Whether there are rows to rank them with; without, all are quantized.

    Examples
    --------
    >>> shares(4, ranked=True)
    (0.75, 0.5, 0.25, 0.0)
    >>> shares(1, ranked=True)
    (0.0,)
    """
    if not ranked:
        return (0.0,)
    counts = {n_kept(fraction, n_layers) for fraction in _FRACTIONS}
    return tuple(round(count / n_layers, 4) for count in sorted(counts, reverse=True))


def n_kept(keep: float, n_layers: int) -> int:
    """Return how many layers a share of them is; at least one is left to quantize."""
    return min(round(keep * n_layers), n_layers - 1)


def kept_layers(
    form: Form,
    proto: Proto,
    layers: Sequence[Layer],
    material: Material,
    *,
    keep: float,
    activations: bool,
    who: str,
) -> list[Layer]:
    """Return the layers that stay float32: the most sensitive ones, per byte.

    Raises
    ------
    Invalid
        When there is no layer, or some are to be kept and no row is there to rank them with.
    """
    if not layers:
        raise Invalid(
            who,
            needs="a layer to quantize",
            came="a graph without one",
            todo="Leave this step out; why_not says what a layer is.",
        )
    count = n_kept(keep, len(layers))
    if count == 0:
        return []
    n_rows = min(int(material.effort * _RANK_FORWARDS) // len(layers), _MOST_RANK_ROWS)
    features = few_features(form, material, max(n_rows, _FEWEST_RANK_ROWS))
    if features.num_rows == 0:
        raise Invalid(
            who,
            needs="training rows to compare layers on",
            came="none",
            todo="Quantize all layers (keep=0), or hand in rows.",
        )
    order = most_sensitive(form.estimator, proto, layers, features, activations=activations)
    return order[:count]


def few_features(form: Form, material: Material, n_rows: int) -> pa.Table:
    """Return the columns of some training rows, each class in its proportion."""
    at = material.few(n_rows)
    return material.train.take(at).features.select(list(form.signature.names))


def rebuilt(form: Form, proto: Proto, material: Material, *, who: str) -> Form:
    """Return the form with another graph, once it is known to answer.

    Classes, output, reading of the scores, signature and score map are those of `form`.

    Raises
    ------
    Invalid
        When ONNX Runtime does not run the graph, or its scores are none.
    """
    if form.estimator.addition is not None:
        raise Invalid(
            who,
            needs="a graph that holds all of its weights",
            came="one with an addition, which its base knows nothing of",
            todo="Compress the base, or what onnx_lora_model.melted returns.",
        )
    _strip(proto)
    graph: bytes = proto.SerializeToString(deterministic=True)
    model: OnnxModel = replace(form.estimator, graph=graph)
    made = replace(form, estimator=model)
    output_of(model)
    features = few_features(form, material, _CHECK_ROWS)
    scores = made.predict(features)
    if not np.isfinite(scores).all():
        raise Invalid(
            who,
            needs="a graph whose scores are finite",
            came=f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores that are not",
            todo="Keep more layers, or leave this step out.",
        )
    return made


def _strip(proto: Proto) -> None:
    """Remove what no prediction reads: notes of exporters and quantizers, inferred shapes.

    A tenth of a small network in bytes.
    """
    said = [each for each in proto.metadata_props if not each.key.startswith("onnx.")]
    said = [type(each).FromString(each.SerializeToString()) for each in said]
    del proto.metadata_props[:]
    proto.metadata_props.extend(said)
    del proto.graph.value_info[:]
    for each in (*proto.graph.node, *proto.graph.initializer):
        each.doc_string = ""
        del each.metadata_props[:]


def _no_layer(ops: Iterable[str]) -> str:
    return (
        f"the graph has no layer to quantize: no {', '.join(ops)} with {MIN_WEIGHTS} or more "
        "finite float32 weights that are constants"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the quantizer of ONNX Runtime says to the root logger out of the log.

    It logs there directly, advice that is followed here already; and where the root has no
    handler, that call would set one up for the whole process.
    """
    root = logging.getLogger()
    silent = logging.NullHandler()
    root.addHandler(silent)
    root.addFilter(_is_ours)
    try:
        yield
    finally:
        root.removeFilter(_is_ours)
        root.removeHandler(silent)


def _is_ours(record: logging.LogRecord) -> bool:
    return "quantization" not in Path(record.pathname).parts
