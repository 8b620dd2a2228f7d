# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists as tables (meta.k8s.io/v1 Table), which is what kubectl prints."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from paletteops_plane import clock

Object = dict[str, Any]

#: Title of a column, and whether it is shown only by ``-o wide``.
Column = tuple[str, bool]

_ROLE = "node-role.kubernetes.io/"


def table(kind: str, items: list[Object], list_metadata: Object, now: datetime, include: str) -> Object:
    """Items as a table; ``include`` (``Metadata``, ``Object`` or ``None``) is what each row holds of its item."""
    columns, cells = _KINDS[kind]
    rows = []
    for item in items:
        row: Object = {"cells": cells(item, now)}
        if include == "Object":
            row["object"] = item
        elif include != "None":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": item["metadata"],
            }
        rows.append(row)
    definitions = [
        {
            "name": name,
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": int(wide),
        }
        for name, wide in columns
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def age(created: str, now: datetime) -> str:
    """How long something is there: the greatest two units, or one where that says enough."""
    seconds = max(0, int((now - clock.parse(created)).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y{days % 365}d"


def _node(item: Object, now: datetime) -> list[Any]:
    status = item["status"]
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status["conditions"])
    words = ["Ready" if ready else "NotReady"]
    if item["spec"].get("unschedulable"):
        words.append("SchedulingDisabled")
    labels = item["metadata"]["labels"]
    roles = sorted(label.removeprefix(_ROLE) for label in labels if label.startswith(_ROLE))
    addresses = {one["type"]: one["address"] for one in status["addresses"]}
    info = status["nodeInfo"]
    return [
        item["metadata"]["name"],
        ",".join(words),
        ",".join(roles) or "<none>",
        age(item["metadata"]["creationTimestamp"], now),
        info["kubeletVersion"],
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info["osImage"],
        info["kernelVersion"],
        info["containerRuntimeVersion"],
    ]


def _pod(item: Object, now: datetime) -> list[Any]:
    containers = item["status"]["containerStatuses"]
    return [
        item["metadata"]["name"],
        f"{sum(one['ready'] for one in containers)}/{len(containers)}",
        item["status"]["phase"],
        str(sum(one["restartCount"] for one in containers)),
        age(item["metadata"]["creationTimestamp"], now),
        item["status"].get("podIP", "<none>"),
        item["spec"]["nodeName"],
        "<none>",
        "<none>",
    ]


def _namespace(item: Object, now: datetime) -> list[Any]:
    return [item["metadata"]["name"], item["status"]["phase"], age(item["metadata"]["creationTimestamp"], now)]


def _columns(shown: str, wide: str = "") -> tuple[Column, ...]:
    return tuple((name, False) for name in shown.split(",")) + tuple((name, True) for name in wide.split(",") if name)


_KINDS: dict[str, tuple[tuple[Column, ...], Callable[[Object, datetime], list[Any]]]] = {
    "Node": (
        _columns("Name,Status,Roles,Age,Version", "Internal-IP,External-IP,OS-Image,Kernel-Version,Container-Runtime"),
        _node,
    ),
    "Pod": (_columns("Name,Ready,Status,Restarts,Age", "IP,Node,Nominated Node,Readiness Gates"), _pod),
    "Namespace": (_columns("Name,Status,Age"), _namespace),
}
