"""The chains that a search tries where nobody names any, by what kind of model it is."""

from __future__ import annotations

import logging

from renewal.compress.chain import Chain, parse_chain
from renewal.compress.form import Form
from renewal.core.errors import Missing

_log = logging.getLogger(__name__)

_GRAPH = (
    "quantize.dynamic:*",
    "quantize.static:*",
    "prune.neurons:* > quantize.dynamic",
    "prune.neurons:* > quantize.static",
    "factorize.graph:* > quantize.dynamic",
    "factorize.graph:* > quantize.static",
    "prune.magnitude:*",
    "quantize.half",
)
_NETWORK = (
    "export.graph",
    *_GRAPH[:-2],
    "prune.channels:* > recover.distil:epochs=3 > quantize.static",
    "factorize.svd:* > recover.distil > quantize.static",
)
_LANGUAGE = (
    "factorize.graph:* > quantize.dynamic",
    "quantize.dynamic:*",
    "export.graph",
    "factorize.svd:energy=0.7 > recover.distil > quantize.dynamic",
    "prune.heads:* > recover.distil > quantize.dynamic",
    "distil.student:student=text_linear,*",
)
_CLASSICAL = (
    "prune.path:* > prune.forest:trees=50,slim=true",
    "prune.forest:leaves=256,slim=true,*",
    "prune.forest:slim=true,*",
    "prune.rounds:*",
    "prune.path:*",
    "prune.l1:*",
    "prune.features:*",
    "distil.student:student=boosting,*",
    "distil.student(student=linear)",
)
_BOOSTED = ("prune.rounds:*", "distil.student:student=boosting,*")
_STRANGE = ("distil.student:student=boosting,*", "distil.student(student=linear)")
_BY_ADAPTER = {
    "onnx": _GRAPH,
    "torch": _NETWORK,
    "transformers": _LANGUAGE,
    "sklearn": _CLASSICAL,
    "lightgbm": _BOOSTED,
    "xgboost": _BOOSTED,
}


def default_chains(form: Form) -> tuple[Chain, ...]:
    """Return the chains that suit a model's adapter; those that cannot work say so when tried.

    Chains for which a package is not installed are left out, and logged.

    Parameters
    ----------
    form : Form
        The parent.

    Raises
    ------
    Missing
        When none is left.
    """
    found: list[Chain] = []
    missing: Missing | None = None
    for each in _BY_ADAPTER.get(form.adapter, _STRANGE):
        try:
            found.append(parse_chain(each))
        except Missing as error:
            _log.info("the chain %s is left out: %s", each, error)
            missing = error
    if missing is not None and not found:
        raise missing
    return tuple(found)
