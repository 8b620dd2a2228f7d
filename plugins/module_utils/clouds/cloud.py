# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cloud's table holds, and the fields that every cloud's machine pools have."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Callable

from ansible_collections.paletteops.modes.plugins.module_utils.fields import Field, Values


def no_findings(values: Values, sending: bool) -> list[str]:
    return []


def no_cluster_findings(config: Values, pools: list[Values]) -> list[str]:
    return []


def nothing_carried(raw_pool: dict[str, Any], body: dict[str, Any]) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Cloud:
    """One cloud.

    name            as in the API's paths
    account         fields of its accounts' credentials (paths below the account's ``spec``); empty where it has none
    cluster         fields of the cloud config (paths below the cloud config's ``spec.clusterConfig``)
    pool            fields of its machine pools beside the common ones
    gateway         whether its accounts need a private cloud gateway
    check_account   what is wrong with credentials, as sentences; secrets are looked for only while they are to be sent
    pool_keys       keys of a pool in the API which no option covers and an update must hand back
    carry           hands back what an update must repeat and no option covers, into the ``cloudConfig`` of the request
    check_cluster   what is wrong with a cloud config and its pools together, as sentences
    members         the option of a pool that lists its machines, where the user brings them: their number is its size
    selectors       options of a pool that only choose members; they are neither sent nor compared
    layers          the layers that an infrastructure profile for it must have
    lacks           common options of pools that mean nothing here, or that the API never says of its pools
    """

    name: str
    account: tuple[Field, ...]
    cluster: tuple[Field, ...]
    pool: tuple[Field, ...]
    gateway: bool = False
    check_account: Callable[[Values, bool], list[str]] = no_findings
    pool_keys: tuple[str, ...] = ()
    carry: Callable[[dict[str, Any], dict[str, Any]], None] = nothing_carried
    check_cluster: Callable[[Values, list[Values]], list[str]] = no_cluster_findings
    members: str = ""
    selectors: tuple[Field, ...] = ()
    layers: tuple[str, ...] = ("os", "k8s", "cni", "csi")
    lacks: tuple[str, ...] = ()

    @property
    def pool_fields(self) -> tuple[Field, ...]:
        """The fields of its machine pools, the common ones among them."""
        return tuple(field for field in POOL if field.name not in self.lacks) + self.pool


TAINT = (
    Field("key", ("Key of the taint.",), needed=True),
    Field("value", ("Value of the taint.",)),
    Field(
        "effect",
        ("What the taint does to pods that do not tolerate it.",),
        choices=("NoSchedule", "PreferNoSchedule", "NoExecute"),
        needed=True,
    ),
)

UPDATE_STRATEGY = (
    Field(
        "type",
        (
            "V(RollingUpdateScaleOut) adds a machine before it takes one away, V(RollingUpdateScaleIn) the other way"
            " round, V(OverrideScaling) follows O(ignore:max_surge) and O(ignore:max_unavailable).",
        ),
        choices=("RollingUpdateScaleOut", "RollingUpdateScaleIn", "OverrideScaling"),
        assumed="RollingUpdateScaleOut",
    ),
    Field("max_surge", ("How many machines, or what share of them, may be there beyond the size.",)),
    Field("max_unavailable", ("How many machines, or what share of them, may be missing.",)),
)

#: The fields of a machine pool on every cloud.
POOL: tuple[Field, ...] = (
    Field("name", ("Name of the pool.",)),
    Field(
        "control_plane",
        ("Whether this is the control plane. A cluster has one such pool.",),
        api="isControlPlane",
        type="bool",
        immutable="A pool is either control plane or not. Make another pool and remove this one.",
    ),
    Field(
        "control_plane_as_worker",
        ("Whether the control plane runs workloads, too.",),
        api="useControlPlaneAsWorker",
        type="bool",
    ),
    Field(
        "size",
        (
            "Number of machines. A control plane has 1, 3, 5 or 7.",
            "Where O(ignore:max_size) is set, it holds at the pool's creation only; the autoscaler goes on from there.",
            "On edge-native it is the number of the pool's hosts, and is not named.",
        ),
        type="int",
        needed=True,
    ),
    Field(
        "min_size", ("Least number of machines that the autoscaler keeps. Not on edge-native.",), type="int", assumed=0
    ),
    Field(
        "max_size",
        ("Largest number of machines. Setting it switches the autoscaler on, V(0) off. Not on edge-native.",),
        type="int",
        assumed=0,
    ),
    Field("taints", ("Taints of the nodes, as a whole list.",), type="list", elements="dict", fields=TAINT),
    Field("additional_labels", ("Labels of the nodes. Those not named stay as they are.",), type="dict"),
    Field("additional_annotations", ("Annotations of the nodes. Those not named stay as they are.",), type="dict"),
    Field("additional_tags", ("Tags of the machines in the cloud. Those not named stay as they are.",), type="dict"),
    Field(
        "node_repave_interval",
        ("Seconds between the replacements of two nodes when the pool is repaved. Worker pools only.",),
        type="int",
        assumed=0,
    ),
    Field("update_strategy", ("How machines are replaced.",), type="dict", fields=UPDATE_STRATEGY),
    Field("override_kubeadm_configuration", ("YAML that is laid over the pool's kubeadm configuration.",)),
    Field(
        "skip_k8s_upgrade",
        (
            "V(enabled) leaves the workers of the pool on their Kubernetes version when the cluster is upgraded. Not on"
            " edge-native.",
        ),
        choices=("enabled", "disabled"),
        assumed="disabled",
    ),
    Field(
        "arch_type",
        ("Processor architecture of the machines.",),
        api="machinePoolProperties.archType",
        choices=("amd64", "arm64"),
        assumed="amd64",
        immutable="Make another pool and remove this one.",
    ),
)

