"""What a River learner is made of: its parameters by path, and a fresh one with others.

River's own ``clone`` hands on what it finds in a list: the members of an ensemble that was
given as a list come out as trained as they were. Here every part is built anew.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

from river import base, compose

GROWING = ("river.forest.", "river.tree.")


def rebuilt(part: Any, changes: Mapping[str, Any], prefix: str = "") -> Any:
    """Return an untrained copy of a part, with other parameters where `changes` names them.

    Parameters
    ----------
    part : object
        Trained or not; not changed.
    changes : mapping of str to value
        By path, such as ``LogisticRegression__optimizer__lr__learning_rate``.
    prefix : str
        Path of the part itself.

    Examples
    --------
    >>> from river import linear_model
    >>> learner = linear_model.LogisticRegression(l2=0.5)
    >>> learner.learn_one({"a": 1.0}, True)
    >>> fresh = rebuilt(learner, {"l2": 0.25})
    >>> fresh.l2, dict(fresh.weights)
    (0.25, {})
    """
    if _is_steps(part):
        steps = [(name, rebuilt(step, changes, f"{prefix}{name}__")) for name, step in _steps(part)]
        return type(part)(*steps)
    if isinstance(part, type) or not isinstance(part, base.Base):
        return _plain_copy(part)
    if type(part).clone is not base.Base.clone:
        return part.clone()
    return _constructed(part, changes, prefix)


def _constructed(part: Any, changes: Mapping[str, Any], prefix: str) -> Any:
    """Return a part of the same class, with its parameters built anew."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, kind, value in _parameters(part):
        if kind is inspect.Parameter.VAR_POSITIONAL:
            positional.extend(rebuilt(each, {}) for each in value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named.update({key: rebuilt(each, {}) for key, each in value.items()})
        elif f"{prefix}{name}" in changes:
            named[name] = changes[f"{prefix}{name}"]
        else:
            named[name] = rebuilt(value, changes, f"{prefix}{name}__")
    return type(part)(*positional, **named)


def _plain_copy(value: Any) -> Any:
    if isinstance(value, type):
        return value
    if type(value) in {list, tuple}:
        return type(value)(rebuilt(each, {}) for each in value)
    if type(value) is dict:
        return {key: rebuilt(each, {}) for key, each in value.items()}
    return copy.deepcopy(value)


def plain_params(part: Any, prefix: str = "") -> dict[str, Any]:
    """Return the parameters that JSON can hold, by path.

    Examples
    --------
    >>> from river import naive_bayes
    >>> plain_params(naive_bayes.MultinomialNB(alpha=0.5))
    {'alpha': 0.5}
    """
    found: dict[str, Any] = {}
    if _is_steps(part):
        for name, step in _steps(part):
            found |= plain_params(step, f"{prefix}{name}__")
        return found
    if type(part).clone is not base.Base.clone:
        return found
    for name, kind, value in _parameters(part):
        if kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            continue
        if isinstance(value, base.Base):
            found |= plain_params(value, f"{prefix}{name}__")
        elif _is_plain(value):
            found[f"{prefix}{name}"] = value
    return found


def last_of(learner: Any) -> Any:
    """Return the part of a pipeline that learns the labels."""
    while isinstance(learner, compose.Pipeline):
        learner = list(learner.steps.values())[-1]
    return learner


def parts_of(learner: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every part of a learner with its path, the outer ones first."""
    yield prefix, learner
    if _is_steps(learner):
        for name, step in _steps(learner):
            yield from parts_of(step, f"{prefix}{name}__")
        return
    if type(learner).clone is not base.Base.clone:
        return
    for name, _, value in _parameters(learner):
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, base.Base):
                yield from parts_of(each, f"{prefix}{name}__")


def size_of(learner: Any) -> int | None:
    """Return how much it has grown to: nodes of trees.

    None where nothing in it grows.
    """
    waiting, size, grows = [learner], 0, False
    while waiting:
        part = waiting.pop()
        if _is_steps(part):
            waiting.extend(step for _, step in _steps(part))
        elif isinstance(part, base.Ensemble):
            waiting.extend(part.models)
        elif isinstance(part, base.Base):
            here = _own_size(part)
            grows |= here is not None
            size += here or 0
            if here is None:
                waiting.extend(each for each in vars(part).values() if isinstance(each, base.Base))
    return max(size, 1) if grows else None


def _own_size(part: Any) -> int | None:
    if not type(part).__module__.startswith(GROWING):
        return None
    for name in ("n_nodes", "_n_nodes"):
        if isinstance(getattr(part, name, None), int):
            return int(getattr(part, name))
    return None


def _is_steps(part: Any) -> bool:
    # Not isinstance alone: River lets a pipeline pass as whatever its last step is.
    return type(part) in {compose.Pipeline, compose.TransformerUnion}


def _steps(part: Any) -> Iterator[tuple[str, Any]]:
    held = part.steps if type(part) is compose.Pipeline else part.transformers
    yield from held.items()


def _parameters(part: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name, the kind and the value of each parameter of a constructor."""
    for name, parameter in inspect.signature(type(part)).parameters.items():
        empty: Any = {} if parameter.kind is inspect.Parameter.VAR_KEYWORD else ()
        held = hasattr(part, name)
        if not held and parameter.kind in {
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        }:
            yield name, parameter.kind, empty
        elif held:
            yield name, parameter.kind, getattr(part, name)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value) and type(value) is float
    return value is None or type(value) in {bool, int, str}
