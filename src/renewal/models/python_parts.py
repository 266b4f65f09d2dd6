"""What is known of an object of one's own: its parameters, and what its ``fit`` takes."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from renewal.core.errors import Invalid, RenewalError
from renewal.models.python_bytes import path_of

_WEIGHTS = ("sample_weight", "weights", "sample_weights")
_SEEDS = ("random_state", "seed")


def parameters(thing: Any, *, who: str) -> dict[str, Any]:
    """Return the parameters of its constructor, as it was made.

    Raises
    ------
    Invalid
        When one that it must be given is not kept under its name.
    """
    own = getattr(thing, "get_params", None)
    if callable(own):
        takes_deep = "deep" in inspect.signature(own).parameters
        return dict(own(deep=False) if takes_deep else own())
    found = {}
    for name, parameter in inspect.signature(type(thing)).parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        if hasattr(thing, name):
            found[name] = getattr(thing, name)
        elif parameter.default is parameter.empty:
            raise Invalid(
                who,
                needs=f"the parameters with which {path_of(thing)} was made",
                came=f"no attribute {name!r}",
                todo="Keep each parameter of the constructor under its name, or write "
                "get_params(self).",
            )
    return found


def fresh(thing: Any, changes: Mapping[str, Any], seed: int | None, *, who: str) -> Any:
    """Return an object of the same class and parameters that has seen no row."""
    params = parameters(thing, who=who)
    unknown = sorted(set(changes) - set(params))
    if unknown:
        near = get_close_matches(unknown[0], params, n=1)
        raise Invalid(
            who,
            needs=f"parameters that {type(thing).__qualname__} has",
            came=repr(unknown[0]),
            todo=f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(params) or 'none'}.",
            params=unknown,
        )
    params = copy.deepcopy(params) | dict(changes)
    for name in _SEEDS:
        if seed is not None and name in params and params[name] is None:
            params[name] = seed
    return tried(who, type(thing), **params)


def weight_parameter(thing: Any, *, who: str) -> str:
    """Return the name under which its ``fit`` takes weights, or raise `Invalid`."""
    taken = inspect.signature(thing.fit).parameters
    for name in _WEIGHTS:
        if name in taken:
            return name
    raise Invalid(
        who,
        needs="an object that can weigh rows",
        came=f"{path_of(thing)}, whose fit takes no sample_weight",
        todo="Leave weights, half_life and balance out, or give its fit a sample_weight.",
    )


def demand_probabilities(thing: Any, *, who: str) -> None:
    """Raise `Invalid` when it only decides."""
    if not callable(getattr(thing, "predict_proba", None)):
        raise Invalid(
            who,
            needs="an object with predict_proba: losses and gates compare probabilities",
            came=f"{path_of(thing)}, which only decides",
            todo="Give it predict_proba(X), of shape (n_rows, n_classes).",
        )


def is_json(value: Any) -> bool:
    """Say whether JSON can hold a value.

    Examples
    --------
    >>> is_json([1, "a"]), is_json(float("nan")), is_json((1,))
    (True, False, False)
    """
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def tried(who: str, verb: Any, *inputs: Any, **options: Any) -> Any:
    """Call code of the user's own; whatever it raises becomes `Invalid`, with its words."""
    try:
        return verb(*inputs, **options)
    except RenewalError:
        raise
    except Exception as error:
        raise Invalid(
            who,
            needs="code of one's own that takes these rows",
            came=f"{type(error).__name__}: {error}",
            todo="Compare the rows with those of the fit; the cause stands above.",
        ) from error
