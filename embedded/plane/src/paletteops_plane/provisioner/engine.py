# SPDX-License-Identifier: GPL-3.0-or-later
"""The seam joined to the plane's documents: desired state is read from them, observed state is written to them.

Clusters of clouds stand on the simulated filling, clusters on hosts on that of ``provisioner.edge``.

Read: the cluster's ``spec.cloudType``, ``spec.clusterConfig.updateWorkerPoolsInParallel`` and ``_wanted``; its cloud
config's ``spec``; the cloud account. ``_wanted`` is what the resource layer wants of the provisioner::

    {"packs": [{"profile_uid", "name", "layer", "version", "type", "digest"}],  # those in force, in order
     "image": "…",          # changes when every machine has to be made anew (operating system, Kubernetes)
     "kubernetes": "1.31.4",
     "pinned": {pool: {"image", "kubernetes"}},  # of pools that were left out of an upgrade
     "removed": [uids of machines that are to go], "deleted": False, "forced": False}

Written: the cluster's ``status.state``, ``.conditions``, ``.packs``, its ``_health`` (absent until there is any),
``_bootstrapped`` and ``_pools``; documents ``machine`` (parent: the cloud config) with ``_pool``, ``_control_plane``,
``_ready``, ``_current`` (as its pool wants it), ``_joined`` (a node of the cluster), ``_kubernetes_version`` and
``_phase``, of which ``_cordoned`` is read; documents ``event`` (parent: the cluster); a document ``observed`` (parent:
the cluster), apart so that lists of clusters do not read it. Of a cluster that is gone the name becomes free, and its
cloud config and machines go.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from paletteops_plane.clock import rfc3339
from paletteops_plane.clouds import CLOUDS
from paletteops_plane.plane import Plane
from paletteops_plane.provisioner import (
    DELETED,
    MEMORY,
    Desired,
    Happening,
    Observed,
    Pack,
    Pool,
    Provisioner,
    host_records,
)
from paletteops_plane.provisioner.simulated import Simulated
from paletteops_plane.store import Document, new_uid

Json = dict[str, Any]

#: How many events are kept of a cluster, or of a host; one of either may tell a lot.
MOST_EVENTS = 1000

#: What the states of machines are called in the API (v1CloudMachineStatus).
_INSTANCE_STATES = {"Provisioning": "Provisioning", "Running": "Running", "Deleting": "Deleting"}


def provisioner(plane: Plane, cluster: Document, config: Document) -> Provisioner:
    """What stands behind the seam for a cluster."""
    if _on_hosts(cluster):
        return host_records.filling(plane, cluster, config)
    return Simulated(plane.settings.speed, plane.faults)


def _on_hosts(cluster: Document) -> bool:
    return CLOUDS[cluster.body["spec"]["cloudType"]].hosts


def wake(plane: Plane, cluster: Document) -> None:
    """Go on with a cluster as far as it can get by now, and store it; to be called after every change of it."""
    go_on(plane, cluster)
    if _on_hosts(cluster):
        host_records.tell(plane, cluster.body.get("_hosts", ()))
    # A request that fails after this takes back what was stored, but not what is in memory: look once more.
    plane.moving[cluster.uid] = plane.clock.now().timestamp()


def go_on(plane: Plane, cluster: Document) -> None:
    """Look at a cluster that nobody changed: time has passed, or something was observed."""
    config = plane.store.get("cloudconfig", cluster.body["spec"]["cloudConfigRef"]["uid"])
    if config is None:
        plane.moving.pop(cluster.uid, None)
        return
    desired = desired_of(plane, cluster, config)
    memory = next(iter(plane.store.list(MEMORY, parent=cluster.uid)), None)
    known: Observed = memory.body if memory else {}
    outcome = provisioner(plane, cluster, config).reconcile(desired, known, plane.clock.now())
    if memory is None:
        memory = Document(kind=MEMORY, project=cluster.project, parent=cluster.uid, body=outcome.observed)
        plane.store.add(memory)
    elif outcome.observed != known:
        memory.body = outcome.observed
        plane.store.save(memory)
    cordoned = _write_machines(plane, cluster, config, outcome.observed)
    _write_cluster(cluster, config, outcome.observed, cordoned)
    for happening in outcome.happenings:
        add_event(plane, cluster, happening)
    if _on_hosts(cluster):
        host_records.settle(plane, cluster, config, known, outcome.observed)
    if outcome.observed["state"] == DELETED:
        cluster.holds_name = False
        plane.store.set_references(cluster.uid, ())
        plane.store.delete(config.uid)
        plane.store.delete(memory.uid)
    plane.store.save(cluster)
    if outcome.next_at is None:
        plane.moving.pop(cluster.uid, None)
    else:
        plane.moving[cluster.uid] = outcome.next_at


def catch_up(plane: Plane) -> None:
    """Bring every cluster in motion to where it is by now. Cheap while nothing is due."""
    now = plane.clock.now().timestamp()
    for uid in [uid for uid, due in plane.moving.items() if due <= now]:
        cluster = plane.store.get("cluster", uid)
        if cluster is None:
            plane.moving.pop(uid, None)
        else:
            go_on(plane, cluster)


def resume(plane: Plane) -> None:
    """After a start: clusters go on where they were."""
    for cluster in plane.store.list("cluster"):
        if cluster.holds_name:
            plane.moving[cluster.uid] = 0.0


# Desired state


def desired_of(plane: Plane, cluster: Document, config: Document) -> Desired:
    """What the provisioner is told of a cluster."""
    wanted = cluster.body["_wanted"]
    spec, cloud = config.body["spec"], cluster.body["spec"]["cloudType"]
    account = _account(plane, config)
    return Desired(
        uid=cluster.uid,
        name=cluster.name,
        cloud=cloud,
        pools=tuple(_pool(cloud, wanted, pool) for pool in spec["machinePoolConfig"]),
        packs=tuple(Pack(**pack) for pack in wanted["packs"]),
        account=account,
        cluster_config=spec["clusterConfig"],
        parallel=bool(cluster.body["spec"].get("clusterConfig", {}).get("updateWorkerPoolsInParallel")),
        removed=frozenset(wanted.get("removed", ())),
        deleted=bool(wanted.get("deleted")),
        forced=bool(wanted.get("forced")),
    )


def _account(plane: Plane, config: Document) -> Json:
    """The spec of the cloud account; empty for a cluster that has none."""
    reference = config.body["spec"].get("cloudAccountRef")
    account = plane.store.get("cloudaccount", reference["uid"]) if reference else None
    return account.body["spec"] if account else {}


def _pool(cloud: str, wanted: Json, pool: Json) -> Pool:
    control_plane = bool(pool.get("isControlPlane"))
    fields = {key: pool.get(key) for key in (*CLOUDS[cloud].template_fields, "overrideKubeadmConfiguration")}
    # A pool that skips upgrades stays with what its machines are made of.
    made_of = wanted.get("pinned", {}).get(pool["name"], wanted)
    surge, unavailable = replacement(pool)
    return Pool(
        name=pool["name"],
        control_plane=control_plane,
        size=pool["size"],
        template=digest([fields, made_of["image"]]),
        config=pool,
        surge=surge,
        unavailable=unavailable,
        repave_interval=0.0 if control_plane else float(pool.get("nodeRepaveInterval") or 0),
        kubernetes_version=made_of["kubernetes"],
    )


def replacement(pool: Json) -> tuple[int, int]:
    """How many machines may be there beyond the size, and how many may lack, while a pool's machines are replaced."""
    strategy = pool.get("updateStrategy") or {}
    kind = strategy.get("type")
    if pool.get("isControlPlane") or kind not in ("RollingUpdateScaleIn", "OverrideScaling"):
        return 1, 0
    if kind == "RollingUpdateScaleIn":
        return 0, 1
    size = pool["size"]
    surge = amount(strategy.get("maxSurge", "1"), size, up=True)
    unavailable = amount(strategy.get("maxUnavailable", "0"), size, up=False)
    # Percentages of a small pool may both come to nothing; a replacement still goes on.
    return (surge, unavailable) if surge or unavailable else (1, 0)


