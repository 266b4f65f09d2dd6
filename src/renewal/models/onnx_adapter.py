"""The adapter of ONNX: graphs that came from elsewhere, to be recalibrated and compressed.

References
----------
.. [1] https://onnx.ai/onnx/intro/concepts.html
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.spec import Signature
from renewal.core.version import Manifest
from renewal.models.contract import Capabilities, Way, Weights
from renewal.models.labels import Labels
from renewal.models.onnx_bytes import dump_model, load_model
from renewal.models.onnx_feed import feed_of, output_of
from renewal.models.onnx_lora import Addition
from renewal.models.onnx_lora_model import base_of, digest_of_base, with_addition
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_scored import scored, sorted_scores
from renewal.models.onnx_served import GraphRuntime
from renewal.models.onnx_shared import open_version
from renewal.models.space import Space
from renewal.models.task import Classes, Scores
from renewal.store.contract import Store

_NO_RECIPE = "a graph came without the recipe and the weights' optimizer: it can only predict"


class OnnxAdapter:
    """Predicts with graphs of any framework; their weights stay as they are.

    This is how models of TensorFlow and Keras come in (``model.export("m.onnx",
    format="onnx")``, or the package tf2onnx), and whatever else writes ONNX: build an
    `OnnxModel` with `OnnxModel.read` and register it. A graph has no recipe, so it is
    recalibrated and compressed, and neither fitted nor trained on; to retrain it, register a
    recipe of another framework as its successor.

    Notes
    -----
    Classical models that Renewal fits are also *compiled* to ONNX for serving; that is
    `renewal.models.onnx`, and not this.

    Examples
    --------
    >>> from onnx import TensorProto, helper
    >>> one = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 2])
    >>> two = helper.make_tensor_value_info("p", TensorProto.DOUBLE, [None, 2])
    >>> graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["p"])], "g", [one], [two])
    >>> opsets = [helper.make_opsetid("", 17)]
    >>> proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    >>> model = OnnxModel.read(proto, classes=("early", "late"))
    >>> rows = pa.table({"a": [0.0, 1.0], "b": [0.0, 0.0]})
    >>> OnnxAdapter().predict(model, rows).round(2).tolist()
    [[0.5, 0.5], [0.73, 0.27]]
    """

    name: str = "onnx"
    reads_forward: tuple[str, ...] = ("onnxruntime",)

    def accepts(self, estimator: Any) -> bool:
        """Say whether `estimator` is an `OnnxModel` or an `onnx.ModelProto`."""
        return isinstance(estimator, OnnxModel | onnx.ModelProto)

    def capabilities(self, estimator: Any) -> Capabilities:  # noqa: ARG002  # the same for all
        """Say that a graph only predicts."""
        missing = ("partial_fit", "continue", "new_classes", "layers", "refit")
        return Capabilities(
            can_partial_fit=False, can_refit=False, why_not=dict.fromkeys(missing, _NO_RECIPE)
        )

    def fit(
        self,
        estimator: Any,  # noqa: ARG002  # part of the contract
        features: pa.Table,  # noqa: ARG002  # part of the contract
        labels: Labels,  # noqa: ARG002  # part of the contract
        *,
        names: bool = True,  # noqa: ARG002  # part of the contract
        seed: int | None = None,  # noqa: ARG002  # part of the contract
        weights: Weights | None = None,  # noqa: ARG002  # part of the contract
    ) -> OnnxModel:
        """Refuse: there is no recipe."""
        raise _impossible("OnnxAdapter.fit")

    def partial_fit(
        self,
        estimator: Any,  # noqa: ARG002  # part of the contract
        features: pa.Table,  # noqa: ARG002  # part of the contract
        labels: Labels,  # noqa: ARG002  # part of the contract
        *,
        seed: int | None = None,  # noqa: ARG002  # part of the contract
    ) -> OnnxModel:
        """Refuse: a graph only predicts."""
        raise _impossible("OnnxAdapter.partial_fit")

    def continue_fit(
        self,
        estimator: Any,  # noqa: ARG002  # part of the contract
        features: pa.Table,  # noqa: ARG002  # part of the contract
        labels: Labels,  # noqa: ARG002  # part of the contract
        *,
        way: Way,  # noqa: ARG002  # part of the contract
        rounds: int = 10,  # noqa: ARG002  # part of the contract
        decay: float = 0.9,  # noqa: ARG002  # part of the contract
        seed: int | None = None,  # noqa: ARG002  # part of the contract
    ) -> OnnxModel:
        """Refuse: a graph only predicts."""
        raise _impossible("OnnxAdapter.continue_fit")

    def params(self, estimator: Any) -> Mapping[str, Any]:  # noqa: ARG002  # it has none
        """Return nothing: there is no recipe."""
        return {}

    def with_params(self, estimator: Any, params: Mapping[str, Any]) -> Any:  # noqa: ARG002  # part of the contract
        """Refuse: there is no recipe."""
        raise _impossible("OnnxAdapter.with_params")

    def search_space(self, estimator: Any) -> Space:  # noqa: ARG002  # it has none
        """Return nothing: there is no recipe."""
        return {}

    def predict(self, estimator: Any, features: pa.Table) -> Scores:
        """Return probabilities of shape (n_rows, n_classes), or values of shape (n_rows, 1).

        Parameters
        ----------
        estimator : OnnxModel
            The graph.
        features : pyarrow.Table
            The columns in the order of the signature; see `onnx_feed.feed_of`. A graph with
            a front takes its columns by name, in batches.

        Raises
        ------
        Invalid
            When an input has no column, the graph does not take the rows, or what it answers
            are no probabilities.
        """
        model = _model(estimator)
        if features.num_rows == 0:
            return np.empty((0, len(model.classes) or 1))
        outputs = [output_of(model)]
        if model.columns is None:
            scores = scored(model, outputs, feed_of(model, features), features.num_rows)
        else:
            scores = np.empty((features.num_rows, len(model.classes) or 1))
            for at, feed in model.columns.batches(features):
                scores[at] = scored(model, outputs, feed, len(at))
        return sorted_scores(model, scores)

    def classes(self, estimator: Any) -> Classes:
        """Return what the columns of the scores mean, sorted; empty for a regression."""
        return tuple(sorted(_model(estimator).classes))

    def dump(self, estimator: Any) -> bytes:
        """Return the graph, with a line before it that says how to read its answer.

        Of a model with an addition the addition alone.

        It is packed where that saves a tenth or more: weights that are zero by pruning then
        take next to nothing on disk, while dense ones, which hardly shrink, load as they are.
        """
        model = _model(estimator)
        return dump_model(model) if model.addition is None else model.addition

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> OnnxModel:  # noqa: ARG002  # a graph names no types
        """Return the model in `data`; a graph holds operators and numbers, and no code.

        Raises
        ------
        Invalid
            On bytes of another format, damaged ones, or weights in other files.
        """
        return load_model(data)

    def base_digest(self, estimator: Any) -> str | None:
        """Return the digest of the base of an addition; None: there is none."""
        model = _model(estimator)
        return None if model.addition is None else digest_of_base(model)

    def dump_base(self, estimator: Any) -> bytes:
        """Return the bytes of the base of an addition."""
        return dump_model(base_of(_model(estimator)))

    def load_onto(self, base: OnnxModel, data: bytes, trust: tuple[str, ...] = ()) -> OnnxModel:  # noqa: ARG002  # matrices name no types
        """Return `base` with the addition in `data`; they share a session.

        Raises
        ------
        Corrupt
            When the addition was made for another base.
        Invalid
            On damaged bytes, or matrices that the base has no place for.
        """
        return with_addition(base, Addition.from_bytes(data))

    def ready(self, estimator: Any, signature: Signature) -> Any:  # noqa: ARG002  # part of the contract
        """Return the model with its session open, so that no request waits for it.

        Raises
        ------
        Missing
            When its front needs Pillow or tokenizers, and they are not installed.
        """
        model = _model(estimator)
        output_of(model)
        if model.columns is not None:
            model.columns.ready()
        return model

    def open_runtime(self, manifest: Manifest, store: Store) -> GraphRuntime:
        """Return what serves a version, its session open; its score map is not in it.

        Raises
        ------
        Invalid
            As `load`, and when ONNX Runtime does not run the graph.
        NotFound, Corrupt
            As the store says.
        Missing
            As `ready`.
        """
        return GraphRuntime(open_version(manifest, store), manifest.signature)

    def environment(self) -> dict[str, str]:
        """Return the versions of Python and of the libraries that the bytes need."""
        return {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        }


def _model(estimator: Any) -> OnnxModel:
    return estimator if isinstance(estimator, OnnxModel) else OnnxModel.read(estimator)


def _impossible(who: str) -> Invalid:
    return Invalid(
        who,
        needs="an estimator with a recipe",
        came=_NO_RECIPE,
        todo="Recalibrate or compress it, or register a recipe of another framework.",
    )
