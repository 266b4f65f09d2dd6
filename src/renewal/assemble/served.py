"""How the models of a home are served, read without opening the home.

A supervisor needs no more: it would hold the libraries of every worker in memory for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from renewal.assemble.policy import Policy, read_policy
from renewal.core.errors import NotFound
from renewal.serve.options import ServeOptions
from renewal.serve.run_folder import RunFolder

POLICY_FILE = "renewal.toml"


def check_home(root: Path) -> None:
    """Raise `NotFound` where there is no home."""
    if not (root / "salt").exists():
        raise NotFound(
            "renewal.open",
            needs=f"a home at {root}",
            came="no such folder" if not root.exists() else "a folder that is no home",
            todo="Make one: renewal init, or renewal.open(path) in Python.",
        )


def read_serve_options(root: Path, **options: Any) -> ServeOptions:
    """Return how a server of a home serves: as its policy says, but for `options`.

    Parameters
    ----------
    root : Path
        The home.
    **options
        Fields of `ServeOptions`.

    Raises
    ------
    NotFound
        When there is no home.
    Invalid
        When the policy file holds what it should not.
    """
    check_home(root)
    return serve_options(read_policy(root / POLICY_FILE).of(), options)


def serve_options(policy: Policy, options: Mapping[str, Any]) -> ServeOptions:
    """Return how a server serves, or a model in it, by a policy, but for `options`."""
    known = {name: getattr(policy.serve, name) for name in policy.serve.__dataclass_fields__}
    return ServeOptions(**{**known, "trust": policy.trust, **options})


def run_folder(root: Path) -> RunFolder:
    """Return where a server says what it does; it is made when the server starts."""
    return RunFolder(root / "run")