def amount(text: str, size: int, *, up: bool) -> int:
    """``2`` or ``25%`` of a size as a number; ``ValueError`` when it is neither."""
    if text.endswith("%"):
        share = size * int(text[:-1])
        return -(-share // 100) if up else share // 100
    return int(text)


def digest(content: Any) -> str:
    """A short mark of JSON content; it changes when the content does."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


# Observed state


def _stamp(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


def _write_cluster(cluster: Document, config: Document, observed: Observed, cordoned: dict[str, int]) -> None:
    body = cluster.body
    status = body.setdefault("status", {})
    status["state"] = observed["state"]
    status["conditions"] = [
        {
            "type": kind,
            "status": condition["status"],
            "reason": condition["reason"],
            "message": condition["message"],
            "lastTransitionTime": _stamp(condition["at"]),
        }
        for kind, condition in observed["conditions"].items()
    ]
    status["packs"] = [_pack_status(entry) for entry in observed["packs"].values()]
    health = observed["health"]
    if health is None:
        body.pop("_health", None)
    else:
        body["_health"] = {"state": health["state"], "lastHeartBeatTimestamp": _stamp(health["at"])}
        if health["message"]:
            body["_health"]["conditions"] = [{"type": health["state"], "message": health["message"]}]
    body["_bootstrapped"] = observed["kubeconfig"]
    body["_pools"] = [
        {
            "name": pool["name"],
            "cloudType": body["spec"]["cloudType"],
            "isControlPlane": bool(pool.get("isControlPlane")),
            "labels": pool.get("labels", []),
            "size": pool["size"],
            "healthy": min(pool["size"], _healthy(observed, pool["name"])),
            "maintenanceMode": cordoned.get(pool["name"], 0),
        }
        for pool in config.body["spec"]["machinePoolConfig"]
    ]


def _healthy(observed: Observed, pool: str) -> int:
    # A machine in a cloud that is to be replaced does not count; a host is changed in place, and serves until then.
    return sum(
        machine["pool"] == pool and machine["phase"] == "Running" and machine.get("ready", machine["current"])
        for machine in observed["machines"]
    )


def _pack_status(entry: Json) -> Json:
    """A layer as the cluster's status shows it (v1ClusterPackStatus)."""
    state = entry["state"]
    condition = {
        "type": "Error" if state == "Error" else "Ready",
        "status": "True" if state in ("Ready", "Error") else "False",
        "reason": state,
        "message": entry["message"],
    }
    shown = {
        "name": entry["name"],
        "profileUid": entry["profile_uid"],
        "type": entry["type"],
        "version": entry["version"],
        "condition": condition,
    }
    for key, moment in (("startTime", entry["started"]), ("endTime", entry["ended"])):
        if moment is not None:
            shown[key] = _stamp(moment)
    return shown


def _write_machines(plane: Plane, cluster: Document, config: Document, observed: Observed) -> dict[str, int]:
    """Store the machines; how many of each pool are cordoned (``_cordoned``)."""
    cordoned: dict[str, int] = {}
    known = {machine.uid: machine for machine in plane.store.list("machine", parent=config.uid)}
    # First those that are gone: another one may have the name of one of them.
    for uid in known.keys() - {machine["uid"] for machine in observed["machines"]}:
        plane.store.delete(uid)
    for machine in observed["machines"]:
        document = known.get(machine["uid"])
        if document is None:
            document = _new_machine(plane, cluster, config, machine)
            plane.store.add(document)
        mark = _mark(machine, bool(document.body.get("_cordoned")))
        if document.body.get("_mark") != mark:
            _write_phase(document, machine)
            _write_maintenance(document, machine)
            document.body["_mark"] = mark
            plane.store.save(document)
        if document.body.get("_cordoned"):
            cordoned[machine["pool"]] = cordoned.get(machine["pool"], 0) + 1
    return cordoned


def _new_machine(plane: Plane, cluster: Document, config: Document, machine: Json) -> Document:
    cloud = CLOUDS[cluster.body["spec"]["cloudType"]]
    pool = next(item for item in config.body["spec"]["machinePoolConfig"] if item["name"] == machine["pool"])
    spec = cloud.machine(pool, config.body["spec"]["clusterConfig"], _account(plane, config), machine)
    made = _stamp(machine["since"])
    document = Document(
        kind="machine", name=machine["name"], project=cluster.project, parent=config.uid, uid=machine["uid"], body={}
    )
    document.body |= {
        "kind": cloud.name,
        "metadata": {"name": machine["name"], "uid": machine["uid"], "creationTimestamp": made},
        "spec": spec,
        "status": {
            # The vendor's SDK looks into it without asking whether it is there.
            "maintenanceStatus": {"action": "", "message": "", "state": ""},
            "addresses": [
                {"type": "InternalIP", "address": address} for nic in spec["nics"] for address in nic["privateIPs"]
            ],
        },
        "_pool": machine["pool"],
        "_control_plane": machine["control_plane"],
        "_kubernetes_version": machine["kubernetes_version"],
    }
    return document


def _mark(machine: Json, cordoned: bool) -> list[Any]:
    """What of a machine is written; a document with the same is left as it is."""
    keys = ("phase", "current", "kubernetes_version", "ready", "message", "cordon")
    return [*(machine.get(key) for key in keys), cordoned]


def _write_maintenance(document: Document, machine: Json) -> None:
    """How far it is with a cordon that a user asked for, where that takes time."""
    asked = document.body["status"]["maintenanceStatus"]
    if "cordon" in machine and asked["action"]:
        done = machine["cordon"] == bool(document.body.get("_cordoned"))
        asked["state"] = "Completed" if done else "InProgress"


def _write_phase(document: Document, machine: Json) -> None:
    phase, since = machine["phase"], _stamp(machine["since"])
    ready = machine.get("ready", phase == "Running")
    document.body |= {
        "_phase": phase,
        "_current": machine["current"],
        "_kubernetes_version": machine["kubernetes_version"],
        "_ready": ready,
        "_joined": ready or (phase == "Deleting" and document.body.get("_joined", False)),
    }
    document.body["status"] |= {
        "instanceState": _INSTANCE_STATES[phase],
        "instanceStateLastUpdate": since,
        "ready": ready,
        "health": {"state": "healthy" if ready else "unknown", "lastHeartBeatTimestamp": since},
    }
    if machine.get("message"):
        document.body["status"]["health"]["conditions"] = [{"type": "Ready", "message": machine["message"]}]


def add_event(
    plane: Plane,
    cluster: Document,
    happening: Happening,
    *,
    kind: str = "spectrocluster",
    source: dict[str, str] | None = None,
) -> None:
    """An event of a cluster, or of something else that has events (v1Event), stored; the oldest ones make room."""
    uid = new_uid()
    reference = {"kind": kind, "name": cluster.name, "uid": cluster.uid}
    stamp = _stamp(happening.at)
    body = {
        "metadata": {
            "name": f"{cluster.name}.{uid[-12:]}",
            "uid": uid,
            "creationTimestamp": stamp,
            "lastModifiedTimestamp": stamp,
        },
        "involvedObject": reference,
        "relatedObject": reference,
        "reason": happening.reason,
        "message": happening.message,
        "severity": happening.severity,
        "source": source or {"component": "provisioner", "host": "plane"},
    }
    plane.store.add(
        Document(
            kind="event", project=cluster.project, parent=cluster.uid, uid=uid, name=uid, holds_name=False, body=body
        )
    )
    plane.store.keep_newest("event", cluster.uid, MOST_EVENTS)
