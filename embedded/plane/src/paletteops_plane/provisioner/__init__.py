# SPDX-License-Identifier: GPL-3.0-or-later
"""The seam between the management API and infrastructure.

What is above it writes desired state (a cluster's document and its cloud config's) and reads observed state (status,
machines, events). What is behind it brings the one to the other, in its own time. Every call is safe to repeat, and
nothing is assumed to be done when a call returns.
"""

from __future__ import annotations

from typing import Protocol

from paletteops_plane.plane import Plane
from paletteops_plane.store import Document


class Provisioner(Protocol):
    """What can stand behind the seam."""

    def reconcile(self, plane: Plane, cluster: Document) -> float | None:
        """Go on with a cluster as far as it can get by now; store what is observed.

        Returns in how many seconds there is more to do, None when the cluster is as desired (or cannot go on until
        somebody changes something).
        """
        ...


def provisioner(_plane: Plane) -> Provisioner:
    """What stands behind the seam of this plane."""
    from paletteops_plane.provisioner.simulated import Simulated

    return Simulated()


def wake(plane: Plane, cluster: Document) -> None:
    """Something about a cluster was asked for: it goes on from now."""
    due = provisioner(plane).reconcile(plane, cluster)
    if due is None:
        plane.moving.pop(cluster.uid, None)
    else:
        plane.moving[cluster.uid] = plane.clock.now().timestamp() + due


def catch_up(plane: Plane) -> None:
    """Bring every cluster in motion to where it is by now. Cheap while nothing is due."""
    now = plane.clock.now().timestamp()
    for uid in [uid for uid, due in plane.moving.items() if due <= now]:
        cluster = plane.store.get("cluster", uid)
        if cluster is None:
            plane.moving.pop(uid, None)
        else:
            wake(plane, cluster)


def resume(plane: Plane) -> None:
    """After a start: clusters go on where they were."""
    for cluster in plane.store.list("cluster"):
        if cluster.holds_name:
            plane.moving[cluster.uid] = 0.0
