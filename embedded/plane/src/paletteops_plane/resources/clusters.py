# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters: made, read, changed, deleted. Their profiles are in ``cluster_profiles``, their pools in ``cloudconfigs``.

What is asked for is stored and handed to the provisioner (``engine.wake``), which goes on by the plane's clock.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from paletteops_plane import clock
from paletteops_plane.clouds import CLOUDS
from paletteops_plane.errors import ApiError, invalid, name_taken, not_found
from paletteops_plane.metadata import fill, replace, required_name
from paletteops_plane.provisioner import engine
from paletteops_plane.resources import accounts, attachments, edge_native, pools
from paletteops_plane.resources.cluster_state import (
    API_PORT,
    ATTACHED,
    CLUSTER,
    CONFIG,
    answers_kubernetes,
    is_deleted,
    state_of,
)
from paletteops_plane.routing import Call, operation, visible
from paletteops_plane.store import Document, NameTaken

#: A deletion that is younger is not forced (at speed 1); the vendor's rule.
FORCE_DELETE_AFTER = timedelta(minutes=15)

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

#: Parts of a sent clusterConfig (v1ClusterConfigEntity) that the cluster shows as they are (v1ClusterConfig).
_CONFIG_KEYS = (
    "clusterMetaAttribute",
    "controlPlaneHealthCheckTimeout",
    "hostClusterConfig",
    "hyperShiftConfig",
    "lifecycleConfig",
    "machineManagementConfig",
    "timezone",
    "updateWorkerPoolsInParallel",
)


# Finding


def find_cluster(call: Call, uid: str | None = None) -> Document:
    """A cluster that is there; 404 for one that is deleted, also where it is still shown as such."""
    uid = uid or call.path["uid"]
    cluster = call.find(CLUSTER, uid, "cluster")
    if is_deleted(cluster):
        raise not_found("cluster", uid)
    return cluster


def changeable(cluster: Document) -> Document:
    """409 for a cluster that takes no changes any more."""
    if state_of(cluster) == "Deleting":
        raise ApiError("ResourceStateConflict", f"the cluster {cluster.name!r} is being deleted", {"state": "Deleting"})
    return cluster


def repave_pending(cluster: Document) -> bool:
    state: str = cluster.body["status"].get("repave", {}).get("state", "")
    return state == "Pending"


def refuse_while_repave_pending(cluster: Document) -> None:
    if repave_pending(cluster):
        raise ApiError(
            "ResourceStateConflict",
            f"the cluster {cluster.name!r} waits for a repave to be approved, and takes no other change until then: "
            "approve it, or take back what asks for it",
            {"repave": cluster.body["_repave"]["reasons"]},
        )


def attached_document(call: Call, cluster: Document) -> Document:
    """The document with the cluster's profiles."""
    return call.plane.store.list(ATTACHED, parent=cluster.uid)[0]


def attached_to(call: Call, cluster: Document) -> list[attachments.Attachment]:
    found: list[attachments.Attachment] = attached_document(call, cluster).body["profiles"]
    return found


# Create


def _routes(cloud: str) -> None:
    @operation(f"POST /v1/spectroclusters/{cloud}")
    def create(call: Call) -> dict[str, Any]:
        cluster, config, attached = _build(call, cloud)
        store = call.plane.store
        try:
            store.add(cluster)
        except NameTaken as taken:
            raise name_taken("cluster", cluster.name, taken.uid) from None
        store.add(config)
        store.add(attached)
        set_references(call, cluster, attached.body["profiles"])
        engine.wake(call.plane, cluster)
        return {"uid": cluster.uid}


def set_references(call: Call, cluster: Document, attached: list[attachments.Attachment]) -> None:
    used = {cluster.body["_account"]["uid"], *(item["uid"] for item in attached)}
    call.plane.store.set_references(cluster.uid, used - {""})


