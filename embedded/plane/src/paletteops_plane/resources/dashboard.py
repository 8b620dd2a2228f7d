# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters as the dashboard shows them: lists, searches, summaries.

A list of clusters reads a few values of each cluster (``_rows``); documents whole are read for the page that is
answered. In a project it is the project's clusters, in the scope of the tenant those of all projects.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from paletteops_plane.clouds import CLOUDS
from paletteops_plane.paging import page
from paletteops_plane.resources import cluster_state as state
from paletteops_plane.resources.attachments import INFRASTRUCTURE_TYPES
from paletteops_plane.resources.clusters import api_endpoints
from paletteops_plane.resources.profiles import KIND as PROFILE
from paletteops_plane.resources.profiles import template_of
from paletteops_plane.resources.projects import matches
from paletteops_plane.routing import Call, operation
from paletteops_plane.search import Language, Property
from paletteops_plane.store import Document

Json = dict[str, Any]

#: What a label without a value of its own has as its value.
_TAG = "spectro__tag"

#: The architectures of clusters in clouds; those on hosts have their hosts'.
_ARCHITECTURES = ["amd64"]

_STATES = ("Pending", "Provisioning", "Running", "Deleting", "Deleted")

LANGUAGE = Language(
    (
        Property("clusterName", "string", "Name"),
        Property("uid", "string", "UID"),
        Property("environment", "string", "Cloud", tuple(CLOUDS)),
        Property("clusterState", "string", "State", _STATES),
        Property("state", "string", "State", _STATES, hidden=True),
        Property("healthState", "string", "Health", ("Healthy", "Progressing", "Unhealthy")),
        Property("repaveState", "string", "Repave", ("Pending", "Approved", "Reverted")),
        Property("tags", "string", "Tags"),
        Property("labels", "keyValue", "Labels"),
        Property("isDeleted", "bool", "Deleted"),
        Property("projectUid", "string", "Project UID"),
        Property("cloudAccountUid", "string", "Cloud account UID"),
        Property("region", "string", "Region"),
        Property("creationTimestamp", "date", "Created"),
        Property("lastModifiedTimestamp", "date", "Last modified"),
    ),
    ("environment", "clusterName", "clusterState", "healthState", "creationTimestamp", "lastModifiedTimestamp"),
)

#: Where the values of a row are in a cluster's document.
_PATHS = {
    "metadata": "$.metadata",
    "environment": "$.spec.cloudType",
    "clusterState": "$.status.state",
    "healthState": "$._health.state",
    "repaveState": "$.status.repave.state",
    "cloudAccountUid": "$._account.uid",
    "region": "$._location",
    "architectures": "$._architectures",
}


# Lists


def _rows(call: Call) -> list[Json]:
    """The clusters in the scope of a call, oldest first, by what they are searched by; deleted ones as well."""
    projects = (call.project,) if call.project else None
    rows = []
    for uid, project, values in call.plane.store.values(state.CLUSTER, tuple(_PATHS.values()), projects=projects):
        row = dict(zip(_PATHS, values, strict=True))
        metadata = row["metadata"]
        labels = metadata.get("labels", {})
        row |= {
            "uid": uid,
            "projectUid": project,
            "clusterName": metadata["name"],
            "state": row["clusterState"],
            "isDeleted": row["clusterState"] == "Deleted",
            "labels": labels,
            "tags": [key if value == _TAG else f"{key}:{value}" for key, value in labels.items()],
            "creationTimestamp": metadata["creationTimestamp"],
            "lastModifiedTimestamp": metadata["lastModifiedTimestamp"],
        }
        rows.append(row)
    return rows


@operation("GET /v1/dashboard/spectroclusters/metadata")
def list_metadata(call: Call) -> Json:
    """Every cluster is a host cluster here, none is virtual and none of HyperShift."""
    if call.query.get("quickFilter") == "hypershiftClusters":
        return {"items": []}
    return {"items": [row["metadata"] for row in _rows(call) if not row["isDeleted"]]}


