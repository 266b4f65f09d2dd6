"""Writing a card to a file: Markdown, or a page that needs the extra ``report``."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from renewal.core.errors import Invalid, Missing
from renewal.gate.card.markdown import to_markdown
from renewal.gate.card.record import Card

_PAGES = {".html", ".htm"}
_TEXTS = {".md", ".markdown"}


def write_card(card: Card, path: Path) -> Path:
    """Write a card as its file name says: ``.html`` is one page, ``.md`` is Markdown.

    Parameters
    ----------
    card : Card
        Of any verdict.
    path : Path
        Where to; a file that is there is replaced, whole or not at all.

    Returns
    -------
    Path
        `path`, absolute.

    Raises
    ------
    Invalid
        When the name ends otherwise; nothing is written then.
    Missing
        When it is to be a page and the extra ``report`` is not installed.

    Notes
    -----
    A page takes about 2 s and 1.1 MB, most of it the bundled chart library.
    """
    check_card_path(path)
    if path.suffix.lower() in _TEXTS:
        return replace_file(path, to_markdown(card))
    try:
        to_html = import_module("renewal.gate.card.html").to_html
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("renewal"):
            raise
        raise Missing(
            "a card as HTML",
            needs=f"the package {error.name!r}",
            came="none installed",
            todo="Install the extra, pip install 'renewal[report]', or write a .md file.",
        ) from error
    return replace_file(path, to_html(card))


def check_card_path(path: Path) -> None:
    """Raise `Invalid` unless a card can be written under this name."""
    if path.suffix.lower() not in _PAGES | _TEXTS:
        raise Invalid(
            "a card",
            needs="a file name that ends with .html or .md",
            came=repr(path.name),
            todo="Name it card.html or card.md.",
        )


def replace_file(path: Path, text: str) -> Path:
    """Write text into a file, whole or not at all, and return its absolute path.

    Parameters
    ----------
    path : Path
        Folders on the way are made.
    text : str
        Written as UTF-8.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(target)
    return target
