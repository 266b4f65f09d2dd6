"""Labels for one model: those that come, and those that are asked for where they decide."""

from __future__ import annotations

import json
from typing import Any

from renewal.assemble.asking import ASKED, LabelSheet, filled_in
from renewal.assemble.reading import Readings
from renewal.core.errors import NotFound
from renewal.core.version import Version
from renewal.data.frame import as_table
from renewal.data.received import Labelled
from renewal.loop.choosing import Wanted
from renewal.loop.labelling import ask


class Labelling(Readings):
    """One model of a home, as far as its labels go.

    Parameters
    ----------
    home : Home
        Where it lives.
    spec : ModelSpec
        What was declared.
    """

    def label_request(
        self,
        candidate: str | Version | None = None,
        *,
        labels: int | None = None,
        metric: str | None = None,
        gain: float | None = None,
        seed: int = 0,
        anew: bool = False,
        who: str = "",
    ) -> LabelSheet:
        """Ask for the labels that tell a candidate from the champion, and no others.

        Rows on which the two say the same cancel out. While a request is open it is shown
        again; its labels come back through `label`, and `gate` judges on them.

        Parameters
        ----------
        candidate : str, Version or None
            Default: the newest version beside the champion.
        labels : int or None
            How many can be afforded; default: as many as find `gain` with a chance of 80%.
        metric : {"accuracy", "loss"} or None
            Rows on which they disagree, or on which their losses differ most; default: by
            the claims of the policy.
        gain : float or None
            The true gain to plan for; default: the smallest worth shipping.
        seed : int, default 0
            Of the draw.
        anew : bool, default False
            Ask again although a request is open.
        who : str
            For the log.

        Returns
        -------
        LabelSheet
            Its `table` is what a person fills in.

        Raises
        ------
        Refused
            When nothing is left to ask about, or no number of labels would do.
        Conflict
            When the gate has looked at the pair already, or another request is open.
        """
        version = self._beside() if candidate is None else self._version(candidate)
        wanted = Wanted(labels, metric, gain, seed, anew)
        asked = ask(self._shop(), version, wanted, who=who)
        champion = self.version(asked.request.baseline)
        return LabelSheet(asked, self.spec, (champion.name, version.name))

    def _beside(self) -> Version:
        """Return the newest version that is not the champion."""
        champion = self.home.registry.aliases(self.name).get("champion")
        found = [each for each in self.versions() if each.id != champion]
        if not found:
            raise NotFound(
                "Model.label_request",
                needs="a version beside the champion",
                came="none",
                todo="Make one: renewal update, or renewal register.",
            )
        return found[-1]

    def label(self, data: Any) -> Labelled:
        """Take labels by prediction id or by key, or a filled-in sheet of `label_request`.

        See `Feed.label`. Of a sheet only rows whose target is filled in are read.
        """
        table = as_table(data, who="Model.label")
        if ASKED not in table.column_names:
            return self.feed.label(table)
        found = filled_in(self._shop(), table)
        return Labelled(0, 0) if found is None else self.feed.label(found)

    def label_one(self, column: str, name: str, label: str) -> Labelled:
        """Take one label as text: JSON where it is JSON, else the text itself."""
        try:
            value = json.loads(label)
        except json.JSONDecodeError:
            value = label
        return self.feed.label({column: [name], "label": [value]})