def _build(call: Call, cloud: str) -> tuple[Document, Document, Document]:
    """A new cluster, its cloud config and its profiles, from what was sent; 422 for what cannot be."""
    name, account, cluster_config = check_head(call, cloud)
    metadata, spec = call.body.get("metadata", {}), call.body["spec"]
    where = "body.spec.machinepoolconfig"
    made = []
    for number, sent in enumerate(spec.get("machinepoolconfig", [])):
        place = f"{where}[{number}]"
        pool = pools.build(cloud, sent, None, cluster_config, place)
        if CLOUDS[cloud].hosts:
            edge_native.complete(call, pool, None, cluster_config, None, place)
        made.append(pool)
    pools.check_set(made, where)
    where = "body.spec.profiles"
    attached = [
        attachments.attach(call, cloud, sent, None, f"{where}[{number}]")
        for number, sent in enumerate(spec.get("profiles", []))
    ]
    attachments.check(attached, where)
    if CLOUDS[cloud].hosts:
        edge_native.check(call.plane, cluster_config, made, attached, "body.spec")
    sent_config = spec.get("clusterConfig", {})
    location = sent_config.get("location") or CLOUDS[cloud].location(cluster_config)

    cluster = Document(kind=CLUSTER, name=name, project=call.project, body={})
    config = Document(kind=CONFIG, name=name, project=call.project, parent=cluster.uid, body={})
    now = call.plane.clock.timestamp()
    cluster.body = {
        "kind": "spectrocluster",
        "spec": {
            "cloudType": cloud,
            "clusterType": "PureManage",
            "cloudConfigRef": {"kind": cloud, "name": name, "uid": config.uid},
            "clusterConfig": {key: sent_config[key] for key in _CONFIG_KEYS if key in sent_config},
            "clusterProfileTemplates": [attachments.shown(item, whole=False) for item in attached],
        },
        "status": {
            "state": "",
            "spcApply": {"actionType": "DownloadAndInstall", "canBeApplied": True, "lastModifiedTime": now},
            **({"location": location} if location else {}),
        },
        "_account": {"uid": account.uid, "name": account.name} if account else {"uid": "", "name": ""},
        "_location": CLOUDS[cloud].region(cluster_config),
        "_wanted": {**attachments.wanted(attached), "removed": [], "deleted": False, "forced": False},
    }
    fill(call.plane, cluster, metadata)
    config.body = {
        "kind": cloud,
        "metadata": call.plane.new_metadata(name, config.uid),
        "spec": {
            **(
                {"cloudAccountRef": {"kind": "cloudaccount", "name": account.name, "uid": account.uid}}
                if account
                else {}
            ),
            "clusterConfig": cluster_config,
            "machinePoolConfig": made,
        },
        "status": {},
    }
    profiles = Document(kind=ATTACHED, project=call.project, parent=cluster.uid, body={"profiles": attached})
    return cluster, config, profiles


def check_head(call: Call, cloud: str) -> tuple[str, Document | None, dict[str, Any]]:
    """What a new cluster is without its pools and profiles: its name, its cloud account where clusters of its cloud
    have one, and its clusterConfig as stored."""
    spec = call.body.get("spec")
    if spec is None:
        raise invalid("body.spec: is needed", field="body.spec")
    name = _checked_name(required_name(call.body.get("metadata", {}), "cluster"), "body.metadata.name")
    account = None if CLOUDS[cloud].hosts else _account(call, cloud, spec["cloudAccountUid"])
    _refuse_not_served(spec.get("clusterConfig", {}), spec.get("policies", {}))
    return name, account, CLOUDS[cloud].cluster_config(spec.get("cloudConfig", {}), "body.spec.cloudConfig")


def _checked_name(name: str, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{where}: {name!r} is no name of a cluster: small letters, digits and -, a letter or digit at both ends, "
            "at most 63",
            field=where,
            value=name,
        )
    return name


def _account(call: Call, cloud: str, uid: str) -> Document:
    where = "body.spec.cloudAccountUid"
    account = call.plane.store.get(accounts.KIND, uid)
    if account is None or account.project not in call.scopes:
        raise invalid(f"{where}: there is no cloud account with the uid {uid!r}", field=where, value=uid)
    if account.body["kind"] != cloud:
        raise invalid(
            f"{where}: the cloud account {account.name!r} is for {account.body['kind']}, not for {cloud}",
            field=where,
            value=uid,
        )
    if accounts.CLOUDS[cloud].needs_gateway:
        gateway = account.body["metadata"].get("annotations", {}).get(accounts.GATEWAY, "")
        if call.plane.store.get("overlord", gateway) is None:
            raise invalid(f"{where}: the cloud account {account.name!r} has no private cloud gateway", field=where)
    return account


def _refuse_not_served(config: dict[str, Any], policies: dict[str, Any]) -> None:
    """What is sent for parts that this plane lacks must not get lost silently."""
    resources = config.get("resources", {})
    for where, value in (
        ("body.spec.clusterConfig.resources.namespaces", resources.get("namespaces")),
        ("body.spec.clusterConfig.resources.rbacs", resources.get("rbacs")),
        ("body.spec.policies.backupPolicy", policies.get("backupPolicy")),
        ("body.spec.policies.scanPolicy", policies.get("scanPolicy")),
    ):
        if value:
            raise invalid(f"{where}: is not served by this plane; leave it out", field=where)


