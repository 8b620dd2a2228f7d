# SPDX-License-Identifier: GPL-3.0-or-later
"""How a cluster is reached: its kubeconfigs. And parts of clusters that this plane never has, for those who ask."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from paletteops_plane.clouds import CLOUDS
from paletteops_plane.errors import ApiError
from paletteops_plane.kubernetes.kubeconfig import kubeconfig
from paletteops_plane.provisioner import hosts
from paletteops_plane.resources.cluster_state import answers_kubernetes
from paletteops_plane.resources.clusters import find_cluster
from paletteops_plane.routing import Call, operation, raw
from paletteops_plane.store import Document

#: The vendor's SDK reads downloads of this type alone.
_BINARY = "application/octet-stream"


def _kubeconfig(call: Call, *, admin: bool) -> str:
    cluster = find_cluster(call)
    if not answers_kubernetes(cluster):
        raise ApiError("ResourceNotFound", f"the cluster {cluster.name!r} has no kubeconfig yet", {"uid": cluster.uid})
    return _text(call, cluster, admin=admin)


def _text(call: Call, cluster: Document, *, admin: bool) -> str:
    """The kubeconfig: of a cluster on hosts what its hosts sent, of others one for the Kubernetes API that is here."""
    if CLOUDS[cluster.body["spec"]["cloudType"]].hosts:
        return hosts.kubeconfig_of(call.plane, cluster.uid)
    return kubeconfig(call, cluster, admin)


@operation(
    "GET /v1/spectroclusters/{uid}/assets/kubeconfig",
    "GET /v1/spectroclusters/{uid}/assets/kubeconfigclient",
)
def get_kubeconfig(call: Call) -> Response:
    return raw(_kubeconfig(call, admin=False), _BINARY, "client.kubeconfig")


@operation("GET /v1/spectroclusters/{uid}/assets/adminKubeconfig")
def get_admin_kubeconfig(call: Call) -> Response:
    return raw(_kubeconfig(call, admin=True), _BINARY, "admin.kubeconfig")


@operation("GET /v1/spectroclusters/{uid}/assets")
def get_assets(call: Call) -> dict[str, Any]:
    cluster = find_cluster(call)
    if not answers_kubernetes(cluster):
        return {"spec": {}}
    text = _text(call, cluster, admin=False)
    return {"spec": {"kubeconfig": text, "kubeconfigclient": text}}


@operation("GET /v1/spectroclusters/{uid}/features/backup")
def get_backup(call: Call) -> None:
    cluster = find_cluster(call)
    raise ApiError("ResourceNotFound", f"the cluster {cluster.name!r} has no backup policy", {"uid": cluster.uid})


@operation("GET /v1/spectroclusters/{uid}/features/complianceScan")
def get_scan(call: Call) -> None:
    cluster = find_cluster(call)
    raise ApiError("ResourceNotFound", f"the cluster {cluster.name!r} has no scan policy", {"uid": cluster.uid})


@operation(
    "GET /v1/spectroclusters/{uid}/config/rbacs",
    "GET /v1/spectroclusters/{uid}/config/namespaces",
)
def list_none(call: Call) -> dict[str, Any]:
    find_cluster(call)
    return {"items": []}
