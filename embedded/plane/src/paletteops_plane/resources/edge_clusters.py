# SPDX-License-Identifier: GPL-3.0-or-later
"""What clusters on hosts have beside other clusters: their hosts, a way back to bare hosts, certificates, logs.

Documents: ``logfetcher`` (parent: the cluster), a request for the logs of a cluster's hosts: ``{"hosts": [uids]}``.
"""

from __future__ import annotations

from typing import Any

from paletteops_plane import content
from paletteops_plane.clouds import CLOUDS
from paletteops_plane.errors import ApiError, not_found
from paletteops_plane.provisioner import engine, host_records
from paletteops_plane.resources import edge_hosts
from paletteops_plane.resources.cluster_state import CONFIG, state_of
from paletteops_plane.resources.clusters import changeable, find_cluster
from paletteops_plane.resources.edge_native import machines_of
from paletteops_plane.routing import Call, operation
from paletteops_plane.store import Document, new_uid

Json = dict[str, Any]

#: The kind of requests for logs.
LOG_FETCHER = "logfetcher"


def _on_hosts(cluster: Document, what: str) -> Document:
    """409 for a cluster whose machines are no hosts of the user's."""
    cloud = cluster.body["spec"]["cloudType"]
    if not CLOUDS[cloud].hosts:
        raise ApiError(
            "ResourceStateConflict",
            f"the cluster {cluster.name!r} is on {cloud}: {what} is for clusters on hosts of your own",
            {"cloudType": cloud},
        )
    return cluster


def _records(call: Call, cluster: Document) -> list[Document]:
    """The records of the cluster's hosts, those that are on their way out included."""
    found = (call.plane.store.get(host_records.EDGE_HOST, uid) for uid in cluster.body.get("_hosts", ()))
    return [record for record in found if record is not None]


# Hosts


@operation("GET /v1/spectroclusters/{uid}/edge-native/edgeHosts")
def list_hosts(call: Call) -> Json:
    records = _records(call, find_cluster(call))
    items = [edge_hosts.shown(call.plane, record) for record in records]
    return {
        "items": items,
        "listmeta": {"count": len(items), "limit": len(items), "offset": len(items), "continue": ""},
    }


@operation("POST /v1/spectroclusters/{uid}/edge/reset")
def reset(call: Call) -> None:
    """Take the pools of a cluster away: its hosts leave it and are clean, and it waits for other pools."""
    cluster = changeable(_on_hosts(find_cluster(call), "a reset"))
    config = call.plane.store.get(CONFIG, cluster.body["spec"]["cloudConfigRef"]["uid"])
    if config is None:
        raise not_found("cloud config", cluster.body["spec"]["cloudConfigRef"]["uid"])
    config.body["spec"]["machinePoolConfig"] = []
    call.plane.touch(config)
    cluster.body["_reset"] = new_uid()
    engine.wake(call.plane, cluster)


# Certificates


@operation("GET /v1/spectroclusters/{uid}/k8certificates")
def get_certificates(call: Call) -> Json:
    """The certificates of the control plane's hosts, as their agents told of them last."""
    cluster = find_cluster(call)
    shown = []
    for machine in machines_of(call.plane, cluster) if CLOUDS[cluster.body["spec"]["cloudType"]].hosts else []:
        record = call.plane.store.get(host_records.EDGE_HOST, machine["host"])
        report = (record.body.get("_observed") or {}) if record else {}
        certificates = report.get("certificates") or []
        if machine["control_plane"] and certificates and report.get("cluster_uid") == cluster.uid:
            shown.append({"name": machine["name"], "certificateAuthorities": _by_authority(certificates)})
    return {"machineCertificates": shown}


def _by_authority(certificates: list[Json]) -> list[Json]:
    authorities: dict[str, Json] = {}
    for certificate in certificates:
        name = certificate["name"]
        expiry = {"expiry": certificate["expires_at"]} if certificate.get("expires_at") else {}
        if _is_authority(name):
            authorities.setdefault(name, {"name": name, "certificates": []}).update(expiry)
        else:
            authority = certificate.get("authority") or _authority_of(name)
            made = authorities.setdefault(authority, {"name": authority, "certificates": []})
            made["certificates"].append({"name": name, **expiry})
    return list(authorities.values())


def _is_authority(name: str) -> bool:
    return name == "ca" or name.endswith("-ca")


def _authority_of(name: str) -> str:
    """Who signed a certificate, by kubeadm's names."""
    if name.startswith("etcd-") or name == "apiserver-etcd-client":
        return "etcd-ca"
    return "front-proxy-ca" if name.startswith("front-proxy-") else "ca"


@operation("PATCH /v1/spectroclusters/{uid}/k8certificates/renew")
def renew_certificates(call: Call) -> None:
    """New certificates on one control plane host after the other, by their agents; elsewhere there are none."""
    cluster = changeable(find_cluster(call))
    if not CLOUDS[cluster.body["spec"]["cloudType"]].hosts:
        return
    if state_of(cluster) != "Running":
        raise ApiError(
            "ResourceStateConflict",
            f"the cluster {cluster.name!r} is {state_of(cluster)}: certificates are renewed while it runs",
            {"state": state_of(cluster)},
        )
    cluster.body["_renewal"] = new_uid()
    engine.wake(call.plane, cluster)


# Logs


@operation("POST /v1/spectroclusters/{uid}/features/logFetcher")
def fetch_logs(call: Call) -> Json:
    """Ask the hosts of a cluster for their logs; which ones, the agents decide."""
    cluster = changeable(_on_hosts(find_cluster(call), "fetching logs"))
    records = _records(call, cluster)
    uid = new_uid()
    document = Document(kind=LOG_FETCHER, project=cluster.project, parent=cluster.uid, uid=uid, body={})
    document.body = {
        "metadata": call.plane.new_metadata(f"{cluster.name}-logs", uid),
        "hosts": [record.uid for record in records],
    }
    call.plane.store.add(document)
    for record in records:
        record.body["_logs"] = uid
        call.plane.store.save(record)
    host_records.tell(call.plane, [record.uid for record in records])
    return {"uid": uid}


@operation("GET /v1/spectroclusters/{uid}/features/logFetcher")
def get_logs(call: Call) -> Json:
    """How far a request for logs is; without ``requestId`` the newest one."""
    cluster = find_cluster(call)
    wanted = call.query.get("requestId", "")
    requests = call.plane.store.list(LOG_FETCHER, parent=cluster.uid)
    document = next((item for item in reversed(requests) if wanted in ("", item.uid)), None)
    if document is None:
        raise not_found("request for logs of this cluster", wanted)
    here = content.log_hosts(call.plane, document.uid)
    lacking = [uid for uid in document.body["hosts"] if uid not in here]
    return {
        "metadata": document.body["metadata"],
        "spec": {"clusterUid": cluster.uid, "log": ""},
        "status": {"state": "InProgress" if lacking else "Completed"},
    }
