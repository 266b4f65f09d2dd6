"""The sheet of a request for labels: rows as a person fills them in, and as they come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.clock import from_us
from renewal.core.errors import Invalid, NotFound
from renewal.core.spec import ModelSpec
from renewal.gate.requests import LabelRequest, requests_of
from renewal.loop.labelling import Asked, counted_rows
from renewal.loop.sampled import frame_of
from renewal.loop.workshop import Workshop

ASKED = "renewal_asked"
"""The column of a sheet that names its rows: the id of the request and a number."""

CHANCE = "renewal_chance"
"""The column of a sheet that holds the chance with which a row was asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelSheet:
    """What is asked for, for people.

    Parameters
    ----------
    asked : Asked
        The request and its rows without a label.
    spec : ModelSpec
        Names the columns.
    versions : tuple of (champion, candidate)
        Short names, such as ``v1``.
    """

    asked: Asked
    spec: ModelSpec
    versions: tuple[str, str]

    @property
    def request(self) -> LabelRequest:
        """The request as it is kept."""
        return self.asked.request

    def table(self, *, show_predictions: bool = False) -> pa.Table:
        """Return the rows that still need a label, with an empty target column.

        Parameters
        ----------
        show_predictions : bool, default False
            Whether to tell what the versions say. Left out, labels are not led by them.

        Returns
        -------
        pyarrow.Table
            ``renewal_asked``, the key, the event time where there is one, the inputs,
            ``renewal_chance``, the two predictions where they are asked for, the target.
        """
        rows = self.asked.rows
        names = [f"{self.request.id}-{number}" for number in self.asked.numbers.tolist()]
        columns: dict[str, Any] = {
            ASKED: pa.array(names, pa.string()),
            self.spec.key or "key": pa.array(rows.key.tolist(), pa.string()),
        }
        if self.spec.time is not None:
            at = [from_us(us) for us in rows.event_us.tolist()]
            columns[self.spec.time] = pa.array(at, pa.timestamp("us", "UTC"))
        for name in rows.features.column_names:
            columns[name] = rows.features.column(name)
        columns[CHANCE] = pa.array(self.asked.chance, pa.float64())
        if show_predictions:
            for name, said in zip(("champion", "candidate"), self.asked.said, strict=True):
                columns[f"renewal_{name}"] = pa.array(said.tolist())
        columns[self.spec.target] = pa.nulls(len(rows))
        return pa.table(columns)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was asked for and what it will be worth, a line each."""
        request, asked, (champion, candidate) = self.request, self.asked, self.versions
        pair = f"{candidate} beside {champion}"
        if not request.n_asked:
            open_rows = "every row without a label" if asked.n_known else "all rows"
            alike = f"they answer alike on {open_rows} of {request.n_frame:,}"
            return (f"{pair}: {alike}: nothing to label, the gate judges them as they are",)
        among = f" of {asked.n_decisive:,}" if asked.n_decisive is not None else ""
        why = "they disagree" if request.metric == "accuracy" else "their losses can differ"
        rows = f"{request.n_asked:,}{among} rows to label on which {why}"
        lines = [f"{pair}: {rows}, of {request.n_frame:,}"]
        plan = asked.plan
        if plan is not None:
            need = "more than there are" if plan.n_labels is None else f"{plan.n_labels:,}"
            lines.append(
                f"to find a gain of {plan.effect:.3g} with a chance of 80% at {plan.alpha:.3g}: "
                f"{need} labels here, {plan.n_random:,} at random"
            )
        if asked.n_came:
            lines.append(f"{asked.n_came:,} labels came, {len(asked.rows):,} are missing")
        return tuple(lines)


def filled_in(shop: Workshop, sheet: pa.Table) -> pa.Table | None:
    """Return the labels of a sheet that was filled in, by key; None where none is.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    sheet : pyarrow.Table
        With the column ``renewal_asked`` and the target (or ``label``). Rows whose target is
        empty are left for later; other columns are not read.

    Returns
    -------
    pyarrow.Table or None
        Columns ``key`` and ``label``, as `Feed.label` takes them.

    Raises
    ------
    Invalid
        On a row that was not asked for, one that comes twice, or no column of labels.
    NotFound
        On a request that nobody made.
    """
    who = "renewal feedback"
    target = next((name for name in (shop.spec.target, "label") if name in sheet.column_names), "")
    if not target:
        raise Invalid(
            who,
            needs=f"the column {shop.spec.target!r} with the labels",
            came=f"columns {', '.join(sheet.column_names)}",
            todo="Fill in the sheet as it was written.",
        )
    values = sheet.column(target).combine_chunks()
    is_there = values.is_valid()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        # A CSV file has no other way to leave a cell open.
        is_there = pc.and_(is_there, pc.not_equal(pc.utf8_trim_whitespace(values), ""))
    is_there = pc.fill_null(is_there, fill_value=False)
    names = sheet.column(ASKED).combine_chunks().filter(is_there).to_pylist()
    if not names:
        return None
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid(who, needs="each asked row once", came=f"{twice} twice", todo="Keep one.")
    keys = _keys_of(shop, names, who=who)
    return pa.table({"key": pa.array(keys, pa.string()), "label": values.filter(is_there)})


def _keys_of(shop: Workshop, names: Sequence[Any], *, who: str) -> list[str]:
    requests = {each.id: each for each in requests_of(shop.db, shop.spec.name)}
    known: dict[str, str] = {}
    for request_id in dict.fromkeys(str(name).rpartition("-")[0] for name in names):
        if request_id not in requests:
            raise NotFound(
                who,
                needs=f"rows of a request for labels of {shop.spec.name!r}",
                came=f"the request {request_id!r}",
                todo="Take the sheet that renewal label-request wrote, with its first column.",
            )
        frame = frame_of(shop, requests[request_id])
        rows, at = counted_rows(shop, frame)
        numbers = frame.is_asked.cumsum() - 1
        for key, place in zip(rows.key.tolist(), at.tolist(), strict=True):
            if frame.is_asked[place]:
                known[f"{request_id}-{numbers[place]}"] = key
    strange = [str(name) for name in names if name not in known]
    if strange:
        raise Invalid(
            who,
            needs="labels of rows that were asked for, and that the feed has",
            came=", ".join(strange[:3]) + (", ..." if len(strange) > 3 else ""),
            todo="Send labels of other rows by key or prediction id, without this column.",
        )
    return [known[name] for name in names]
