"""A trial: one chain carried out once, with all that the search must know of it."""

from __future__ import annotations

from dataclasses import dataclass

from renewal.compress.size import Size
from renewal.core.spec import Label, Signature


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a chain; plain values, kept by the digest of everything that it depends on.

    Parameters
    ----------
    key : str
        Digest over the parent's bytes, the chain, the rows, the effort, the seed and the
        versions of the libraries.
    chain : str
        Its label, free knobs set.
    failed : str or None
        Why there is no model; then all that follows is empty.
    adapter : str
        Runs the artifact.
    artifact : str
        Digest of its bytes in the store; they are what is scored here, and what is served.
    signature : Signature or None
        Columns that it reads.
    classes : tuple
        Of its scores.
    size : Size or None
        How large it is.
    scores : str
        Digest of its scores of the validation rows, float64 of shape (n_rows, n_scores): a
        search for another tau or another metric reads them, and runs nothing.
    learned : bool
        Whether a step has used rows of the material.
    seconds : float
        That it took.
    effort : float
        Share of the epochs and rows that its steps spent.
    note : str
        What must be known of what its steps do, such as that zeros save storage alone.
    """

    key: str
    chain: str
    failed: str | None = None
    adapter: str = ""
    artifact: str = ""
    signature: Signature | None = None
    classes: tuple[Label, ...] = ()
    size: Size | None = None
    scores: str = ""
    learned: bool = False
    seconds: float = 0.0
    effort: float = 1.0
    note: str = ""
