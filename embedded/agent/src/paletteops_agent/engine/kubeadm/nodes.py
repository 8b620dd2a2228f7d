# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels, annotations and taints of Nodes: what the cluster's owner asked for, beside what others set.

What was set by us is noted in an annotation, so that it goes when it is no longer wanted, and nothing else does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from paletteops_agent.engine import Taint

Json = dict[str, Any]
MANAGED = "paletteops.io/managed"
CONTROL_PLANE_TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def wanted_taints(control_plane: bool, schedulable: bool, taints: Iterable[Taint]) -> list[Json]:
    """Taints in Kubernetes' form; control planes that carry no workloads get Kubernetes' own."""
    found = []
    for taint in taints:
        found.append({"key": taint.key, **({"value": taint.value} if taint.value else {}), "effect": taint.effect})
    if control_plane and not schedulable and not any(t["key"] == CONTROL_PLANE_TAINT["key"] for t in found):
        found.append(dict(CONTROL_PLANE_TAINT))
    return found


def _taint_id(taint: Mapping[str, Any]) -> str:
    return f"{taint.get('key')}:{taint.get('effect')}"


def patch(
    node: Json,
    labels: Mapping[str, str] | None,
    annotations: Mapping[str, str] | None,
    taints: list[Json] | None,
    may_label: Callable[[str], bool] = lambda key: True,
) -> Json | None:
    """A merge patch that makes ``node`` so, or None. None: not ours to change."""
    metadata, spec = node.get("metadata") or {}, node.get("spec") or {}
    present_annotations = metadata.get("annotations") or {}
    try:
        managed = json.loads(present_annotations.get(MANAGED) or "{}")
    except ValueError:
        managed = {}
    change: Json = {}
    meta: Json = {}
    keep = dict(managed)
    if labels is not None:
        label_changes = _map_changes(metadata.get("labels") or {}, labels, managed.get("labels") or [], may_label)
        if label_changes:
            meta["labels"] = label_changes
        unreachable = [key for key in managed.get("labels") or [] if not may_label(key)]
        keep["labels"] = sorted({*unreachable, *(key for key in labels if may_label(key))})
    annotation_changes: Json = {}
    if annotations is not None:
        annotation_changes = _map_changes(present_annotations, annotations, managed.get("annotations") or [])
        keep["annotations"] = sorted(annotations)
    if taints is not None:
        present = list(spec.get("taints") or [])
        ours = (
            set(managed.get("taints") or []) | {_taint_id(taint) for taint in taints} | {_taint_id(CONTROL_PLANE_TAINT)}
        )
        fresh = [taint for taint in present if _taint_id(taint) not in ours] + taints
        if _comparable(fresh) != _comparable(present):
            change["spec"] = {"taints": fresh}
        keep["taints"] = sorted(_taint_id(taint) for taint in taints)
    keep = {key: value for key, value in keep.items() if value}
    if keep != managed:
        annotation_changes[MANAGED] = json.dumps(keep, sort_keys=True) if keep else None
    if annotation_changes:
        meta["annotations"] = annotation_changes
    if meta:
        change["metadata"] = meta
    if not change:
        return None
    # someone else's change in between is seen, not overwritten
    change.setdefault("metadata", {})["resourceVersion"] = metadata.get("resourceVersion")
    return change


def _map_changes(
    present: Mapping[str, str],
    wanted: Mapping[str, str],
    managed: Iterable[str],
    may: Callable[[str], bool] = lambda key: True,
) -> Json:
    changes: Json = {key: value for key, value in wanted.items() if may(key) and present.get(key) != value}
    changes.update({key: None for key in managed if key not in wanted and key in present and may(key)})
    return changes


def _comparable(taints: Iterable[Mapping[str, Any]]) -> list[Any]:
    return sorted((str(t.get("key")), str(t.get("value") or ""), str(t.get("effect"))) for t in taints)
