"""A River model as plain data: every object of it as a node that holds no code."""

from __future__ import annotations

import base64
import collections
import copyreg
import functools
import json
import random
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from river._river_rust.vectordict import VectorDict
from river.proba.base import Distribution

from renewal.core.errors import Invalid
from renewal.models.river_trust import name_of

_ATOMS = (type(None), bool, int, float, str)
_NEW: Any = copyreg.__newobj__  # type: ignore[attr-defined]  # not in the stubs
_ANY_RANDOM = random.Random(0)  # noqa: S311  # no secret
Node = list[Any]


class Writer:
    """Walks through a model and numbers its objects in the order in which they occur.

    The same model gives the same nodes: identity counts where objects can be changed, and
    equal immutable ones are written out, since whether two equal texts are one object
    depends on the process.

    Parameters
    ----------
    root : object
        Read and not changed.

    Attributes
    ----------
    nodes : list
        What `renewal.models.river_read.Reader` takes.
    names : set of str
        Classes and functions that occur.
    """

    def __init__(self, root: Any) -> None:
        self.nodes: list[Node] = []
        self.names: set[str] = set()
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []
        self._waiting: list[Any] = []
        self.root = self.value(root)
        while self._waiting:
            # Not by recursion: a tree of a forest may be deeper than the stack.
            number, value = self._waiting.pop()
            self.nodes[number] = self._node(value)

    def value(self, value: Any) -> Any:
        """Return what stands for a value inside a node."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        inline: Callable[[Writer, Any], Any] | None = _INLINE.get(kind)
        if inline is not None:
            return inline(self, value)
        if isinstance(value, np.generic):
            return ["n", value.dtype.str, _text(value.tobytes())]
        if isinstance(value, type):
            return ["c", self.named(name_of(value))]
        return ["@", self._number(value)]

    def named(self, name: str) -> str:
        """Note the name of a class or a function, and return it."""
        self.names.add(name)
        return name

    def _number(self, value: Any) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.nodes)
            self._kept.append(value)  # or another object might get its address
            self.nodes.append([])
            self._waiting.append((number, value))
        return number

    def values(self, values: Iterable[Any]) -> list[Any]:
        """Return what stands for each of several values."""
        return [self.value(each) for each in values]

    def pairs(self, mapping: Iterable[tuple[Any, Any]]) -> list[Any]:
        """Return what stands for the keys and values of a mapping, in its order."""
        return [[self.value(key), self.value(value)] for key, value in mapping]

    def _node(self, value: Any) -> Node:
        make = _NODES.get(type(value))
        return self._object(value) if make is None else make(self, value)

    def _object(self, value: Any) -> Node:
        try:
            parts = value.__reduce_ex__(4)
        except TypeError as error:
            raise not_writable(value, str(error)) from error
        if not isinstance(parts, tuple) or parts[0] is not _NEW:
            raise not_writable(value, "an object that is made by a function")
        _, args, state, items, pairs = (*parts, None, None, None)[:5]
        if isinstance(value, Distribution) and value.seed is None:
            # It draws samples, which no learner asks for, and would differ with every fit.
            state = {**state, "_rng": _ANY_RANDOM}
        return [
            "object",
            self.named(name_of(args[0])),
            self.values(args[1:]),
            self._state(value, state),
            self.values(items or ()),
            self.pairs(pairs or ()),
        ]

    def _state(self, value: Any, state: Any) -> Any:
        plain, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
        if all(isinstance(each, dict | None) for each in (plain, slots)):
            return ["a", *(self.pairs((each or {}).items()) for each in (plain, slots))]
        if not hasattr(type(value), "__setstate__"):
            raise not_writable(value, f"a state of type {type(state).__name__}")
        return ["s", self.value(state)]


def not_writable(value: Any, why: str) -> Invalid:
    """Return the error for a part that cannot be written."""
    return Invalid(
        "RiverAdapter.dump",
        needs="a model of River whose parts are plain data",
        came=f"a {type(value).__module__}.{type(value).__qualname__}: {why}",
        todo="Define functions by name in a module, and leave iterators and open files out.",
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _array(_: Writer, value: Any) -> Node:
    if value.dtype.hasobject:
        raise not_writable(value, "an array of objects")
    data = np.ascontiguousarray(value)
    return ["array", data.dtype.str, list(value.shape), _text(data.tobytes())]


def _function(writer: Writer, value: Any) -> Any:
    if "<" in value.__qualname__:
        raise not_writable(value, f"{value.__qualname__} has no name that can be imported")
    return ["f", writer.named(name_of(value))]


def _built_in(writer: Writer, value: Any) -> Any:
    owner = getattr(value, "__self__", None)
    if owner is None or isinstance(owner, types.ModuleType):
        module = value.__module__ or getattr(owner, "__name__", "")
        return ["f", writer.named(f"{module}:{value.__qualname__}")]
    return ["m", writer.value(owner), value.__name__]


def _sorted_values(writer: Writer, values: Iterable[Any]) -> list[Any]:
    # The order of a set depends on the process.
    return sorted(writer.values(values), key=json.dumps)


_INLINE: dict[type, Callable[[Writer, Any], Any]] = {
    tuple: lambda writer, value: ["t", *writer.values(value)],
    frozenset: lambda writer, value: ["z", *_sorted_values(writer, value)],
    bytes: lambda _, value: ["b", _text(value)],
    types.FunctionType: _function,
    types.BuiltinFunctionType: _built_in,
    types.MethodType: lambda writer, value: [
        "m",
        writer.value(value.__self__),
        value.__func__.__name__,
    ],
    functools.partial: lambda writer, value: [
        "p",
        writer.value(value.func),
        writer.values(value.args),
        writer.pairs(value.keywords.items()),
    ],
}

_NODES: dict[type, Callable[[Writer, Any], Node]] = {
    list: lambda writer, value: ["list", writer.values(value)],
    set: lambda writer, value: ["set", _sorted_values(writer, value)],
    dict: lambda writer, value: ["dict", writer.pairs(value.items())],
    collections.OrderedDict: lambda writer, value: ["ordered", writer.pairs(value.items())],
    collections.Counter: lambda writer, value: ["counter", writer.pairs(value.items())],
    collections.defaultdict: lambda writer, value: [
        "default",
        writer.pairs(value.items()),
        writer.value(value.default_factory),
    ],
    collections.deque: lambda writer, value: ["deque", writer.values(value), value.maxlen],
    np.ndarray: _array,
    random.Random: lambda writer, value: ["random", writer.value(value.getstate())],
    np.random.RandomState: lambda writer, value: [
        "random_state",
        writer.value(value.get_state(legacy=True)),
    ],
    VectorDict: lambda writer, value: [
        "vector",
        writer.pairs(value.__reduce_ex__(4)[1][0].items()),
        *writer.values(value.__reduce_ex__(4)[1][1:3]),
    ],
}
