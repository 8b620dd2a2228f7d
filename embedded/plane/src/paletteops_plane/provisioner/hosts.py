# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts joined to their clusters: what each host's agent is told, and what its reports lead to.

What an agent is told (``desired_state``) is made of the cluster's documents and of what the provisioner decided
(``provisioner.edge``), each time anew; its ``generation`` changes with it. A report leads to another look at the
cluster at once, and each host whose desired state may change by that is named to ``Plane.hosts_changed``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from paletteops_plane import variables
from paletteops_plane.kubernetes import published
from paletteops_plane.plane import Plane
from paletteops_plane.provisioner import MEMORY, Happening, Observed, engine
from paletteops_plane.provisioner.edge_look import DRAIN_TIMEOUT
from paletteops_plane.provisioner.host_records import EDGE_HOST, REPORTED, reported_of, tell
from paletteops_plane.resources import attachments, edge_values
from paletteops_plane.store import Document, new_uid

Json = dict[str, Any]

#: The port of the Kubernetes API at a cluster's endpoint.
API_PORT = 6443

#: Reasons by which agents word the state of a pack.
_STATES = {"ready": "Ready", "deployed": "Ready", "success": "Ready", "error": "Error", "failed": "Error"}


# What a host is told


def desired_state(plane: Plane, host: Document) -> Json:
    """What the agent of a host is to do; read only."""
    state: Json = {
        "reset": host.body.get("_reset"),
        "logs": host.body.get("_logs"),
        "cluster": _desired_cluster(plane, host),
    }
    return {"generation": engine.digest(state), **state}


def _desired_cluster(plane: Plane, host: Document) -> Json | None:
    place = _place(plane, host)
    if place is None:
        return None
    cluster, config, memory, machine = place
    if (host.body.get("_observed") or {}).get("cluster_uid") not in (None, "", cluster.uid):
        # It leaves the cluster that it is in before it joins another one.
        return None
    observed = memory.body
    attached = _in_force(plane, cluster)
    pools = config.body["spec"]["machinePoolConfig"]
    pool: Json = next((pool for pool in pools if pool["name"] == machine["pool"]), {})
    cluster_config = config.body["spec"]["clusterConfig"]
    endpoint = cluster_config.get("controlPlaneEndpoint", {})
    lead = machine["uid"] == observed["lead"] and machine["step"] == "run"
    kubernetes = edge_values.kubernetes_of(attached)
    return {
        "uid": cluster.uid,
        "name": cluster.name,
        "lead": lead,
        "step": machine["step"],
        "member": {"pool": machine["pool"], **_member(pools, machine)},
        "endpoint": {"host": endpoint.get("host", ""), "port": API_PORT, "type": endpoint.get("type", "VIP")},
        "kubernetes": {
            **kubernetes,
            "version": machine["version"],
            "next_version": machine.get("next") or None,
            "kubeadm_override": pool.get("overrideKubeadmConfiguration", ""),
        },
        "network": _network(attached),
        # What nodes are labelled with is there for peers as well: a worker may not write that of its own node.
        "peers": [
            {**_member(pools, peer), "pod_cidr": peer["pod_cidr"]}
            for peer in observed["machines"]
            if peer["uid"] != machine["uid"] and peer["step"] in ("bootstrap", "join", "run")
        ],
        "packs": _packs(attached) if lead else [],
        "tasks": _tasks(observed, machine, lead),
        "ntp_servers": cluster_config.get("ntpServers", []),
        "ssh_keys": cluster_config.get("sshKeys", []),
    }


def _member(pools: list[Json], machine: Json) -> Json:
    """What a host is in its cluster, by its pool."""
    pool = next((pool for pool in pools if pool["name"] == machine["pool"]), {})
    return {
        "uid": machine["host"],
        "node_name": machine["name"],
        "address": machine["address"],
        "control_plane": machine["control_plane"],
        # May workloads run there; cordons are tasks.
        "schedulable": not machine["control_plane"] or bool(pool.get("useControlPlaneAsWorker")),
        "labels": pool.get("additionalLabels", {}),
        "annotations": pool.get("additionalAnnotations", {}),
        "taints": [
            {"key": taint["key"], "value": taint.get("value", ""), "effect": taint["effect"]}
            for taint in pool.get("taints", [])
        ],
    }


