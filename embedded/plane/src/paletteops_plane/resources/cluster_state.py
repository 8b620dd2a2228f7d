# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stored of a cluster, and how it is read: by its routes, the dashboard, the Kubernetes API, the provisioner.

Documents:

``cluster``
    Body as v1SpectroCluster; its ``spec.clusterProfileTemplates`` hold their packs without values. Of the plane's own:

    - ``_health``: v1SpectroClusterHealthStatus, absent until there is any
    - ``_pools``: see ``pools_with_health``
    - ``_account``: the cloud account's {uid, name}; ``_location``: region or datacenter
    - ``_wanted``: what the provisioner is told of it (``provisioner.engine``); ``_bootstrapped``: whether its
      Kubernetes API answers; ``_observed``: what the provisioner keeps
    - ``_repave``: from the moment at which a repave is asked for, see ``resources.clusters``
    - ``_deleted_at``: since when it is being deleted
    - of clusters on hosts (``edge-native``): ``_hosts`` uids of the hosts that are in it or on their way in or out;
      ``_architectures``; ``_renewal`` and ``_reset``: what was asked for last of certificates and hosts, by an id
``attached``
    The profiles of a cluster with values and manifests; parent is the cluster (see ``attachments``).
``cloudconfig``
    Body as v1AwsCloudConfig or the like, ``kind`` the cloud; parent is the cluster. Gone with the cluster.
``machine``
    Body as v1AwsMachine or the like, and ``_pool``, ``_control_plane``, ``_ready``, ``_joined`` (it is a node),
    ``_kubernetes_version``; parent is the cloud config.
``event``
    Body as v1Event; parent is the cluster.
"""

from __future__ import annotations

from typing import Any, TypedDict

from paletteops_plane.plane import Plane
from paletteops_plane.store import Document

CLUSTER = "cluster"
CONFIG = "cloudconfig"
MACHINE = "machine"
EVENT = "event"
ATTACHED = "attached"

#: The port of a cluster's Kubernetes API.
API_PORT = 6443


class Pool(TypedDict):
    """What summaries show of a pool."""

    name: str
    cloudType: str
    isControlPlane: bool
    labels: list[str]
    #: Machines that are wanted.
    size: int
    #: Machines that are ready.
    healthy: int
    #: Machines that are cordoned.
    maintenanceMode: int


def state_of(cluster: Document) -> str:
    state: str = cluster.body["status"].get("state", "")
    return state


def is_deleted(cluster: Document) -> bool:
    return state_of(cluster) == "Deleted"


def health_of(cluster: Document) -> dict[str, Any] | None:
    """The health (v1SpectroClusterHealthStatus); none for a cluster of which nothing is known yet."""
    health: dict[str, Any] | None = cluster.body.get("_health")
    return health


def pools_with_health(plane: Plane, cluster: Document) -> list[Pool]:
    """The pools of a cluster; read from the cluster's own document, so that lists of clusters are cheap."""
    pools: list[Pool] = cluster.body.get("_pools", [])
    return pools


def config_of(plane: Plane, cluster: Document) -> Document | None:
    """The cloud config; none once the cluster is deleted."""
    return plane.store.get(CONFIG, cluster.body["spec"]["cloudConfigRef"]["uid"])


def machines_of(plane: Plane, config: Document, pool: str | None = None) -> list[Document]:
    """The machines of a cloud config, oldest first; those of one pool when it is named."""
    machines = plane.store.list(MACHINE, parent=config.uid)
    return machines if pool is None else [machine for machine in machines if machine.body["_pool"] == pool]


def nodes(plane: Plane, cluster: Document) -> list[Document]:
    """The machines that are nodes of the cluster, oldest first."""
    config = config_of(plane, cluster)
    if config is None:
        return []
    return [machine for machine in machines_of(plane, config) if machine.body.get("_joined")]


def pool_config(config: Document, name: str) -> dict[str, Any] | None:
    """A pool as it is stored in a cloud config (v1AwsMachinePoolConfig, v1VsphereMachinePoolConfig)."""
    pools: list[dict[str, Any]] = config.body["spec"]["machinePoolConfig"]
    return next((pool for pool in pools if pool["name"] == name), None)


def events_of(plane: Plane, cluster_uid: str) -> list[Document]:
    """The events of a cluster, newest first."""
    return plane.store.list(EVENT, parent=cluster_uid)[::-1]


def answers_kubernetes(cluster: Document) -> bool:
    """Whether its Kubernetes API is up, and with it its kubeconfigs are there."""
    return bool(cluster.body.get("_bootstrapped")) and state_of(cluster) in ("Provisioning", "Running")
