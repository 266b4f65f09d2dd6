"""A chain: steps in their order, as a command line and a policy write them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from renewal.compress.contract import Technique
from renewal.core.errors import Invalid
from renewal.core.option_text import parse_options, show_options
from renewal.core.plugin import load_plugin

NOTHING = "nothing"
"""The label of the chain without a step: no compression, candidate 0 of every search."""

_ARROW = ">"
_FREE = "*"
_FORM = re.compile(r"\s*([a-z0-9_.-]+)\s*(?::(?P<colon>.*)|\((?P<call>.*)\))?\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """A technique with its options.

    Parameters
    ----------
    technique : str
        A registered name.
    options : object
        Its frozen dataclass of options.
    is_free : bool, default False
        Whether the knob among them is free: the search turns it.
    """

    technique: str
    options: Any
    is_free: bool = False

    @property
    def does(self) -> Technique:
        """The technique, loaded."""
        found: Technique = load_plugin("techniques", self.technique)()
        return found

    @property
    def label(self) -> str:
        """Name and options that differ from their defaults; a free knob is written ``=*``."""
        shown = show_options(self.options)
        if self.is_free:
            free = f"{self.does.knob}={_FREE}"
            return f"{self.technique}({f'{shown},{free}' if shown else free})"
        return f"{self.technique}({shown})" if shown else self.technique

    def at(self, level: Any) -> Step:
        """Return the step with its free knob as one of the technique's levels has it."""
        knob = self.does.knob
        assert knob is not None, "only a technique with a knob has a free one"
        turned = replace(self.options, **{knob: getattr(level, knob)})
        return Step(self.technique, turned)


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps in their order; the empty chain is the parent as it is.

    Parameters
    ----------
    steps : tuple of Step
        At most one of them with a free knob.

    Examples
    --------
    >>> Chain(()).label
    'nothing'
    """

    steps: tuple[Step, ...]

    @property
    def label(self) -> str:
        """The chain as `parse_chain` reads it."""
        return f" {_ARROW} ".join(each.label for each in self.steps) or NOTHING

    @property
    def free(self) -> int | None:
        """Place of the step whose knob is free; None where there is none."""
        return next((at for at, each in enumerate(self.steps) if each.is_free), None)

    @property
    def family(self) -> str:
        """The label with every knob at its default: chains that differ in how far they go."""
        steps = [replace(each, options=_unturned(each), is_free=False) for each in self.steps]
        return Chain(tuple(steps)).label

    def at(self, level: Any) -> Chain:
        """Return the chain with its free knob as one of its step's levels has it."""
        place = self.free
        assert place is not None, "only a chain with a free knob is set"
        steps = list(self.steps)
        steps[place] = steps[place].at(level)
        return Chain(tuple(steps))


def _unturned(step: Step) -> Any:
    knob = step.does.knob
    if knob is None:
        return step.options
    return replace(step.options, **{knob: getattr(step.does.Options(), knob)})


def parse_chain(text: str) -> Chain:
    """Read a chain as a policy file, a command line or a label writes it.

    Parameters
    ----------
    text : str
        Steps with ``>`` between them, such as
        ``prune.channels:* > recover.distil:epochs=2 > quantize.static``. ``:*``, or ``*`` for
        the value of its option, leaves the knob of one step to the search; ``nothing`` is the
        chain without a step.

    Raises
    ------
    NotFound
        When no such technique is registered; the nearest is offered.
    Invalid
        On text of another form, a second free knob, a free knob where there is none, an
        unknown option (the nearest is offered) or a wrong value.
    """
    if text.strip() == NOTHING:
        return Chain(())
    steps = tuple(_parse_step(part, text) for part in text.split(_ARROW))
    if sum(each.is_free for each in steps) > 1:
        raise Invalid(
            "parse_chain",
            needs="at most one free knob, written :* or name=*",
            came=text,
            todo="Give the other steps their options; one that needs none is written bare.",
        )
    return Chain(steps)


def _parse_step(part: str, text: str) -> Step:
    found = _FORM.fullmatch(part)
    if found is None:
        raise Invalid(
            "parse_chain",
            needs="steps such as quantize.static or prune.channels:keep=0.5, > between them",
            came=text,
            todo="Write each as NAME, NAME:option=value,... or NAME:* for a free knob.",
        )
    name, inside = found.group(1), found.group("colon") or found.group("call") or ""
    technique: type[Technique] = load_plugin("techniques", name)
    rest = [each for each in inside.split(",") if each.strip()]
    free = [each for each in rest if each.strip() in {_FREE, f"{technique.knob}={_FREE}"}]
    if free and technique.knob is None:
        raise Invalid(
            "parse_chain",
            needs=f"no free knob for {name}, which has none",
            came=text,
            todo=f"Write {name} alone.",
        )
    fixed = ",".join(each for each in rest if each not in free)
    return Step(name, parse_options(technique.Options, fixed, who=name), bool(free))