def _place(plane: Plane, host: Document) -> tuple[Document, Document, Document, Json] | None:
    """Where a host is: its cluster, the cluster's cloud config, what is remembered of the cluster, its machine."""
    uid = (host.body.get("_cluster") or {}).get("uid", "")
    cluster = plane.store.get("cluster", uid) if uid else None
    if cluster is None:
        return None
    config = plane.store.get("cloudconfig", cluster.body["spec"]["cloudConfigRef"]["uid"])
    memory = next(iter(plane.store.list(MEMORY, parent=cluster.uid)), None)
    if config is None or memory is None:
        return None
    machine = next((item for item in memory.body["machines"] if item["host"] == host.uid), None)
    return (cluster, config, memory, machine) if machine else None


def _in_force(plane: Plane, cluster: Document) -> list[attachments.Attachment]:
    """The profiles of a cluster that are in force: those asked for may have to wait."""
    documents = plane.store.list("attached", parent=cluster.uid)
    if not documents:
        return []
    body = documents[0].body
    found: list[attachments.Attachment] = body.get("applied") or body["profiles"]
    return found


def _network(attached: list[attachments.Attachment]) -> Json:
    for item in attached:
        for pack in item["packs"]:
            if pack["layer"] == "cni":
                return {"pack": pack["name"], "version": pack["version"], "manifests": _manifests(item, pack)}
    return {"pack": "", "version": "", "manifests": []}


def _manifests(item: attachments.Attachment, pack: Json) -> list[Json]:
    values = attachments.values_of(item)
    return [
        {"name": manifest["name"], "content": variables.resolve(manifest["content"], values)}
        for manifest in pack["manifests"]
    ]


def _packs(attached: list[attachments.Attachment]) -> list[Json]:
    """The packs that the lead applies, in the order of their rollout: add-ons, and storage that comes as manifests."""
    found = []
    by_key = {(item["uid"], pack["name"]): (item, pack) for item in attached for pack in item["packs"]}
    for wanted in attachments.wanted(attached)["packs"]:
        if wanted["layer"] not in ("csi", "addon"):
            continue
        item, pack = by_key[(wanted["profile_uid"], wanted["name"])]
        found.append(
            {
                **{key: wanted[key] for key in ("profile_uid", "name", "version", "digest")},
                "type": "manifest",
                "manifests": _manifests(item, pack),
            }
        )
    return found


def _tasks(observed: Observed, machine: Json, lead: bool) -> list[Json]:
    """The tasks of a host: the lead's are those of the cluster, new certificates are each host's own."""
    known = {item["uid"]: item for item in observed["machines"]}
    found = []
    for task in observed["tasks"]:
        target = known.get(task["machine"])
        if task["state"] != "open" or target is None:
            continue
        mine = target["uid"] == machine["uid"] if task["kind"] == "renew-certificates" else lead
        if mine:
            found.append({"id": task["id"], "kind": task["kind"], **_details(task["kind"], target)})
    return found


def _details(kind: str, target: Json) -> Json:
    role, name = {"control_plane": target["control_plane"]}, {"node_name": target["name"]}
    details: dict[str, Json] = {
        "admit": {"member_uid": target["host"], **role},
        "drain": {**name, "timeout": DRAIN_TIMEOUT},
        "uncordon": name,
        "forget": {**name, **role, "address": target["address"]},
        "renew-certificates": {},
    }
    return details[kind]


# What hosts say


def observed(plane: Plane, host: Document) -> None:
    """Go on with a host's cluster; to be called when a report of it is stored. It may rewrite records of hosts."""
    cluster = _cluster(plane, host)
    if cluster is not None:
        engine.go_on(plane, cluster)
    # Also without that: one that was forgotten, or is in another cluster, is told to leave until it says that it has.
    tell(plane, [host.uid])


def seen(plane: Plane, host: Document) -> None:
    """A host was heard of: go on with its cluster when it counted as lost there."""
    place = _place(plane, host)
    if place is not None and place[3]["uid"] in place[2].body["told"]:
        engine.go_on(plane, place[0])


