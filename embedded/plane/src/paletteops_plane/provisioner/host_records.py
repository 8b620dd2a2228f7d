# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of hosts, as the provisioner reads and writes them.

Documents: ``edgehost`` (``resources.edge_hosts``), of which ``_observed`` (the agent's report) and ``_seen`` are read
and ``_cluster`` {uid, name}, ``status.state`` (ready, in-use), ``status.inUseClusters`` and ``spec.device.hostState``
are written here; ``reported`` (parent: the cluster), what its hosts sent apart from their reports:
``{"kubeconfig": text, "packs": {key: status}}``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from paletteops_plane.plane import Plane
from paletteops_plane.provisioner import DELETED, MEMORY, Observed, Provisioner
from paletteops_plane.provisioner.edge import EdgeNative
from paletteops_plane.provisioner.edge_look import Facts, Host
from paletteops_plane.store import Document

Json = dict[str, Any]

#: The kind of the hosts' records.
EDGE_HOST = "edgehost"
#: The kind of the document with what hosts sent of a cluster apart from their reports.
REPORTED = "reported"


def filling(plane: Plane, cluster: Document, config: Document) -> Provisioner:
    """The provisioner of a cluster on hosts, with what is known of them by now."""
    memory = next(iter(plane.store.list(MEMORY, parent=cluster.uid)), None)
    machines = memory.body["machines"] if memory else []
    uids = {machine["host"] for machine in machines} | hosts_of(config)
    reported = reported_of(plane, cluster.uid)
    return EdgeNative(
        Facts(
            hosts={uid: host for uid in uids if (host := _host(plane, uid))},
            kubeconfig=bool(reported and reported.body.get("kubeconfig")),
            statuses=reported.body.get("packs", {}) if reported else {},
            cordoned=frozenset(
                machine.uid
                for machine in plane.store.list("machine", parent=config.uid)
                if machine.body.get("_cordoned")
            ),
            renewal=cluster.body.get("_renewal", ""),
            reset=cluster.body.get("_reset", ""),
        )
    )


def hosts_of(config: Document) -> set[str]:
    """The uids of the hosts that the pools of a cloud config name."""
    pools = config.body["spec"]["machinePoolConfig"]
    return {entry["hostUid"] for pool in pools for entry in pool.get("hosts", ())}


def _host(plane: Plane, uid: str) -> Host | None:
    document = plane.store.get(EDGE_HOST, uid)
    if document is None:
        return None
    body = document.body
    return Host(uid, document.name, body.get("_seen"), body.get("_observed") or {}, _listening_since(plane))


def heard_of(plane: Plane, document: Document) -> float | None:
    """When a host was heard of last (seconds of the plane's clock), or could have been; None: never."""
    seen: float | None = document.body.get("_seen")
    return None if seen is None else max(seen, _listening_since(plane))


def _listening_since(plane: Plane) -> float:
    """Since when the plane could hear of hosts; 0 where its clock was set back after its start."""
    return plane.started if plane.started <= plane.clock.now().timestamp() else 0.0


def settle(plane: Plane, cluster: Document, config: Document, known: Observed, observed: Observed) -> None:
    """After a look at a cluster, before which this was known of it: write to the hosts' records whose they are, and
    tell those who wait where something was decided.
    """
    gone = observed["state"] == DELETED
    now = set() if gone else {machine["host"] for machine in observed["machines"]} | hosts_of(config)
    before = set(cluster.body.get("_hosts", ()))
    if now != before:
        cluster.body["_hosts"] = sorted(now)
        architectures = set()
        for uid in before | now:
            document = plane.store.get(EDGE_HOST, uid)
            if document is None:
                continue
            if uid in now:
                architectures.add(architecture_of(document))
            if uid not in before or uid not in now:
                _write_use(document, cluster if uid in now else None)
                plane.store.save(document)
        if architectures:
            cluster.body["_architectures"] = sorted(architectures)
    _drop_empty_pools(plane, cluster, config, observed)
    ended = "bootstrapped" in known.get("passed", ()) and "bootstrapped" not in observed["passed"]
    if (gone or ended) and (reported := reported_of(plane, cluster.uid)):
        plane.store.delete(reported.uid)
    if now != before or any(known.get(key) != observed[key] for key in ("lead", "tasks", "machines")):
        tell(plane, before | now)


def tell(plane: Plane, uids: Iterable[str]) -> None:
    """The desired state of these hosts may have changed."""
    changed = set(uids)
    for listener in plane.hosts_changed if changed else ():
        listener(changed)


def _write_use(document: Document, cluster: Document | None) -> None:
    status = document.body.setdefault("status", {})
    device = document.body.setdefault("spec", {}).setdefault("device", {})
    if cluster is None:
        document.body.pop("_cluster", None)
    else:
        document.body["_cluster"] = {"uid": cluster.uid, "name": cluster.name}
    status["inUseClusters"] = [{"uid": cluster.uid, "name": cluster.name}] if cluster else []
    if status.get("state") != "unpaired":
        status["state"] = "in-use" if cluster else "ready"
    device["hostState"] = "cluster" if cluster else "registration"


def _drop_empty_pools(plane: Plane, cluster: Document, config: Document, observed: Observed) -> None:
    """A pool whose last machine was deleted goes with it, unless it got other hosts in the meantime."""
    emptied = cluster.body["_wanted"].get("emptied", [])
    spec = config.body["spec"]
    left = {machine["pool"] for machine in observed["machines"]}
    gone = {
        pool["name"]
        for pool in spec["machinePoolConfig"]
        if pool["name"] in emptied and not pool["hosts"] and pool["name"] not in left
    }
    if gone:
        spec["machinePoolConfig"] = [pool for pool in spec["machinePoolConfig"] if pool["name"] not in gone]
        cluster.body["_wanted"]["emptied"] = [name for name in emptied if name not in gone]
        plane.store.save(config)


def architecture_of(document: Document | None) -> str:
    """The architecture of a host, as its record has it."""
    device = document.body.get("spec", {}).get("device", {}) if document else {}
    found: str = device.get("archType") or "amd64"
    return found


def reported_of(plane: Plane, cluster_uid: str) -> Document | None:
    """What the hosts of a cluster sent apart from their reports."""
    return next(iter(plane.store.list(REPORTED, parent=cluster_uid)), None)
