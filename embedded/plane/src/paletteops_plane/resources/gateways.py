# SPDX-License-Identifier: GPL-3.0-or-later
"""Private cloud gateways ("overlords" in the API): read only, a fresh data file holds one."""

from __future__ import annotations

from typing import Any

from paletteops_plane.paging import page
from paletteops_plane.resources import accounts
from paletteops_plane.routing import Call, operation, visible
from paletteops_plane.search import Language, Property
from paletteops_plane.store import Document

KIND = "overlord"

LANGUAGE = Language(
    (
        Property("name", "string", "Name"),
        Property("uid", "string", "UID"),
        Property("state", "string", "State", ("Running",)),
        Property("healthState", "string", "Health", ("Healthy",)),
        Property("creationTimestamp", "date", "Created"),
        Property("lastModifiedTimestamp", "date", "Last modified"),
    ),
    ("healthState", "creationTimestamp", "lastModifiedTimestamp"),
)


@operation("GET /v1/overlords")
def list_gateways(call: Call) -> dict[str, Any]:
    gateways = call.plane.store.list(KIND, name=call.query.get("name"))
    return {"items": [visible(gateway.body) for gateway in gateways]}


@operation("GET /v1/overlords/{uid}")
def get(call: Call) -> dict[str, Any]:
    return visible(_gateway(call).body)


@operation("POST /v1/overlords/vsphere/{uid}/account/validate")
def validate_account(call: Call) -> None:
    _gateway(call)
    accounts.check_credentials("vsphere", call.body.get("account", {}))


@operation("POST /v1/dashboard/pcgs/search")
def search(call: Call) -> dict[str, Any]:
    rows = [_row(gateway) for gateway in call.plane.store.list(KIND)]
    chosen, listmeta = page(LANGUAGE.find(rows, call.body), call.query)
    return {"items": [row["gateway"] for row in chosen], "listmeta": listmeta}


def _row(gateway: Document) -> dict[str, Any]:
    """A gateway by what it is searched by, and as it is shown."""
    shown = visible(gateway.body)
    metadata, status = shown["metadata"], shown["status"]
    return {
        "gateway": shown,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "state": status["state"],
        "healthState": status["health"]["state"],
        "creationTimestamp": metadata["creationTimestamp"],
        "lastModifiedTimestamp": metadata["lastModifiedTimestamp"],
    }


@operation("GET /v1/dashboard/pcgs/search/schema")
def get_search_schema(_call: Call) -> dict[str, Any]:
    return LANGUAGE.schema()


def _gateway(call: Call) -> Document:
    return call.find(KIND, call.path["uid"], "private cloud gateway")
