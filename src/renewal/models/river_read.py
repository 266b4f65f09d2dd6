"""The objects of a River model from its nodes: nothing in them is ever called.

Objects come to be by ``__new__`` of a class that may be named, and get the state that they
had; containers are filled. No function named by the bytes runs while they are read, which is
what makes a pickle dangerous. What runs later, at a prediction, is River's own code, with
River's own functions where it asks for one.
"""

from __future__ import annotations

import base64
import collections
import functools
import inspect
import random
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from river._river_rust.vectordict import VectorDict

from renewal.core.errors import Invalid
from renewal.models.river_trust import is_rivers, resolve

_SHELLS: dict[str, Callable[[], Any]] = {
    "list": list,
    "set": set,
    "dict": dict,
    "ordered": collections.OrderedDict,
    "counter": collections.Counter,
    "default": collections.defaultdict,
}


class Reader:
    """Builds every object of a model: first empty, so that circles close, then filled.

    Parameters
    ----------
    nodes : list
        As `renewal.models.river_write.Writer` left them.
    trust : frozenset of str
        Dotted names of classes and functions that the operator allows besides River's.

    Raises
    ------
    Refused, Missing
        As `renewal.models.river_trust.resolve`.
    """

    def __init__(self, nodes: list[list[Any]], trust: frozenset[str]) -> None:
        self._nodes = nodes
        self._trust = trust
        self._built: list[Any] = [None] * len(nodes)
        self._is_built = [False] * len(nodes)
        for number in range(len(nodes)):
            self._shell(number)
        # States first: what is a key of a dictionary or in a set may hash by its state.
        for is_object in (True, False):
            for node, built in zip(nodes, self._built, strict=True):
                if (node[0] == "object") == is_object:
                    self._fill(node, built)

    def value(self, written: Any) -> Any:
        """Return the value for which something in a node stands."""
        if not isinstance(written, list):
            return written
        tag, *rest = written
        return _INLINE[tag](self, *rest)

    def values(self, written: Iterable[Any]) -> list[Any]:
        """Return several values."""
        return [self.value(each) for each in written]

    def pairs(self, written: Iterable[Any]) -> list[tuple[Any, Any]]:
        """Return the keys and values of a mapping."""
        return [(self.value(key), self.value(value)) for key, value in written]

    def named(self, name: str) -> Any:
        """Return a class or a function that may be named."""
        return resolve(name, self._trust)

    def bound(self, written: Any, name: str) -> Any:
        """Return a method of an object or of a class, both of River, by its name."""
        owner = self.value(written)
        kind = owner if isinstance(owner, type) else type(owner)
        found = inspect.getattr_static(kind, name)
        if isinstance(found, classmethod):
            owner, found = kind, found.__func__
        is_method = isinstance(found, types.FunctionType) and not name.startswith("__")
        if not is_method or not is_rivers(found.__module__):
            raise damaged(f"{kind.__qualname__}.{name}, which is no method of River")
        return types.MethodType(found, owner)

    def shell(self, number: int) -> Any:
        """Return the object of a node, perhaps still empty."""
        if not self._is_built[number]:
            self._shell(number)
        return self._built[number]

    def _shell(self, number: int) -> None:
        if self._is_built[number]:
            return
        kind, *rest = self._nodes[number]
        make = _SHELLS.get(kind)
        self._built[number] = _MADE[kind](self, *rest) if make is None else make()
        self._is_built[number] = True

    def _fill(self, node: list[Any], built: Any) -> None:
        kind, *rest = node
        if kind == "object":
            self._fill_object(built, *rest)
        elif kind in {"list", "deque"}:
            built.extend(self.values(rest[0]))
        elif kind == "set":
            built.update(self.values(rest[0]))
        elif kind in {"dict", "ordered", "counter", "default"}:
            # Not update(): a counter would add.
            for key, value in self.pairs(rest[0]):
                built[key] = value
            if kind == "default":
                built.default_factory = self.value(rest[1])

    def _fill_object(
        self, built: Any, _: str, __: list[Any], state: Any, items: list[Any], pairs: list[Any]
    ) -> None:
        for item in self.values(items):
            built.append(item)
        for key, value in self.pairs(pairs):
            built[key] = value
        tag, *rest = state
        if tag == "s":
            _set_state(built, self.value(rest[0]))
            return
        plain, slots = (_attributes(self.pairs(each)) for each in rest)
        if hasattr(type(built), "__setstate__"):
            built.__setstate__((plain, slots) if slots else plain)
            return
        if plain:
            built.__dict__.update(plain)
        for name, value in slots.items():
            object.__setattr__(built, name, value)


def damaged(came: str) -> Invalid:
    """Return the error for bytes that are no whole model."""
    return Invalid(
        "RiverAdapter.load",
        needs="a whole model of River",
        came=came,
        todo="Register the model again, or take another version.",
    )


def _attributes(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    for name in found:
        if not isinstance(name, str) or name.startswith("__"):
            raise damaged(f"{name!r}, which is no attribute")
    return found


def _set_state(built: Any, state: Any) -> None:
    """Hand its state to a part that reads it itself; those in Rust panic on a damaged one."""
    try:
        built.__setstate__(state)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise damaged(f"a broken state of {type(built).__qualname__}") from error


def _array(_: Reader, dtype: str, shape: list[int], data: str) -> Any:
    return np.frombuffer(_bytes(data), dtype=_number_type(dtype)).reshape(shape).copy()


def _number_type(name: str) -> np.dtype[Any]:
    found = np.dtype(name)
    if found.hasobject:
        raise damaged(f"an array of objects ({name!r})")
    return found


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _random(reader: Reader, state: Any) -> random.Random:
    made = random.Random()  # noqa: S311  # part of a model, not a secret
    made.setstate(reader.value(state))
    return made


def _random_state(reader: Reader, state: Any) -> Any:
    made = np.random.RandomState()
    made.set_state(reader.value(state))
    return made


def _object(reader: Reader, name: str, args: list[Any], *_: Any) -> Any:
    kind = reader.named(name)
    if not isinstance(kind, type) or issubclass(kind, type):
        raise damaged(f"{name!r}, which is no class of objects")
    return kind.__new__(kind, *reader.values(args))


def _class_or_function(reader: Reader, name: str) -> Any:
    return reader.named(name)


_INLINE: dict[str, Callable[..., Any]] = {
    "@": Reader.shell,
    "t": lambda reader, *values: tuple(reader.values(values)),
    "z": lambda reader, *values: frozenset(reader.values(values)),
    "b": lambda _, data: _bytes(data),
    "n": lambda _, dtype, data: np.frombuffer(_bytes(data), dtype=_number_type(dtype))[0],
    "c": _class_or_function,
    "f": _class_or_function,
    "m": Reader.bound,
    "p": lambda reader, function, args, keywords: functools.partial(
        reader.value(function), *reader.values(args), **dict(reader.pairs(keywords))
    ),
}

_MADE: dict[str, Callable[..., Any]] = {
    "deque": lambda _, __, maxlen: collections.deque(maxlen=maxlen),
    "array": _array,
    "random": _random,
    "random_state": _random_state,
    "vector": lambda reader, pairs, factory, mask: VectorDict(
        dict(reader.pairs(pairs)), reader.value(factory), reader.value(mask), True
    ),
    "object": _object,
}