def join_missing(plane: Plane, host: Document) -> None:
    """A member that is to join finds no join material (lost, expired or used): the lead is asked for other one."""
    place = _place(plane, host)
    if place is None:
        return
    cluster, _, memory, machine = place
    task = next(
        (item for item in memory.body["tasks"] if (item["kind"], item["machine"]) == ("admit", machine["uid"])), None
    )
    if machine["step"] != "join" or task is None or task["state"] != "done":
        return
    memory.body["tasks"].remove(task)
    machine["step"] = "prepare"
    plane.store.save(memory)
    engine.wake(plane, cluster)


def may_admit(plane: Plane, host_uid: str, member_uid: str) -> bool:
    """May this host send join material for that one: a control plane host that runs, for a member on its way."""
    host, member = plane.store.get(EDGE_HOST, host_uid), plane.store.get(EDGE_HOST, member_uid)
    if host is None or member is None:
        return False
    place, other = _place(plane, host), _place(plane, member)
    if place is None or other is None or place[0].uid != other[0].uid:
        return False
    return place[3]["control_plane"] and place[3]["step"] == "run" and is_member(plane, member_uid)


def is_member(plane: Plane, host_uid: str) -> bool:
    """Is this host a member that is on its way into its cluster, so that join material is for it."""
    host = plane.store.get(EDGE_HOST, host_uid)
    place = _place(plane, host) if host else None
    return place is not None and place[3]["step"] in ("prepare", "join") and not place[3]["removal"]


def is_control_plane(plane: Plane, host: Document) -> bool:
    """Is this host one of the control plane of its cluster, and in it by now."""
    place = _place(plane, host)
    return place is not None and place[3]["control_plane"] and place[3]["step"] in ("bootstrap", "join", "run")


def keep_kubeconfig(plane: Plane, host: Document, content: str) -> None:
    """Store the kubeconfig that a control plane host sent; of others it is ignored. 422 for what users may not get."""
    place = _place(plane, host)
    if place is None or not is_control_plane(plane, host):
        return
    cluster, config = place[:2]
    endpoint = config.body["spec"]["clusterConfig"].get("controlPlaneEndpoint", {}).get("host", "")
    document = reported_of(plane, cluster.uid) or _new_reported(plane, cluster)
    document.body["kubeconfig"] = published.checked(content, endpoint, API_PORT)
    plane.store.save(document)
    engine.wake(plane, cluster)


def kubeconfig_of(plane: Plane, cluster_uid: str) -> str:
    """The kubeconfig that the cluster's hosts sent; empty when there is none."""
    document = reported_of(plane, cluster_uid)
    return document.body.get("kubeconfig", "") if document else ""


def packs_status(plane: Plane, host: Document, packs: list[Json]) -> None:
    """Take over what the lead says of packs (v1SpectroClusterPackStatusEntity); of others it is ignored."""
    place = _place(plane, host)
    if place is None or place[3]["uid"] != place[2].body["lead"]:
        return
    cluster = place[0]
    document = reported_of(plane, cluster.uid) or _new_reported(plane, cluster)
    known = document.body.setdefault("packs", {})
    for pack in packs:
        condition = pack.get("condition", {})
        known[f"{pack.get('profileUid', '')}/{pack.get('name', '')}"] = {
            "version": pack.get("version", ""),
            "state": _STATES.get(condition.get("reason", "").lower(), "Deploying"),
            "message": condition.get("message", ""),
            "at": plane.clock.now().timestamp(),
        }
    plane.store.save(document)
    engine.wake(plane, cluster)


def add_host_event(plane: Plane, host: Document, at: datetime, reason: str, message: str, severity: str) -> None:
    """Store something that a host tells as an event of it, and of its cluster."""
    happening = Happening(at.timestamp(), reason, f"{host.name}: {message}", severity)
    source = {"component": "agent", "host": host.name}
    engine.add_event(plane, host, happening, kind=EDGE_HOST, source=source)
    cluster = _cluster(plane, host)
    if cluster is not None:
        engine.add_event(plane, cluster, happening, source=source)


def _cluster(plane: Plane, host: Document) -> Document | None:
    uid = (host.body.get("_cluster") or {}).get("uid", "")
    return plane.store.get("cluster", uid) if uid else None


def _new_reported(plane: Plane, cluster: Document) -> Document:
    document = Document(kind=REPORTED, project=cluster.project, parent=cluster.uid, uid=new_uid(), body={})
    plane.store.add(document)
    return document
