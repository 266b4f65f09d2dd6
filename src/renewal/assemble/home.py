"""A home: the folder or database in which models are kept up to date."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from renewal.assemble.model import Model
from renewal.assemble.policy import Policy, read_policy
from renewal.assemble.served import POLICY_FILE, check_home, run_folder, serve_options
from renewal.core.clock import Clock, SystemClock
from renewal.core.duration import parse_duration
from renewal.core.errors import Invalid, RenewalError, Unavailable
from renewal.core.plugin import load_plugin
from renewal.core.spec import ModelSpec
from renewal.data.feed import Feed
from renewal.data.place import Place
from renewal.engine.contract import Engine
from renewal.engine.options import EngineOptions
from renewal.loop.happening import Happening, HearRecipe, Tell, hear_no_recipe, tell_nobody
from renewal.loop.workshop import Workshop
from renewal.registry.db import Database
from renewal.registry.registry import Registry
from renewal.serve.run_folder import RunFolder
from renewal.serve.server import Server
from renewal.store.local import LocalStore

_log = logging.getLogger(__name__)

_SALT_BYTES = 16
_GRACE_S = 0.1


def open_home(
    where: str | Path = ".renewal",
    *,
    database: str | None = None,
    clock: Clock | None = None,
    create: bool = True,
) -> Home:
    """Open a home, making it where it does not exist yet.

    Parameters
    ----------
    where : str or Path, default ".renewal"
        The folder of objects, feeds, logs and the policy file.
    database : str or None
        URL of the registry's database, such as ``postgresql://...``; default: an SQLite
        file in the folder.
    clock : Clock or None
        The time; default: the machine's.
    create : bool, default True
        Whether a missing home is made.

    Returns
    -------
    Home
        Open; `close` it, or use it as a context manager.

    Raises
    ------
    NotFound
        When there is no home and `create` is False.
    Invalid
        When the policy file holds an unknown key, or SQLite would lie on a network disk.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, open_home(folder) as home:
    ...     home.models()
    ()
    """
    root = Path(where)
    if not create:
        check_home(root)
    if root.exists() and not root.is_dir():
        raise Invalid(
            "renewal.open", needs="a folder", came=f"the file {root}", todo="Name another place."
        )
    root.mkdir(parents=True, exist_ok=True)
    return Home(root, database or f"sqlite:///{(root / 'registry.db').resolve()}", clock)


class Home:
    """A home and the models that it keeps up to date; made by `open_home`.

    Parameters
    ----------
    root : Path
        Its folder.
    database : str
        URL of the registry's database.
    clock : Clock or None
        The time; default: the machine's.
    """

    def __init__(self, root: Path, database: str, clock: Clock | None = None) -> None:
        self.root = root
        self.clock: Clock = clock or SystemClock()
        self.salt = _salt(root / "salt")
        self._policy = read_policy(root / POLICY_FILE)
        self.db = Database(database)
        self.registry = Registry(self.db, self.clock)
        self.place = Place(str(root.resolve()), database)
        self.store = LocalStore(self.place.objects)
        self._feeds: dict[str, Feed] = {}
        self._engines: dict[EngineOptions, Engine] = {}

    def __enter__(self) -> Self:
        """Return the home itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let the workers go and close the database."""
        while self._engines:
            self._engines.popitem()[1].close()
        self.db.close()

    def policy(self, model: str | None = None) -> Policy:
        """Return the policy of a model, or the common one."""
        return self._policy.of(model)

    def model(self, name: str, **declared: Any) -> Model:
        """Return a model: declare it by naming its task and target, or find it by name.

        Parameters
        ----------
        name : str
            In the registry.
        **declared
            Fields of `ModelSpec`: ``task``, ``target``, ``key``, ``time``, ``group``,
            ``block``, ``sticky``, ``label_delay``, ``attributes``. Durations may be text,
            such as ``"1d"``; attributes a list, or text with commas between the names.

        Returns
        -------
        Model
            Bound to this home.

        Raises
        ------
        NotFound
            When only the name is given and nobody has declared it; the nearest is offered.
        Conflict
            When it has been declared differently before.
        """
        if not declared:
            return Model(self, self.registry.model(name))
        return Model(self, self.registry.create_model(_spec(name, declared)))

    def models(self) -> tuple[Model, ...]:
        """Return every model of the home, by name."""
        return tuple(Model(self, spec) for spec in self.registry.models())

    def feed(self, name: str) -> Feed:
        """Return the feed of a model; the same object every time."""
        if name not in self._feeds:
            spec = self.registry.model(name)
            self._feeds[name] = Feed(
                self.place.feed(name),
                spec,
                self.db,
                self.clock,
                segments=self.segments(name),
            )
        return self._feeds[name]

    def segments(self, name: str) -> Path:
        """Return the folder into which servers write a model's log segments."""
        return self.place.segments(name)

    def server(self, *, run: RunFolder | None = None, **options: Any) -> Server:
        """Return a server that is not started yet; `options` override the policy's.

        Parameters
        ----------
        run : RunFolder or None
            That of the server of which this one is a worker; default: one of its own.
        **options
            Fields of `ServeOptions`, such as ``port`` and ``host``.
        """
        return Server(
            self.registry,
            self.store,
            self.feed,
            self.root / "log",
            self.clock,
            serve_options(self.policy(), options),
            options_of=lambda name: serve_options(self.policy(name), options),
            run=run or run_folder(self.root),
        )

    def serve(self, port: int = 8080, **options: Any) -> Server:
        """Serve every model of the home over HTTP, in a thread, until `stop`.

        Parameters
        ----------
        port : int, default 8080
            0 takes a free one; read it from the server's `url`.
        **options
            Further fields of `ServeOptions`.

        Returns
        -------
        Server
            Listening.
        """
        server = self.server(port=port, **options)
        server.start()
        return server

    def engine(self, name: str | None = None) -> Engine:
        """Return the engine of a model's policy; models of one policy share it."""
        options = self.policy(name).engine
        if options not in self._engines:
            self._engines[options] = load_plugin("engines", options.kind)(options)
        return self._engines[options]

    def workshop(
        self, spec: ModelSpec, tell: Tell = tell_nobody, hear: HearRecipe = hear_no_recipe
    ) -> Workshop:
        """Return what the circuit of one model works with."""
        policy = self.policy(spec.name)
        return Workshop(
            spec=spec,
            db=self.db,
            registry=self.registry,
            store=self.store,
            feed=self.feed(spec.name),
            engine=self.engine(spec.name),
            segments=self.segments(spec.name),
            clock=self.clock,
            salt=self.salt,
            trust=policy.trust,
            update=policy.update,
            gate=policy.gate,
            rollout=policy.rollout,
            monitor=policy.monitor,
            compress=policy.compress,
            tell=tell,
            place=self.place,
            hear=hear,
            compiled=policy.serve.compiled,
        )

    def watch(
        self,
        models: Iterable[str] | None = None,
        *,
        every_s: float = 10.0,
        once: bool = False,
        stop: Callable[[float], bool] | None = None,
        tell: Tell = tell_nobody,
    ) -> None:
        """Run the circuit of the models until told to stop; finish what a crash left open.

        Parameters
        ----------
        models : iterable of str or None
            Which; default: all.
        every_s : float, default 10
            Seconds between two rounds.
        once : bool, default False
            One round only.
        stop : callable or None
            Waits that many seconds and says whether to stop, such as ``Event().wait``.
        tell : callable
            Hears of every happening.

        Raises
        ------
        RenewalError
            With `once`, whatever stopped a model's round. Else it is logged and told, the
            other models go on, and the next round tries again.
        """
        names = tuple(models) if models is not None else None
        while True:
            for model in self.models() if names is None else map(self.model, names):
                try:
                    _patiently(model, tell)
                except RenewalError as error:
                    if once:
                        raise
                    # One model's trouble must not leave the others without a watch.
                    _log.exception("model %s: this round of the watch failed", model.name)
                    tell(Happening(self.clock.now(), "failed", f"{model.name}: {error}"))
            if once or (stop is not None and stop(every_s)):
                return


