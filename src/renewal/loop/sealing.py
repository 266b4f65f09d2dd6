"""Sealing before reading: what servers have logged becomes part of the feed."""

from __future__ import annotations

from renewal.data.sealer import Sealer
from renewal.loop.lease import TTL_S, holder_name
from renewal.loop.workshop import Workshop
from renewal.registry.leases import Lease


def seal(shop: Workshop) -> int:
    """Commit the segments that lie on disk; return how many rows and predictions that were."""
    lease = Lease(shop.db, f"seal:{shop.spec.name}", holder_name(), TTL_S)
    return Sealer(shop.feed, shop.segments, lease).seal()
