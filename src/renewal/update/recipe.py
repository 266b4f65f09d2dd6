"""A recipe: a strategy with its options, as a policy file and a command line write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from renewal.core.errors import Invalid
from renewal.core.option_text import parse_options, show_options
from renewal.core.plugin import load_plugin

_FORM = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*(?::(?P<colon>.*)|\((?P<call>.*)\))?\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A strategy with its options: one starter of a race.

    Parameters
    ----------
    strategy : str
        A registered strategy.
    options : object
        Its frozen dataclass of options.
    """

    strategy: str
    options: Any

    @property
    def label(self) -> str:
        """The name of the recipe, with the options that differ from their defaults.

        `parse_recipe` reads it back.
        """
        shown = show_options(self.options)
        return f"{self.strategy}({shown})" if shown else self.strategy


def parse_recipe(text: str) -> Recipe:
    """Read a recipe as a policy file, a command line or a label writes it.

    Parameters
    ----------
    text : str
        ``retrain``, ``retrain:window=8w,min_rows=500`` or ``retrain(window=8w)``. The types
        of the values come from the fields of the strategy's options.

    Returns
    -------
    Recipe
        With the defaults of what the text leaves out.

    Raises
    ------
    NotFound
        When no such strategy is registered; the nearest is offered.
    Invalid
        On text of another form, an unknown option (the nearest is offered) or a wrong value.

    Examples
    --------
    >>> parse_recipe("retrain:window=8w").label
    'retrain(window=8w)'
    >>> parse_recipe("retrain:windw=8w")
    Traceback (most recent call last):
    ...
    renewal.core.errors.Invalid: The recipe 'retrain:windw=8w' needs one of the options window,
    min_rows, ...; got 'windw'. Did you mean 'window'?
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise Invalid(
            "parse_recipe",
            needs="a strategy with options, such as retrain:window=8w",
            came=repr(text),
            todo="Write the name of a strategy, a colon, and name=value pairs.",
        )
    strategy = load_plugin("strategies", match[1])
    given = match["colon"] or match["call"] or ""
    return Recipe(match[1], parse_options(strategy.Options, given, who=f"The recipe {text!r}"))
