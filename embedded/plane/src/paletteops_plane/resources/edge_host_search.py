# SPDX-License-Identifier: GPL-3.0-or-later
"""Edge hosts in lists: the search, names and states, tags.

A search reads a few values of each host; documents whole are read for the page that is answered. In a project it is
the project's hosts, in the scope of the tenant those of all projects.
"""

from __future__ import annotations

from typing import Any

from paletteops_plane.host_access import KIND
from paletteops_plane.paging import page
from paletteops_plane.resources.edge_hosts import health_of, shown
from paletteops_plane.routing import Call, operation
from paletteops_plane.search import Language, Property

Json = dict[str, Any]

#: What a label without a value of its own has as its value.
_TAG = "spectro__tag"

LANGUAGE = Language(
    (
        Property("name", "string", "Name"),
        Property("uid", "string", "UID"),
        Property("state", "string", "State", ("ready", "unpaired", "in-use")),
        Property("healthState", "string", "Health", ("healthy", "unhealthy")),
        Property("architecture", "string", "Architecture", ("amd64", "arm64")),
        Property("hostType", "string", "Type", ("appliance", "agent-mode")),
        Property("tags", "string", "Tags"),
        Property("labels", "keyValue", "Labels"),
        Property("clusterName", "string", "Cluster"),
        Property("clusterUid", "string", "Cluster UID"),
        Property("projectUid", "string", "Project UID"),
        Property("creationTimestamp", "date", "Registered"),
        Property("lastModifiedTimestamp", "date", "Last modified"),
    ),
    ("name", "state", "healthState", "architecture", "clusterName", "creationTimestamp", "lastModifiedTimestamp"),
)

#: Where the values of a row are in a host's document.
_PATHS = {
    "metadata": "$.metadata",
    "status": "$.status",
    "seen": "$._seen",
    "architecture": "$.spec.device.archType",
    "hostType": "$.spec.device.hostType",
    "clusterName": "$._cluster.name",
    "clusterUid": "$._cluster.uid",
}


def _rows(call: Call) -> list[Json]:
    """The hosts in the scope of a call, oldest first, by what they are searched by."""
    projects = (call.project,) if call.project else None
    rows = []
    for uid, project, values in call.plane.store.values(KIND, tuple(_PATHS.values()), projects=projects):
        row = dict(zip(_PATHS, values, strict=True))
        metadata = row["metadata"]
        labels = metadata.get("labels", {})
        row |= {
            "uid": uid,
            "projectUid": project,
            "name": metadata["name"],
            "state": row["status"]["state"],
            "healthState": health_of(call.plane, row["status"], row["seen"]).get("state"),
            "labels": labels,
            "tags": tags_of(labels),
            "creationTimestamp": metadata["creationTimestamp"],
            "lastModifiedTimestamp": metadata["lastModifiedTimestamp"],
        }
        rows.append(row)
    return rows


def tags_of(labels: dict[str, str]) -> list[str]:
    """Labels as tags: ``key:value``, or the key alone."""
    return [key if value == _TAG else f"{key}:{value}" for key, value in labels.items()]


@operation("POST /v1/dashboard/edgehosts/search")
def search(call: Call) -> Json:
    chosen, listmeta = page(LANGUAGE.find(_rows(call), call.body), call.query)
    names = {project.uid: project.name for project in call.plane.store.list("project")} if chosen else {}
    items = []
    for row in chosen:
        host = call.plane.store.get(KIND, row["uid"])
        assert host is not None
        body = shown(call.plane, host)
        addresses = body["spec"]["host"]
        items.append(
            {
                "metadata": body["metadata"],
                "spec": {
                    "clusterProfileTemplates": [],
                    "device": body["spec"]["device"],
                    "host": {key: addresses[key] for key in ("hostAddress", "macAddress") if key in addresses},
                    "projectMeta": {"name": names.get(host.project, ""), "uid": host.project},
                    "type": body["spec"]["type"],
                },
                "status": {key: body["status"][key] for key in ("health", "inUseClusters", "state")},
            }
        )
    return {"items": items, "listmeta": listmeta}


@operation("GET /v1/dashboard/edgehosts/search/schema")
def get_search_schema(_call: Call) -> Json:
    return LANGUAGE.schema()


@operation("GET /v1/edgehosts/metadata")
def list_metadata(call: Call) -> Json:
    if call.query.get("type", "edge-native") != "edge-native":
        return {"edgeHosts": []}
    rows = _rows(call)
    if call.query.get("quickFilter") == "unusedEdgeHosts":
        rows = [row for row in rows if not row["clusterUid"]]
    return {
        "edgeHosts": [
            {
                "archType": row["architecture"],
                "edgeHostType": "edge-native",
                "healthState": row["healthState"] or "",
                "name": row["name"],
                "state": row["state"],
                "uid": row["uid"],
            }
            for row in rows
        ]
    }


@operation("GET /v1/edgehosts/tags")
def list_tags(call: Call) -> Json:
    return {"tags": sorted({tag for row in _rows(call) for tag in row["tags"]})}
