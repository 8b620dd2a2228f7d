# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds the VIP: one Kubernetes Lease, taken by the rules of client-go's leader election.

Time is each host's own monotonic clock: a record counts from the moment when *this* host saw it change, so clocks of
hosts need not agree, and one that jumps harms nobody. A holder that could not renew for ``GIVE_UP`` seconds lets go
before another may take over at ``DURATION``, so that two never hold.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

DURATION = 8.0
GIVE_UP = 5.0
PERIOD = 1.0
# the longest that one call to the API server may take; GIVE_UP holds whatever it does
CALL = 2.0


@dataclass
class Election:
    """What one host knows. ``step`` decides, the caller acts and tells what came of it."""

    identity: str
    # record as last seen: resourceVersion, and when it was first seen
    version: str = ""
    seen_at: float = 0.0
    renewed_at: float | None = None
    lease: dict[str, Any] | None = field(default=None)

    def observe(self, lease: dict[str, Any] | None, now: float) -> None:
        """Take in what the API server has; None: there is no lease."""
        version = str(((lease or {}).get("metadata") or {}).get("resourceVersion") or "")
        if lease is None or version != self.version:
            self.version, self.seen_at = version, now
        self.lease = lease

    @property
    def holder(self) -> str:
        return str(((self.lease or {}).get("spec") or {}).get("holderIdentity") or "")

    def may_write(self, now: float) -> bool:
        """Whether the record is ours, free, or has not been renewed for as long as it was given."""
        if self.lease is None or self.holder in ("", self.identity):
            return True
        duration = float((self.lease.get("spec") or {}).get("leaseDurationSeconds") or DURATION)
        return now - self.seen_at >= duration

    def written(self, lease: dict[str, Any], started: float) -> None:
        """The API server took our record, in a call that began at ``started``."""
        self.observe(lease, started)
        self.renewed_at = started

    def lost(self) -> None:
        self.renewed_at = None

    def holds(self, now: float) -> bool:
        """Whether the VIP may be on this host at ``now``."""
        return self.renewed_at is not None and now - self.renewed_at < GIVE_UP

    def record(self, name: str, namespace: str, wall: datetime.datetime, *, release: bool = False) -> dict[str, Any]:
        """The Lease to write: ours, renewed now; or given back."""
        stamp = wall.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = dict((self.lease or {}).get("spec") or {})
        mine = self.holder == self.identity
        spec: dict[str, Any] = {
            "holderIdentity": "" if release else self.identity,
            "leaseDurationSeconds": 1 if release else int(DURATION),
            "acquireTime": old.get("acquireTime") if mine and old.get("acquireTime") else stamp,
            "renewTime": stamp,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if mine or self.lease is None else 1),
        }
        metadata: dict[str, Any] = {"name": name, "namespace": namespace}
        if self.lease is not None:
            # a write over someone else's newer record is refused by the API server
            metadata["resourceVersion"] = self.version
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
