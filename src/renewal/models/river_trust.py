"""Which classes and functions a stored River model may name without anybody's leave.

River's own classes and functions, out of the parts that compute. Left out are the parts that
open files, go to the network or evaluate text: ``datasets``, ``stream``, ``checks``,
``compat``, ``evaluate``, and `river.bandit.datasets`. A name counts only where it stands in the
module that defines it, so that nothing which such a module has merely imported can be reached.
What is missing is the operator's to add, in the deployment's `trust`.
"""

from __future__ import annotations

import builtins
import collections
import copy
import importlib
import statistics
import types
from typing import Any

from renewal.core.errors import Missing, Refused

_WHO = "RiverAdapter.load"
_ROOMS = frozenset(
    {
        "_river_rust",
        "active",
        "anomaly",
        "bandit",
        "base",
        "cluster",
        "compose",
        "conf",
        "covariance",
        "drift",
        "dummy",
        "ensemble",
        "facto",
        "feature_extraction",
        "feature_selection",
        "forest",
        "imblearn",
        "linear_model",
        "metrics",
        "misc",
        "model_selection",
        "multiclass",
        "naive_bayes",
        "neighbors",
        "optim",
        "preprocessing",
        "proba",
        "rules",
        "sketch",
        "stats",
        "tree",
        "utils",
    }
)
_CLOSED = ("river.bandit.datasets",)
_PLAIN: dict[str, Any] = {
    **{
        f"builtins:{name}": getattr(builtins, name)
        for name in ("bool", "dict", "float", "int", "list", "set", "str", "tuple")
    },
    **{
        f"collections:{name}": getattr(collections, name)
        for name in ("Counter", "OrderedDict", "defaultdict", "deque")
    },
    "copy:deepcopy": copy.deepcopy,
    "statistics:NormalDist": statistics.NormalDist,
}


def name_of(thing: Any) -> str:
    """Return the name under which a class or a function is stored.

    Examples
    --------
    >>> name_of(collections.Counter)
    'collections:Counter'
    """
    return f"{thing.__module__}:{thing.__qualname__}"


def is_rivers(module: str) -> bool:
    """Say whether a module is one of River's that compute."""
    root, _, rest = module.partition(".")
    return (
        root == "river"
        and rest.partition(".")[0] in _ROOMS
        and not any(module == closed or module.startswith(f"{closed}.") for closed in _CLOSED)
    )


def resolve(name: str, trust: frozenset[str]) -> Any:
    """Return the class or the function of a name, if it may be named.

    Parameters
    ----------
    name : str
        ``module:qualified name``.
    trust : frozenset of str
        Dotted names that the operator allows besides.

    Raises
    ------
    Refused
        When it may not.
    Missing
        When its module is not there, or the module no longer has it.

    Examples
    --------
    >>> resolve("river.stats.mean:Mean", frozenset()).__name__
    'Mean'
    """
    if name in _PLAIN:
        return _PLAIN[name]
    module, _, path = name.partition(":")
    if not (is_rivers(module) or f"{module}.{path}" in trust):
        raise _refused(name)
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = vars(found)[part] if isinstance(found, type) else getattr(found, part)
    except (ImportError, AttributeError, KeyError) as error:
        raise Missing(
            _WHO,
            needs=f"{module}.{path}, of which a part of the model is made",
            came=f"{type(error).__name__}: {error}",
            todo="Install the release of River, or the module, that wrote it.",
        ) from error
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    defined = isinstance(found, type | types.FunctionType | types.BuiltinFunctionType)
    if not defined or name_of(found) != name:
        raise _refused(name)
    return found


def _refused(name: str) -> Refused:
    dotted = name.replace(":", ".")
    return Refused(
        _WHO,
        needs="a model of River's own classes and of trusted ones",
        came=dotted,
        todo=f'Read its code; if you trust it, write trust = ["{dotted}"] into renewal.toml.',
        types=(dotted,),
    )