@operation("POST /v1/dashboard/spectroclusters/metadata")
def filter_metadata(call: Call) -> Json:
    wanted = call.body.get("filter", {})
    if wanted.get("isImported") or wanted.get("isAlloy"):
        return {"items": []}  # this plane imports no clusters
    rows = [
        row
        for row in _rows(call)
        if not row["isDeleted"]
        and wanted.get("environment", "") in ("", row["environment"])
        and wanted.get("state", "") in ("", row["state"])
        and matches(row["clusterName"], wanted.get("name", {}))
    ]
    sort = call.body.get("sort")
    if sort:
        rows.sort(key=lambda row: str(row["clusterName" if sort == "name" else sort] or ""))
    return {"items": [row["metadata"] for row in rows]}


@operation("POST /v1/dashboard/spectroclusters/metadata/search")
def search_metadata(call: Call) -> Json:
    """All that is found at once: the call has no paging."""
    found = LANGUAGE.find(_rows(call), call.body)
    names = _project_names(call)
    items = [_meta_summary(row, names) for row in found]
    return {
        "items": items,
        "listmeta": {"count": len(items), "limit": len(items), "offset": len(items), "continue": ""},
    }


@operation(
    "GET /v1/dashboard/spectroclusters/search/schema",
    "GET /v1/dashboard/spectroclusters/metadata/search/schema",
)
def get_schema(_call: Call) -> Json:
    return LANGUAGE.schema()


@operation("POST /v1/dashboard/spectroclusters/search")
def search(call: Call) -> Json:
    return _summaries(call, LANGUAGE.find(_rows(call), call.body))


@operation("GET /v1/dashboard/spectroclusters/repaveStatus")
def list_by_repave(call: Call) -> Json:
    wanted = call.query["repaveState"]
    return _summaries(call, [row for row in _rows(call) if row["repaveState"] == wanted and not row["isDeleted"]])


def _summaries(call: Call, rows: Iterable[Any]) -> Json:
    chosen, listmeta = page(list(rows), call.query)
    names, updates = _project_names(call), _Updates(call)
    clusters = [call.plane.store.get(state.CLUSTER, row["uid"]) for row in chosen]
    items = [_summary(call, cluster, names, updates) for cluster in clusters if cluster is not None]
    return {"items": items, "listmeta": listmeta}


# One cluster


@operation("GET /v1/dashboard/spectroclusters/{uid}", "GET /v1/dashboard/spectroclusters/{uid}/overview")
def get_overview(call: Call) -> Json:
    cluster = call.find(state.CLUSTER, call.path["uid"], "cluster")
    body = cluster.body
    status = {key: body["status"][key] for key in ("conditions", "packs", "spcApply", "state") if key in body["status"]}
    status |= {**_health(cluster), **api_endpoints(call, cluster)}
    reachable = state.answers_kubernetes(cluster)
    status["kubeMeta"] = {
        "hasKubeConfig": reachable,
        "hasKubeConfigClient": reachable,
        "hasManifest": False,
        "kubernetesVersion": body["_wanted"]["kubernetes"],
    }
    status["notifications"] = _Updates(call).of(cluster)
    status["location"] = _location(body)
    account = body["_account"]
    return {
        "metadata": body["metadata"],
        "spec": {
            "archTypes": body.get("_architectures", _ARCHITECTURES),
            "cloudConfig": _cloud_config(call, cluster),
            "cloudaccount": {"name": account["name"], "uid": account["uid"]},
            **_templates(body),
        },
        "status": status,
    }


# Parts of summaries