#: Keys of a request's ``poolConfig`` which no option covers; an update hands them back.
POOL_KEYS = ("labels",)


def is_label(name: str) -> bool:
    """Whether Kubernetes takes a name as a label (RFC 1123): what clusters and pools are called becomes one."""
    return bool(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name))


def control_plane_first(pools: list[Values]) -> list[Values]:
    return sorted(pools, key=lambda pool: not pool.get("control_plane"))


def pool_labels(pool: Values) -> list[str]:
    """What Palette calls the kind of pool."""
    return ["control-plane"] if pool.get("control_plane") else ["worker"]


def check_pools(
    pools: list[Values], before: list[Values] | None, members: str = "", two_node: bool = False
) -> list[str]:
    """What is wrong with a cluster's pools, as sentences with the way out.

    members   the option that lists the machines of a pool, where the user brings them
    two_node  the control plane has two nodes for ever
    """
    findings: list[str] = []
    control = [pool for pool in pools if pool.get("control_plane")]
    if len(control) != 1:
        named = ", ".join(f"'{pool['name']}'" for pool in control) or "none"
        removed = [pool["name"] for pool in before or [] if pool.get("control_plane")]
        if not control and removed:
            findings.append(f"pools: the control plane '{removed[0]}' cannot be removed. Delete the cluster instead.")
        else:
            findings.append(
                f"pools: a cluster has one pool with control_plane: true, and here it is {named}. Mark exactly one."
            )
    for pool in pools:
        where = f"pools.{pool['name']}"
        if not is_label(str(pool["name"])):
            findings.append(
                f"{where}: the name of a pool is made of lower case letters, digits and hyphens, at most 63, with a "
                "letter or digit at both ends. Name it so."
            )
        size, least, most = pool.get("size"), pool.get("min_size"), pool.get("max_size")
        if size is None:
            continue
        sized = f"{where} has {size} {members}" if members else f"{where}.size is {size}"
        if members and size == 0:
            findings.append(f"{sized}. Name one at least, or take the pool away with state: absent.")
        elif pool.get("control_plane"):
            if two_node and size != 2:
                findings.append(f"{sized}, and a two-node cluster has exactly 2 of them. Name 2, or drop two_node.")
            elif not two_node and (size < 1 or size % 2 == 0):
                findings.append(
                    f"{sized}, and a control plane keeps its quorum with an odd number only. Use 1, 3, 5 or 7."
                )
            if most:
                findings.append(f"{where}.max_size is {most}, and a control plane is not autoscaled. Take it out.")
            if pool.get("node_repave_interval"):
                findings.append(f"{where}.node_repave_interval is for worker pools. Take it out.")
        elif size < 0:
            findings.append(f"{sized}. Use 0 or more.")
        if least and not most:
            findings.append(f"{where}.min_size is {least}, and without max_size nothing scales the pool. Set max_size.")
        if least and most and least > most:
            findings.append(f"{where}.min_size is {least}, which is more than max_size, {most}. Swap them.")
        elif most and not (least or 0) <= size <= most:
            findings.append(
                f"{where}.size is {size}, outside min_size and max_size ({least or 0} to {most}). Move one of them."
            )
        strategy = pool.get("update_strategy") or {}
        scaled = strategy.get("max_surge") or strategy.get("max_unavailable")
        if scaled and strategy.get("type") != "OverrideScaling":
            findings.append(
                f"{where}.update_strategy names max_surge or max_unavailable, which need type OverrideScaling. Set it."
            )
    return findings
