"""What a protocol says of one of its paths, for the OpenAPI page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
BLANK, NEVER = "blank", "never"
"""Instead of the schema of an answer: it has no content worth describing; there is none."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method on a path.

    Parameters
    ----------
    method : str
        In capitals.
    path : str
        With ``{model}``, ``{version}`` and ``{label}`` where it names them.
    tag : str
        Under which heading it stands.
    summary : str
        A few words.
    answers : str
        Name of the schema of a good answer; empty: text.
    asks : str, default ""
        Name of the schema of the body; empty: there is none.
    example : JSON value, default None
        A body that the model of the README takes.
    text : str, default ""
        More than the summary says.
    answered : str, default ""
        What a good answer is.
    statuses : tuple of int, default ()
        Errors beside those that all paths of its kind share.
    kind : str, default "application/json"
        Content type of a good answer.
    error : str, default "Error"
        Name of the schema of its errors.
    predicts : bool, default False
        Whether a model answers.
    needs_body : bool, default True
        Whether the body may not be left out.
    query : mapping of str to str, default empty
        Parameters of the URL, and what they mean.
    other_bodies, other_answers : mapping, default empty
        Further content types, as OpenAPI writes them.
    errors : mapping of int to content, default empty
        Errors whose content is no schema of ours.
    """

    method: str
    path: str
    tag: str
    summary: str
    answers: str
    asks: str = ""
    example: Any = None
    text: str = ""
    answered: str = ""
    statuses: tuple[int, ...] = ()
    kind: str = JSON
    error: str = "Error"
    predicts: bool = False
    needs_body: bool = True
    query: Mapping[str, str] = field(default_factory=dict)
    other_bodies: Mapping[str, Any] = field(default_factory=dict)
    other_answers: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[int, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its id, which stays the same as long as the path does.

        Examples
        --------
        >>> Operation("GET", "/v2/models/{model}/ready", "health", "Is it ready?", "Ready").name
        'get_v2_models_model_ready'
        """
        plain = "".join(sign if sign.isalnum() else " " for sign in self.path)
        return "_".join([self.method.lower(), *plain.split()]) if plain.split() else "get_root"
