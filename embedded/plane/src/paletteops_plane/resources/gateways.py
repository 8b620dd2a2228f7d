# SPDX-License-Identifier: GPL-3.0-or-later
"""Private cloud gateways ("overlords" in the API): read only, a fresh data file holds one."""

from __future__ import annotations

from typing import Any

from paletteops_plane.resources import accounts
from paletteops_plane.routing import Call, operation, visible
from paletteops_plane.store import Document

KIND = "overlord"


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


def _gateway(call: Call) -> Document:
    return call.find(KIND, call.path["uid"], "private cloud gateway")
