# SPDX-License-Identifier: GPL-3.0-or-later
"""Events: what happened to clusters and to hosts, newest first."""

from __future__ import annotations

from typing import Any

from paletteops_plane.errors import not_found
from paletteops_plane.filters import filtered, ordered
from paletteops_plane.paging import page
from paletteops_plane.provisioner.host_records import EDGE_HOST
from paletteops_plane.resources.cluster_state import CLUSTER, EVENT, events_of
from paletteops_plane.routing import Call, operation, visible
from paletteops_plane.store import Document


@operation("GET /v1/events/components")
def list_events(call: Call) -> dict[str, Any]:
    projects = call.scopes if call.project else None
    return _page(call, call.plane.store.list(EVENT, projects=projects)[::-1])


@operation("GET /v1/events/components/{objectKind}/{objectUid}")
def list_events_of(call: Call) -> dict[str, Any]:
    kind, uid = call.path["objectKind"], call.path["objectUid"]
    kinds = {"spectrocluster": (CLUSTER, "cluster"), EDGE_HOST: (EDGE_HOST, "edge host")}
    if kind not in kinds:
        raise not_found(kind, uid)
    return _page(call, events_of(call.plane, call.find(kinds[kind][0], uid, kinds[kind][1]).uid))


def _page(call: Call, events: list[Document]) -> dict[str, Any]:
    shown = [visible(event.body) for event in events]
    chosen, listmeta = page(ordered(filtered(shown, call.query), call.query), call.query)
    return {"items": chosen, "listmeta": listmeta}
