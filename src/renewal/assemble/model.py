"""The face of one model: train, register, update, compress, judge, roll out, take back."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from renewal.assemble.compressing import Compressing
from renewal.assemble.making import (
    fitted_manifest,
    given_rows,
    labels_noted,
    registered_manifest,
    table_of,
)
from renewal.core.errors import Invalid, NotFound
from renewal.core.plugin import load_plugin
from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.evaluate.compiled_record import CompiledForm
from renewal.loop.approving import settle
from renewal.loop.circuit import Circuit
from renewal.loop.compiling import compile_version
from renewal.loop.happening import Tell, tell_nobody
from renewal.loop.operating import judge, promote, roll_back, roll_out, steady
from renewal.registry.registry import Move
from renewal.rollout.machine import Rollout


class Model(Compressing):
    """One model of a home; made by `Home.model`.

    Parameters
    ----------
    home : Home
        Where it lives.
    spec : ModelSpec
        What was declared.
    """

    def train(self, estimator: Any, data: Any, *, seed: int = 0, who: str | None = None) -> Version:
        """Append the data to the feed and fit an unfitted estimator on its training rows.

        The first version becomes the champion. Rows without event time are fitted only where
        their role is ``train``; the others are kept for choosing and judging.

        Parameters
        ----------
        estimator : object
            Unfitted; any that a registered adapter takes. It is cloned, not changed.
        data : frame or (X, y)
            pandas, polars, pyarrow or a dict, with the target and the declared columns; or
            a numpy matrix and its labels.
        seed : int, default 0
            For estimators that leave their random state open.
        who : str or None
            For the log; default: the user of the process.

        Returns
        -------
        Version
            Registered.

        Raises
        ------
        Invalid
            When the data do not fit the declaration, hold one class, or no labels.
        """
        table, names = table_of(self.spec, data, who="Model.train")
        rows = given_rows(self.home, self.spec, table, who="Model.train")
        self.feed.append(table)
        manifest, facts = fitted_manifest(
            self.home, self.spec, estimator, rows, names=names, seed=seed
        )
        return self._add(manifest, facts, who)

    def register(
        self, estimator: Any, *, trained_on: Any = None, who: str | None = None
    ) -> Version:
        """Register an estimator that was fitted elsewhere, with the rows that it saw.

        Parameters
        ----------
        estimator : object
            Fitted.
        trained_on : frame or None
            Its training rows, by which they are never used to judge it. None: nobody knows,
            and only rows that arrive from now on count.
        who : str or None
            For the log.

        Returns
        -------
        Version
            Registered; the champion when it is the first.
        """
        rows = None
        if trained_on is not None:
            table, _names = table_of(self.spec, trained_on, who="Model.register")
            rows = given_rows(self.home, self.spec, table, who="Model.register")
        manifest, facts = registered_manifest(self.home, self.spec, estimator, rows)
        return self._add(manifest, facts, who)

    def register_file(
        self, path: Path, *, trained_on: Any = None, who: str | None = None
    ) -> Version:
        """Register a fitted estimator from a file of a safe format; see `register`.

        Parameters
        ----------
        path : Path
            A skops file of scikit-learn, or an ``.onnx`` graph; where that does not name its
            classes, register `OnnxModel.read(path, classes=...)` instead.
        trained_on, who
            As for `register`.

        Raises
        ------
        NotFound
            When there is no such file.
        Refused
            When it holds types that the policy does not trust.
        """
        if not path.is_file():
            raise NotFound(
                "Model.register_file", needs="a file", came=str(path), todo="Check the path."
            )
        is_graph = path.suffix.lower() == ".onnx"
        adapter = load_plugin("adapters", "onnx" if is_graph else "sklearn")()
        trust = self.home.policy(self.name).trust
        return self.register(adapter.load(path.read_bytes(), trust), trained_on=trained_on, who=who)

    def _add(self, manifest: Any, facts: Mapping[str, Any], who: str | None) -> Version:
        by = who or _user()
        version = self.home.registry.add_version(
            manifest, facts=labels_noted(self.home, self.spec, facts), who=by
        )
        if manifest.snapshot is not None:
            self.feed.lease(manifest.snapshot, version.id)
        if "champion" not in self.home.registry.aliases(self.name):
            self.home.registry.move(
                self.name,
                Move("champion", None, version.id),
                who=by,
                why="the first version",
                kind="first",
                plan=steady(self.name, version.id),
            )
        return version

    def tick(self, *, tell: Tell = tell_nobody) -> None:
        """Run one round of the circuit: finish, seal, judge, guard, watch, update."""
        self._circuit(tell).tick()

    def gate(self, candidate: str | Version, *, tell: Tell = tell_nobody) -> Verdict:
        """Judge a version beside the champion; the verdict is recorded.

        The first time this is the one fixed look at the rows that are there; after that only
        over rows that no verdict of the two has looked at yet.

        Raises
        ------
        Refused
            When no row is left that neither of the two has trained on.
        """
        return judge(self._shop(tell), self._version(candidate))

    def rollout(
        self,
        candidate: str | Version,
        *,
        forced_by: str | None = None,
        why: str = "",
        tell: Tell = tell_nobody,
    ) -> Rollout:
        """Start the rollout of a candidate: shadow, canary, full; back by itself if wrong.

        Parameters
        ----------
        candidate : str or Version
            With an accept verdict against the present champion, unless forced.
        forced_by, why : str
            A name and a reason: past the gate, straight into canary, and in the log for ever.
        tell : callable
            Hears of every happening.

        Raises
        ------
        Refused
            When no verdict accepts it and nobody forces it.
        Conflict
            When its verdict names another baseline than the present champion, or another
            rollout is under way.
        """
        return roll_out(self._shop(tell), self._version(candidate), forced_by=forced_by, why=why)

    def approve(
        self, candidate: str | Version, *, who: str, why: str, tell: Tell = tell_nobody
    ) -> Rollout | None:
        """Approve an accepted candidate that waits for a person; its rollout begins at once.

        Parameters
        ----------
        candidate : str or Version
            Accepted under a policy with ``approval = "person"``.
        who, why : str
            A name and a reason; they stay in the log.
        tell : callable
            Hears of it.

        Raises
        ------
        Refused
            Without a name and a reason, or after the time for it is over.
        NotFound
            When nothing about it waits for a person.
        """
        return settle(self._shop(tell), self._version(candidate), "approved", who=who, why=why)

    def decline(
        self, candidate: str | Version, *, who: str, why: str, tell: Tell = tell_nobody
    ) -> Rollout | None:
        """Decline an accepted candidate that waits for a person; see `approve`."""
        return settle(self._shop(tell), self._version(candidate), "declined", who=who, why=why)

    def promote(
        self,
        version: str | Version,
        *,
        expected: str | None = None,
        force: bool = False,
        who: str | None = None,
        why: str = "",
    ) -> Version:
        """Make a version the champion at once, on its accept verdict or by force.

        Parameters
        ----------
        version : str or Version
            What to promote.
        expected : str or None
            The champion that the caller saw; another one is a `Conflict`.
        force : bool, default False
            Past the gate; `who` and `why` are required and logged.
        who, why : str
            For the log.

        Raises
        ------
        Refused
            When no verdict accepts it.
        Conflict
            When the champion is not `expected`, or not the verdict's baseline any more.
        """
        return promote(
            self._shop(),
            self._version(version),
            expected=None if expected is None else self.version(expected).id,
            force=force,
            who=who or _user(),
            why=why,
        )

    def alias(
        self, name: str, version: str | Version | None, *, who: str | None = None, why: str = ""
    ) -> Version | None:
        """Point an alias of your own at a version, so that servers load it beside the plan's.

        Parameters
        ----------
        name : str
            A letter, then letters, digits, ``_``, ``.`` or ``-``; not ``champion``, ``candidate``
            or ``shadow``, which promotions and rollouts move.
        version : str or Version or None
            What it names from now on; None: nothing, the alias goes away.
        who, why : str
            For the log.

        Returns
        -------
        Version or None
            What it names now.

        Raises
        ------
        Invalid
            When the name is none, or not yours to move.
        Conflict
            When somebody else moved it at the same moment.
        """
        if name in {"champion", "candidate", "shadow"}:
            raise Invalid(
                "Model.alias",
                needs="an alias of your own",
                came=repr(name),
                todo="Use promote, rollback or rollout to change what is live.",
            )
        to = None if version is None else self._version(version)
        present = self.home.registry.aliases(self.spec.name).get(name)
        move = Move(name, present, None if to is None else to.id)
        self.home.registry.move(self.spec.name, move, who=who or _user(), why=why or "asked for")
        return to

    def rollback(self, to: str | None = None, *, who: str | None = None, why: str = "") -> Version:
        """Take the model back to a former champion, ending a rollout that is under way.

        Parameters
        ----------
        to : str or None
            A former champion; default: the one before the present.
        who, why : str
            For the log.

        Raises
        ------
        NotFound
            When there is no former champion.
        """
        goal = None if to is None else self.version(to)
        return roll_back(self._shop(), goal, who=who or _user(), why=why or "asked for")

    def compile(self, version: str | Version = "champion") -> CompiledForm:
        """Convert a version to ONNX, compare and time both forms, and record the better one.

        Servers whose policy says ``compiled = "when_equal"`` follow the record. The watch does
        the same by itself for versions in service.

        Parameters
        ----------
        version : str or Version, default "champion"
            Of scikit-learn, LightGBM or XGBoost.

        Raises
        ------
        Invalid
            When versions of its adapter have no compiled form.
        """
        return compile_version(self._shop(), self._version(version))

    def _circuit(self, tell: Tell) -> Circuit:
        return Circuit(self._shop(tell))


def _user() -> str:
    try:
        return getpass.getuser()
    except OSError:
        return "unknown"
