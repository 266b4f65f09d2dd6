"""Which ancestors live on in a version."""

from __future__ import annotations

from datetime import UTC, datetime

from renewal.core.clock import to_us
from renewal.core.spec import Signature
from renewal.core.version import Manifest, Version
from renewal.update.lineage import living_ancestors, unknown_until_us, unmapped_version


def _version(
    number: int, strategy: str, parent: int | None, *, trained_keys: str | None = None
) -> Version:
    """Return a version that was registered on day `number` of January 2013."""
    manifest = Manifest(
        model="m",
        task="binary",
        adapter="sklearn",
        artifact="0" * 64,
        artifact_bytes=1,
        signature=Signature(()),
        classes=("a", "b"),
        strategy=strategy,
        parent=None if parent is None else f"v{parent}",
        trained_keys=trained_keys,
    )
    created_at = datetime(2013, 1, number, tzinfo=UTC)
    return Version(f"v{number}", number, manifest, {}, created_at, "t")


def _names(*lineage: Version) -> list[str]:
    return [version.id for version in living_ancestors(lineage)]


def test_the_chain_ends_at_the_first_fresh_fit() -> None:
    """Breaks when the rows of an unknown champion are forgotten after one recalibration."""
    registered = _version(1, "register", None)
    recalibrated = _version(2, "recalibrate", 1)
    went_on = _version(3, "incremental", 2)
    retrained = _version(4, "retrain", 3)
    assert _names(went_on, recalibrated, registered) == ["v3", "v2", "v1"]
    assert _names(retrained, went_on, recalibrated, registered) == ["v4"]
    assert _names(registered) == ["v1"]
    assert _names(_version(5, "recalibrate", 4), retrained, went_on) == ["v5", "v4"]


def test_an_unknown_strategy_is_taken_to_keep_its_parent() -> None:
    """A plug-in that is no longer installed must not make rows look unseen."""
    assert _names(_version(2, "gone_plugin", 1), _version(1, "train", None)) == ["v2", "v1"]


def test_the_last_unknown_training_counts() -> None:
    registered = _version(1, "register", None)
    recalibrated = _version(2, "recalibrate", 1, trained_keys="2" * 64)
    assert unknown_until_us((recalibrated, registered)) == to_us(registered.created_at)
    assert unknown_until_us((recalibrated,)) is None
    assert unknown_until_us((_version(3, "recalibrate", 1), registered)) == to_us(
        datetime(2013, 1, 3, tzinfo=UTC)
    )


def test_a_map_beside_the_model_is_no_fit_of_it() -> None:
    trained = _version(1, "train", None)
    recalibrated = _version(2, "recalibrate", 1)
    again = _version(3, "recalibrate", 2)
    assert unmapped_version((again, recalibrated, trained)) == trained
    assert unmapped_version((trained,)) == trained
    retrained = _version(4, "retrain", 3)  # a fresh fit may come to the same bytes
    assert unmapped_version((retrained, again, recalibrated, trained)) == retrained
