"""Sealing before reading: what servers have logged becomes part of the feed."""

from __future__ import annotations

from renewal.data.sealer import Sealer
from renewal.loop.lease import TTL_S
from renewal.loop.workshop import Workshop
from renewal.registry.leases import Lease, holder_name

# A server that is sealing is done within a second; what it commits must be there, too.
_WAIT_S = 10.0


def seal(shop: Workshop) -> int:
    """Commit the segments that lie on disk; return how many rows and predictions that were."""
    lease = Lease(shop.db, f"seal:{shop.spec.name}", holder_name(), TTL_S)
    return Sealer(shop.feed, shop.segments, lease).seal(_WAIT_S)
