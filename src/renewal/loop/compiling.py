"""Compiling: versions in service get the record of their compiled form, checked and timed."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

from renewal.core.errors import Invalid, Missing, Refused, RenewalError, Unavailable
from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.frame import conform_part
from renewal.data.rows import Rows
from renewal.evaluate.compiled import check_compiled, faster_form
from renewal.evaluate.compiled_record import CompiledForm, read_form, write_form
from renewal.loop.comparing import runtime_of, unseen_by
from renewal.loop.happening import Happening
from renewal.loop.workshop import Workshop
from renewal.models.contract import Runtime
from renewal.models.onnx_convert import compile_key, convert
from renewal.models.parity_refusals import Refusals

_log = logging.getLogger(__name__)

CAP_ROWS = 5000
"""Of the newest rows, how many are compared."""

_MICROSECOND = timedelta(microseconds=1)
_RECENT = (timedelta(days=30), timedelta(days=365))
_TASKS = ("binary", "multiclass", "regression")
# A graph of texts, bytes or tensors of numbers is what an adapter of its own serves.
_KINDS = {"float", "int", "bool", "string"}


def compile_version(shop: Workshop, version: Version, *, timeout_s: float = 120.0) -> CompiledForm:
    """Convert a version, compare and time both forms, and record which of them serves it.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    version : Version
        Of scikit-learn, LightGBM or XGBoost.
    timeout_s : float, seconds, default 120
        Limit of the conversion.

    Returns
    -------
    CompiledForm
        Compiled where it is equal and faster, with the graph in the store by now; else
        native, with the reason.

    Raises
    ------
    Invalid
        When versions of its adapter have no compiled form.
    Missing
        When a package of the extra ``compile`` is not installed.
    Refused
        When there is no row to compare on.
    Unavailable
        When the store, or the registry, cannot be written.

    Notes
    -----
    2 to 15 s, most of it the conversion's own process and, for a forest, thresholds.
    """
    key = _demanded_key(version)
    features = _rows(shop, version)
    began = time.perf_counter()
    try:
        found = _checked(shop, version, features, timeout_s)
    except (Missing, Unavailable):
        # A full disk, say, tells nothing of the version: the next round tries again.
        raise
    except RenewalError as error:
        # What cannot be converted is served as it is.
        found = CompiledForm("native", f"{error}"[:500], compile_s=time.perf_counter() - began)
    write_form(shop.db, version.id, key, found, at=shop.clock.now())
    _log.info(
        "model %s: %s is served %s: %s", shop.spec.name, version.name, found.form, found.reason
    )
    return found


def compile_due(shop: Workshop) -> None:
    """Check the versions in service that have no record under the present runtime.

    Those are the champion and what the newest plan names; a record of another release of
    the converter or of the runtime does not count. What goes wrong is logged, and tried
    again at the next round.

    Parameters
    ----------
    shop : Workshop
        The rooms; its `compiled` says whether any version is to be served compiled.
    """
    if shop.compiled == "never":
        return
    for version in _in_service(shop):
        key = compile_key(version.manifest.adapter)
        if key is None or _is_settled(shop, read_form(shop.db, version.id, key)):
            continue
        try:
            found = compile_version(shop, version)
        except RenewalError as error:
            _log.warning("model %s: %s is not checked: %s", shop.spec.name, version.name, error)
            continue
        sentence = f"{version.name} is served in its {found.form} form: {found.reason}"
        facts = {"version": version.id, "form": found.form}
        shop.tell(Happening(shop.clock.now(), "compiled", sentence, facts))


def _is_settled(shop: Workshop, found: CompiledForm | None) -> bool:
    """Whether a record says what to serve; one whose graph is gone is made anew."""
    return found is not None and (found.graph is None or shop.store.renew(found.graph))


def _in_service(shop: Workshop) -> list[Version]:
    registry, model = shop.registry, shop.spec.name
    champion = registry.aliases(model).get("champion")
    newest = registry.plan(model)
    ids = [champion] if champion is not None else []
    ids += list(newest[1].versions) if newest is not None else []
    return [registry.version(model, each) for each in dict.fromkeys(ids)]


def _demanded_key(version: Version) -> str:
    manifest = version.manifest
    key = compile_key(manifest.adapter)
    if key is not None:
        return key
    if manifest.adapter in {"sklearn", "lightgbm", "xgboost"}:
        raise Missing(
            "renewal compile",
            needs="the packages of the extra compile",
            came="not all of them",
            todo="Install it: pip install 'renewal[compile]'.",
        )
    raise Invalid(
        "renewal compile",
        needs="a version of scikit-learn, LightGBM or XGBoost",
        came=f"{version.name}, of the adapter {manifest.adapter}",
        todo="It is served as it is; renewal compress exports networks.",
        adapter=manifest.adapter,
    )


def _checked(shop: Workshop, version: Version, features: Any, timeout_s: float) -> CompiledForm:
    manifest = version.manifest
    odd = {field.kind for field in manifest.signature.fields} - _KINDS
    if manifest.task not in _TASKS or odd:
        what = f"columns of {', '.join(sorted(odd))}" if odd else f"the task {manifest.task}"
        return CompiledForm("native", f"no compiled form for {what}")
    began = time.perf_counter()
    native = runtime_of(shop, version)
    try:
        artifact = shop.store.get(manifest.artifact)
        try:
            graph = convert(manifest, artifact, trust=shop.trust, timeout_s=timeout_s)
        except Unavailable as error:
            # It took too long, or too much memory, and would again.
            spent_s = time.perf_counter() - began
            return CompiledForm("native", f"{error}"[:500], compile_s=spent_s)
        compile_s = time.perf_counter() - began
        with closing(_runtime(shop, version, graph, Refusals())) as plain:
            checked = check_compiled(
                native, plain, features, manifest.signature, seed=shop.gate.seed
            )
        found = CompiledForm(
            "native",
            f"not equal: {checked.failure}",
            refusals=checked.refusals,
            probes=checked.probes,
            compile_s=compile_s,
        )
        return found if checked.failure else _timed(shop, version, native, features, (found, graph))
    finally:
        native.close()


def _timed(
    shop: Workshop,
    version: Version,
    native: Runtime,
    features: Any,
    equal: tuple[CompiledForm, bytes],
) -> CompiledForm:
    """Return the record of two equal forms, by which of them is faster."""
    found, graph = equal
    with closing(_runtime(shop, version, graph, found.refusals)) as compiled:
        loses, ours, theirs = faster_form(native, compiled, features, seed=shop.gate.seed)
    timed = replace(
        found,
        native_ms=(ours.latency_ms_p50_1, ours.latency_ms_p50_64),
        compiled_ms=(theirs.latency_ms_p50_1, theirs.latency_ms_p50_64),
    )
    if loses:
        return replace(timed, reason=f"equal, but {loses}")
    times = timed.native_ms[0] / timed.compiled_ms[0]
    return replace(
        timed,
        form="compiled",
        reason=f"equal, and {times:.1f} times as fast with one row",
        graph=shop.store.put(graph),
        graph_bytes=len(graph),
    )


def _runtime(shop: Workshop, version: Version, graph: bytes, refusals: Refusals) -> Runtime:
    make = load_plugin("runtimes", "onnx")
    runtime: Runtime = make(
        version.manifest, shop.store, shop.trust, graph=graph, refusals=refusals
    )
    return runtime


def _rows(shop: Workshop, version: Version) -> Any:
    """Return the newest rows that the version has not trained on; else those of the fit."""
    rows = _newest(shop)
    if not len(rows):
        raise Refused(
            "renewal compile",
            needs="rows to compare both forms on",
            came="none in the feed",
            todo="Append rows, or wait for requests.",
        )
    try:
        rows, _n_seen = unseen_by(shop, rows, version)
    except Refused:
        _log.info("model %s: %s is compared on rows of its fit", shop.spec.name, version.name)
    start = max(0, len(rows) - CAP_ROWS)
    features = rows.features.slice(start)
    return conform_part(features, version.manifest.signature, who="renewal compile")


def _newest(shop: Workshop) -> Rows:
    newest_us = shop.feed.newest_event_us()
    if newest_us is None:
        return shop.feed.rows()
    for age in _RECENT:
        rows = shop.feed.rows(since_us=newest_us - age // _MICROSECOND)
        if len(rows) >= CAP_ROWS:
            return rows
    return shop.feed.rows()
