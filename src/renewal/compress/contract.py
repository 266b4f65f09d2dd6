"""What a technique owes: a smaller form of a form, at levels that a search can walk."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol

from renewal.compress.form import Form
from renewal.compress.material import Material

Family = Literal["prune", "quantize", "distil", "factorize", "recover", "export"]


class Technique(Protocol):
    """One step of a chain: it takes a form and returns another, and changes neither.

    Constructed without arguments, keeps no state: what comes out depends on the form, the
    options, the material and the seed alone, so that a trial that was killed can be done
    again. Registered under the entry-point group ``renewal.techniques`` by a name such as
    ``prune.channels``: its family, a dot, what is done.

    Attributes
    ----------
    name : str
        The name of its entry point.
    family : str
        The first part of the name.
    takes : tuple of str
        Adapters whose forms it takes. A form of a network that can be exported is exported
        first where only ``onnx`` is taken.
    Options : type
        A frozen dataclass, every field with a default; chains are written with its fields.
    knob : str or None
        The field that `levels` turns; None: there is one level.
    learns : bool
        Whether it fits, calibrates or distils on the material's rows: these rows then are
        among those that the version trained on.

    Notes
    -----
    Where it has an attribute `note`, a sentence of what must be known of its work, that stands
    beside each of its trials.
    """

    name: ClassVar[str]
    family: ClassVar[Family]
    takes: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[Any]]
    knob: ClassVar[str | None]
    learns: ClassVar[bool]

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return why nothing can be done with this form, as one sentence; None when it can."""
        ...

    def levels(self, form: Form, material: Material) -> tuple[Any, ...]:
        """Return options from the mildest to the strongest, 4 to 12 of them.

        Size falls along them, and quality falls or stays but for noise: the search bisects.
        A technique without a knob returns its default options alone.
        """
        ...

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:
        """Return the smaller form.

        Raises
        ------
        Invalid
            When the options do not fit the form, or what came out is no model any more (NaN,
            another shape of scores): the trial has failed, the search goes on.
        """
        ...
