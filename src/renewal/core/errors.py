"""What can go wrong, by what the reader can do next.

::

    RenewalError
    ├── Invalid       the input is wrong            -> fix it
    ├── NotFound      no such thing                 -> check the name
    ├── Conflict      somebody was first            -> read again, decide again
    ├── Refused       a gate or a rollout said no   -> read the verdict it carries
    ├── Corrupt       bytes differ from their digest-> restore or roll back
    ├── Failed        a version raised              -> see its log, roll back
    ├── Unavailable   not now                       -> try again after `retry_after_s`
    └── Missing       a package is not installed    -> install the extra

Every error names who needs what, what came, and what to do. No HTTP status and no exit
code lives here: those belong to the protocol files and to the command line.
"""

from __future__ import annotations

from typing import Any


class RenewalError(Exception):
    """The root of every error that Renewal raises on purpose.

    Parameters
    ----------
    who : str
        The public verb that could not go on, such as ``Feed.append``.
    needs : str
        What it needs, as the object of a sentence.
    came : str
        What it got instead.
    todo : str
        One sentence that says what to do.
    **fields
        Further facts for programs; kept in `fields` and across pickling.

    Examples
    --------
    >>> raise Invalid("Feed.append", needs="a column 'late'", came="columns a, b", todo="Add it.")
    Traceback (most recent call last):
    ...
    renewal.core.errors.Invalid: Feed.append needs a column 'late'; got columns a, b. Add it.
    """

    def __init__(self, who: str, *, needs: str, came: str, todo: str, **fields: Any) -> None:
        super().__init__(f"{who} needs {needs}; got {came}. {todo}")
        self.who = who
        self.needs = needs
        self.came = came
        self.todo = todo
        self.fields = fields

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the named parts, so that no field is lost between processes."""
        parts = {"needs": self.needs, "came": self.came, "todo": self.todo, **self.fields}
        return _rebuild, (type(self), self.who, parts)


def _rebuild(kind: type[RenewalError], who: str, parts: dict[str, Any]) -> RenewalError:
    return kind(who, **parts)


class Invalid(RenewalError):
    """The input is wrong: fix it and call again."""


class NotFound(RenewalError):
    """There is no such model, version, prediction or object: check the name."""


class Conflict(RenewalError):
    """Somebody was first: read again and decide again."""


class Refused(RenewalError):
    """A gate or a rollout said no; `fields["verdict"]` says why where there is one."""


class Corrupt(RenewalError):
    """Stored bytes differ from their digest: restore them or roll back."""


class Failed(RenewalError):
    """A version raised on rows that its signature allows: see its log, roll it back."""


class Unavailable(RenewalError):
    """Not now: try again, after `fields["retry_after_s"]` seconds where it is given."""


class Missing(RenewalError):
    """An optional package is not installed: install the extra that `todo` names."""
