"""What a request needs to be let in, by its path: the table of scopes.

=========================================  =====================
live, ready, ``/ping``, KServe's ``/``,
``/docs``, ``/openapi.json``                nothing
predictions, of any protocol                the scope ``predict``
labels                                      ``feedback``
load, unload, metrics, statistics, config   ``operate``
everything else: metadata, index, a page
that does not exist                         any valid token
=========================================  =====================

A path that is not in the table and would change something (`POST` and its like) needs
``operate``, so a new page is closed before anybody thinks of opening it.
"""

from __future__ import annotations

from renewal.serve.guard import Need

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = frozenset(
    {
        (),
        ("ping",),
        ("health",),
        ("v2", "health", "live"),
        ("v2", "health", "ready"),
        ("docs",),
        ("openapi.json",),
    }
)
_OPERATING = frozenset({"stats", "config", "load", "unload"})
_PREDICTING = frozenset({"infer", "infer_stream", "generate", "generate_stream"})
_VERBS = frozenset({"predict", "classify", "regress", "explain"})

_OPEN_CALLS = frozenset({"ServerLive", "ServerReady", "ModelReady", "Check", "Watch", "List"})
_ANY_CALLS = frozenset({"ServerMetadata", "ModelMetadata", "RepositoryIndex"})
_PREDICTING_CALLS = frozenset({"ModelInfer", "ModelStreamInfer"})


def scope_of(method: str, path: tuple[str, ...]) -> Need | None:
    """Return what an HTTP request needs; None where anybody may ask.

    Parameters
    ----------
    method : str
        In capitals.
    path : tuple of str
        Split at its slashes, without empty ends.

    Examples
    --------
    >>> scope_of("POST", ("v2", "models", "flights", "infer"))
    'predict'
    >>> scope_of("GET", ("v2", "health", "ready")) is None
    True
    """
    reads = method in _READS
    need: Need | None
    match path:
        case ("v2", "models", "stats"):
            need = "operate"
        case ("v2", "models", _, "versions", _, *rest) | ("v2", "models", _, *rest):
            need = _of_model(tuple(rest), reads=reads)
        case ("v1", "models", *_, last) if last.rpartition(":")[2] in _VERBS and ":" in last:
            need = "predict"
        case ("v1", "models", _) if reads:
            need = None  # V1 has no other readiness than the document of the model itself
        case ("feedback",):
            need = "feedback"
        case ("invocations",):
            need = "predict"
        case ("v2", "repository", "index"):
            need = "any"
        case _ if path in _OPEN and reads:
            need = None
        case (*_, "metrics") | ("v2", "repository" | "trace" | "logging", *_):
            need = "operate"
        case _:
            need = "any" if reads else "operate"
    return need


def scope_of_call(name: str) -> Need | None:
    """Return what a gRPC call needs; None where anybody may ask.

    Parameters
    ----------
    name : str
        The method, with or without its service.

    Examples
    --------
    >>> scope_of_call("/inference.GRPCInferenceService/ModelInfer")
    'predict'
    >>> scope_of_call("/grpc.health.v1.Health/Check") is None
    True
    """
    last = name.rpartition("/")[2]
    if last in _OPEN_CALLS:
        return None
    if last in _PREDICTING_CALLS:
        return "predict"
    return "any" if last in _ANY_CALLS else "operate"


def _of_model(rest: tuple[str, ...], *, reads: bool) -> Need | None:
    """Return what a path under a model or one of its versions needs.

    A model named ``stats`` is no statistics, and an alias named ``ready`` no readiness: they
    are not in `rest`. Only ``/v2/models/stats``, of all models, looks like a name.
    """
    need: Need | None
    match rest:
        case ("ready",) if reads:
            need = None
        case ("feedback",):
            need = "feedback"
        case (verb,) if verb in _PREDICTING:
            need = "predict"
        case (verb, *_) if verb in _OPERATING or verb == "trace":
            need = "operate"
        case _:
            need = "any" if reads else "operate"
    return need