for _cloud in CLOUDS:
    _routes(_cloud)


# Read


@operation("GET /v1/spectroclusters/{uid}")
def get(call: Call) -> dict[str, Any]:
    cluster = call.find(CLUSTER, call.path["uid"], "cluster")
    return shown(call, cluster)


def shown(call: Call, cluster: Document) -> dict[str, Any]:
    """A v1SpectroCluster: with the values of its packs, and the address of its Kubernetes API."""
    body = visible(cluster.body)
    templates = [attachments.shown(item, whole=True) for item in attached_to(call, cluster)]
    body["spec"] = {**body["spec"], "clusterProfileTemplates": templates}
    # The state of a repave is always there: clients read it before each update. Where none was asked for, none waits.
    body["status"] = {"repave": {"state": "Approved"}, **body["status"], **api_endpoints(call, cluster)}
    return body


def api_endpoints(call: Call, cluster: Document) -> dict[str, Any]:
    """Where the cluster's Kubernetes API is, as a part of its status; empty while it does not answer."""
    if not answers_kubernetes(cluster):
        return {}
    if CLOUDS[cluster.body["spec"]["cloudType"]].hosts:
        config = call.plane.store.get(CONFIG, cluster.body["spec"]["cloudConfigRef"]["uid"])
        endpoint = config.body["spec"]["clusterConfig"]["controlPlaneEndpoint"] if config else {"host": ""}
        return {"apiEndpoints": [{"host": endpoint["host"], "port": API_PORT}]}
    address = urlsplit(call.base_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    return {"apiEndpoints": [{"host": address.hostname or "", "port": port}]}


@operation("GET /v1/spectroclusters/{uid}/status")
def get_status(call: Call) -> dict[str, Any]:
    return {"status": {"state": state_of(call.find(CLUSTER, call.path["uid"], "cluster"))}}


@operation("GET /v1/spectroclusters/validate/name")
def validate_name(call: Call) -> None:
    name = _checked_name(call.query.get("name", ""), "name")
    taken = call.plane.store.by_name(CLUSTER, name, call.project)
    if taken is not None:
        raise name_taken("cluster", name, taken.uid)


# Change


@operation("PATCH /v1/spectroclusters/{uid}/metadata")
def update_metadata(call: Call) -> None:
    cluster = find_cluster(call)
    metadata = call.body["metadata"]
    if metadata.get("name", cluster.name) != cluster.name:
        raise invalid(
            f"body.metadata.name: the cluster {cluster.name!r} cannot get another name", field="body.metadata.name"
        )
    replace(cluster, metadata, "cluster")
    call.plane.touch(cluster)


@operation("PATCH /v1/spectroclusters/{uid}/clusterConfig/clusterMetaAttribute")
def update_meta_attribute(call: Call) -> None:
    cluster = changeable(find_cluster(call))
    cluster.body["spec"]["clusterConfig"]["clusterMetaAttribute"] = call.body.get("clusterMetaAttribute", "")
    call.plane.touch(cluster)


# Delete


@operation("DELETE /v1/spectroclusters/{uid}")
def delete(call: Call) -> None:
    cluster = find_cluster(call)
    wanted = cluster.body["_wanted"]
    if call.query.get("forceDelete"):
        _check_force(call, cluster)
        wanted["forced"] = True
    elif not wanted["deleted"]:
        wanted["deleted"] = True
        cluster.body["_deleted_at"] = cluster.body["metadata"]["deletionTimestamp"] = call.plane.clock.timestamp()
    engine.wake(call.plane, cluster)


def _check_force(call: Call, cluster: Document) -> None:
    """409 where the deletion is not old enough to be forced."""
    began = cluster.body.get("_deleted_at")
    if began is None:
        raise ApiError(
            "ResourceStateConflict",
            f"the cluster {cluster.name!r} is not being deleted: delete it first, and force it when that does not end",
        )
    allowed = clock.parse(began) + FORCE_DELETE_AFTER / call.plane.settings.speed
    if call.plane.clock.now() < allowed:
        raise ApiError(
            "ResourceStateConflict",
            f"the deletion of the cluster {cluster.name!r} can be forced from {clock.rfc3339(allowed)} on",
            {"from": clock.rfc3339(allowed)},
        )