def _patiently(model: Model, tell: Tell) -> None:
    """Run a tick; wait once for the lease of a watcher that died without giving it back."""
    try:
        model.tick(tell=tell)
    except Unavailable as busy:
        time.sleep(float(busy.fields.get("retry_after_s", 1.0)) + _GRACE_S)
        model.tick(tell=tell)


def _spec(name: str, declared: dict[str, Any]) -> ModelSpec:
    values = dict(declared)
    for field in ("task", "target"):
        if not values.get(field):
            raise Invalid(
                "Home.model",
                needs=f"a {field} for the new model {name!r}",
                came=", ".join(sorted(values)) or "nothing",
                todo='Declare it: home.model(name, task="binary", target="late", ...).',
            )
    values["label_delay"] = parse_duration(values.get("label_delay", timedelta(0)))
    block = values.get("block")
    if isinstance(block, str) and block[:1].isdigit():
        values["block"] = parse_duration(block)
    attributes = values.get("attributes") or ()
    if isinstance(attributes, str):
        attributes = [each.strip() for each in attributes.split(",")]
    values["attributes"] = tuple(attributes)
    return ModelSpec(name, **values)


def _salt(path: Path) -> bytes:
    """Read the salt of a home; the first to come makes it, whole or not at all."""
    if not path.exists():
        fresh = path.with_name(f"salt.{secrets.token_hex(4)}.tmp")
        fresh.write_bytes(secrets.token_bytes(_SALT_BYTES))
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass  # another process was first: its salt counts
        finally:
            fresh.unlink()
    return path.read_bytes()
