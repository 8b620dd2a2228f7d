# SPDX-License-Identifier: GPL-3.0-or-later
"""The seam between the plane and infrastructure.

The plane says what it wants of a cluster (``Desired``) and is told what there is (``Observed``) and what happened
since (``Happening``). A filling returns at once and is asked again later: nothing is assumed to be instant, and to ask
twice does no harm. ``Observed`` is stored with the cluster as JSON, so a restart goes on where the plane stood.

Fillings: ``simulated`` for clouds, ``edge`` for hosts that users bring. ``engine`` joins the seam to the plane's
documents, ``hosts`` to what agents fetch and report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

#: What a filling remembers of a cluster: JSON, empty for a new one. The plane reads of it
#: ``state``; ``health`` {state, message, at} or None; ``conditions`` {type: {status, reason, message, at}};
#: ``machines`` [{uid, name, number, pool, control_plane, phase, kubernetes_version, since, current}];
#: ``packs`` {key: {profile_uid, name, version, type, state, message, started, ended}}; ``kubeconfig`` (is there one).
#: Times are seconds since the epoch. Other keys are the filling's own.
Observed = dict[str, Any]

#: The kind of the document that keeps what a filling remembers.
MEMORY = "observed"

PENDING, PROVISIONING, RUNNING, DELETING, DELETED = "Pending", "Provisioning", "Running", "Deleting", "Deleted"

HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"
#: Health of a running cluster in which something changes; the vendor's clients wait for Healthy alone.
PROGRESSING = "Progressing"


@dataclass(frozen=True)
class Pool:
    """A machine pool as it should be."""

    name: str
    control_plane: bool
    size: int
    #: Changes when machines have to be replaced.
    template: str
    #: The pool as the cloud config holds it, for what the infrastructure says of its values.
    config: dict[str, Any]
    #: How many machines may be there beyond the size, and how many may lack, while machines are replaced.
    surge: int = 1
    unavailable: int = 0
    #: Seconds that a new machine must be ready before the next one is replaced.
    repave_interval: float = 0.0
    kubernetes_version: str = ""


@dataclass(frozen=True)
class Pack:
    """A layer of the cluster as it should be."""

    profile_uid: str
    name: str
    layer: str
    version: str
    type: str
    #: Changes when the layer has to be rolled out anew.
    digest: str

    @property
    def key(self) -> str:
        return f"{self.profile_uid}/{self.name}"


@dataclass(frozen=True)
class Desired:
    """A cluster as it should be."""

    uid: str
    name: str
    cloud: str
    pools: tuple[Pool, ...]
    packs: tuple[Pack, ...]
    #: The spec of the cloud account, secrets included; never stored in ``Observed``.
    account: dict[str, Any] = field(default_factory=dict, repr=False)
    cluster_config: dict[str, Any] = field(default_factory=dict)
    #: Worker pools are replaced side by side and not one after the other.
    parallel: bool = False
    #: Machines that are to go, by their uid; the size of their pool stays, so others take their place.
    removed: frozenset[str] = frozenset()
    deleted: bool = False
    #: The cluster is to be forgotten; what it has in the cloud stays behind.
    forced: bool = False


@dataclass(frozen=True)
class Happening:
    """Something to tell the user: an event of the cluster."""

    at: float
    reason: str
    message: str
    #: ``Normal`` or ``Error``.
    severity: str = "Normal"


@dataclass(frozen=True)
class Outcome:
    """What there is now, what happened, and when (seconds since the epoch) to look again; None: when asked."""

    observed: Observed
    happenings: tuple[Happening, ...]
    next_at: float | None


class Provisioner(Protocol):
    """A filling of the seam."""

    def reconcile(self, desired: Desired, observed: Observed, now: datetime) -> Outcome:
        """Bring what there is nearer to what is wanted; returns at once, also when nothing can be done yet."""
        ...