def _summary(call: Call, cluster: Document, projects: dict[str, str], updates: _Updates) -> Json:
    """A v1SpectroClusterSummary."""
    body = cluster.body
    account = body["_account"]
    config = body["spec"].get("clusterConfig", {})
    status = {"state": state.state_of(cluster), "location": _location(body), **_health(cluster)}
    status["notifications"] = updates.of(cluster)
    if body["status"].get("repave"):
        status["repave"] = {"state": body["status"]["repave"]["state"]}
    return {
        "metadata": body["metadata"],
        "specSummary": {
            "archTypes": body.get("_architectures", _ARCHITECTURES),
            "cloudAccountMeta": {"name": account["name"], "uid": account["uid"]},
            "cloudConfig": _cloud_config(call, cluster),
            "clusterConfig": {key: config[key] for key in ("timezone",) if key in config},
            "projectMeta": {"name": projects.get(cluster.project, ""), "uid": cluster.project},
            **_templates(body),
        },
        "status": status,
    }


def _meta_summary(row: Any, projects: dict[str, str]) -> Json:
    """A v1SpectroClusterMetaSummary."""
    status: Json = {"state": row["state"] or ""}
    if row["healthState"]:
        status["health"] = {"state": row["healthState"], "isHeartBeatFailed": False}
    return {
        "metadata": row["metadata"],
        "specSummary": {
            "archType": row["architectures"] or _ARCHITECTURES,
            "cloudAccountUid": row["cloudAccountUid"] or "",
            "cloudRegion": row["region"] or "",
            "cloudType": row["environment"],
            "clusterType": "PureManage",
            "projectMeta": {"name": projects.get(row["projectUid"], ""), "uid": row["projectUid"]},
            "tags": row["tags"],
        },
        "status": status,
    }


def _cloud_config(call: Call, cluster: Document) -> Json:
    """A v1CloudConfigMeta."""
    shown = ("cloudType", "healthy", "isControlPlane", "labels", "maintenanceMode", "size")
    pools: list[Json] = [dict(pool) for pool in state.pools_with_health(call.plane, cluster)]
    return {
        "cloudType": cluster.body["spec"]["cloudType"],
        "uid": cluster.body["spec"]["cloudConfigRef"]["uid"],
        "machinePools": [{key: pool[key] for key in shown} for pool in pools],
    }


def _templates(body: Json) -> Json:
    """The profiles: that of the infrastructure, and all of them (v1ClusterProfileTemplateMeta)."""
    shown = ("cloudType", "name", "packs", "type", "uid", "version")
    templates = [{key: item[key] for key in shown} for item in body["spec"]["clusterProfileTemplates"]]
    found: Json = {"clusterProfileTemplates": templates}
    for template in templates:
        if template["type"] in INFRASTRUCTURE_TYPES:
            found["clusterProfileTemplate"] = template
    return found


def _health(cluster: Document) -> Json:
    """``{"health": …}``; empty for a cluster of which nothing is known yet."""
    health = state.health_of(cluster)
    return {"health": health} if health else {}


def _location(body: Json) -> Json:
    """Where a cluster is (v1ClusterMetaSpecLocation): what was said of it, else the region of its cloud."""
    said = body["status"].get("location", {})
    location = {key: said[key] for key in ("countryCode", "countryName", "regionCode", "regionName") if key in said}
    if "geoLoc" in said:
        location["coordinates"] = [said["geoLoc"].get("longitude", 0.0), said["geoLoc"].get("latitude", 0.0)]
    return location or {"regionName": body["_location"]}


def _project_names(call: Call) -> dict[str, str]:
    return {project.uid: project.name for project in call.plane.store.list("project")}


class _Updates:
    """Whether profiles were published anew since clusters took them; each profile is read once."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._revisions: dict[str, int | None] = {}

    def of(self, cluster: Document) -> Json:
        """A v1ClusterNotificationStatus."""
        taken = {item["uid"]: item["version"] for item in cluster.body["spec"]["clusterProfileTemplates"]}
        available = any(self._revision(uid) not in (None, revision) for uid, revision in taken.items())
        return {"isAvailable": available, "isTemplateVariableResolutionPending": False}

    def _revision(self, uid: str) -> int | None:
        if uid not in self._revisions:
            profile = self._call.plane.store.get(PROFILE, uid)
            self._revisions[uid] = template_of(profile)["revision"] if profile else None
        return self._revisions[uid]
