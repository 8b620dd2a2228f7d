# SPDX-License-Identifier: GPL-3.0-or-later
"""What every filling writes down of a cluster in the same way: its conditions and its layers (see ``Observed``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from paletteops_plane.provisioner import Observed, Pack

IMAGE, INFRASTRUCTURE, BOOTSTRAPPING, KUBECONFIG = (
    "ImageResolutionDone",
    "CloudInfrastructureReady",
    "BootstrappingDone",
    "KubeConfigReady",
)
CONTROL_PLANE_ADDED, CONTROL_PLANE_DELETED = "ControlPlaneNodeAdditionDone", "ControlPlaneNodeDeletionDone"
WORKERS_ADDED, WORKERS_DELETED = "WorkerNodeAdditionDone", "WorkerNodeDeletionDone"
ADDONS = "AddOnDeploymentDone"

#: Layers by the key of their pack.
Layers = dict[str, dict[str, Any]]


def set_condition(observed: Observed, kind: str, met: bool, fault: tuple[str, str] | None, at: float) -> None:
    """Set a condition; a fault, as reason and message, counts before whether it is met."""
    if fault:
        state = {"status": "False", "reason": fault[0], "message": fault[1]}
    elif met:
        state = {"status": "True", "reason": "", "message": ""}
    else:
        state = {"status": "False", "reason": "InProgress", "message": "under way"}
    known = observed["conditions"].get(kind)
    since = known["at"] if known and known["status"] == state["status"] else at
    observed["conditions"][kind] = {**state, "at": since}


def new_layer(pack: Pack) -> dict[str, Any]:
    return {
        "profile_uid": pack.profile_uid,
        "name": pack.name,
        "layer": pack.layer,
        "version": pack.version,
        "type": pack.type,
        "digest": pack.digest,
        "state": "Pending",
        "message": "",
        "started": None,
        "ended": None,
    }


def hand_over(layers: Layers, packs: Iterable[Pack]) -> dict[str, str]:
    """A pack that another profile brings now (a new version of the profile, mostly) is still the same pack.

    The new keys by the old ones of the layers that were handed over.
    """
    packs = tuple(packs)
    wanted = {pack.key for pack in packs}
    moved = {}
    for pack in packs:
        if pack.key in layers:
            continue
        orphan = next((key for key, layer in layers.items() if key not in wanted and layer["name"] == pack.name), None)
        if orphan is not None:
            layers[pack.key] = layers.pop(orphan) | {"profile_uid": pack.profile_uid}
            moved[orphan] = pack.key
    return moved


def layers_ready(layers: Layers, addons: bool) -> bool:
    """Whether all add-ons are ready, or all other layers."""
    return all(layer["state"] == "Ready" for layer in layers.values() if (layer["layer"] == "addon") == addons)
