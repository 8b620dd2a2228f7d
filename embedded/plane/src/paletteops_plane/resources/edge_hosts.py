# SPDX-License-Identifier: GPL-3.0-or-later
"""Edge hosts: their records, how they register, what they report.

Documents: ``edgehost``, uid the host's own UID, version too (so that hosts may share a name); body as
v1EdgeHostDevice, without secrets. Of the plane's own:

- ``_credential``, ``_credential_used``: see ``host_access``; ``_claim``: digest of what the host claimed its record by
- ``_pairing_key``: digest of the key that the first registration must show
- ``_seen``: when the host was last heard of (seconds of the plane's clock); ``_observed``: its last report
- ``_reset``, ``_logs``: the uid of a reset or of logs that are asked for, until the host has done it
- ``_cluster``: {uid, name} of the cluster that uses it, written by ``provisioner.host_records``
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from paletteops_plane.bodies import plain
from paletteops_plane.clock import rfc3339
from paletteops_plane.errors import ApiError, invalid
from paletteops_plane.host_access import KIND, USED, digest, issue, same
from paletteops_plane.metadata import fill, replace, required_name
from paletteops_plane.plane import Plane
from paletteops_plane.provisioner import hosts
from paletteops_plane.resources import cluster_definition, edge_tokens
from paletteops_plane.routing import Call, operation, raw, visible
from paletteops_plane.store import Document, new_uid

Json = dict[str, Any]

_WHAT = "edge host"

#: Seconds without a heartbeat after which a host is unhealthy.
SILENCE = 180.0

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
#: Words that stand in the API's paths where a UID may stand.
_RESERVED = frozenset({"metadata", "register", "tags", "tokens"})

_NO_TUNNEL = {"remoteSsh": "disabled", "remoteSshTempUser": "disabled"}


# Records


@operation("POST /v1/edgehosts")
def register_ahead(call: Call) -> Json:
    """A record for a host that is still to come."""
    metadata, spec = call.body.get("metadata", {}), call.body.get("spec", {})
    uid = _checked_uid(metadata.get("uid", ""), "body.metadata.uid")
    _refuse_tunnel(spec.get("tunnelConfig", {}), "body.spec.tunnelConfig")
    host = _new(call.plane, uid, call.project, metadata)
    host.body["spec"]["device"] = {"archType": spec.get("archType") or "amd64"}
    if spec.get("hostPairingKey"):
        host.body["_pairing_key"] = digest(spec["hostPairingKey"])
    call.plane.store.add(host)
    return {"uid": uid}


@operation("GET /v1/edgehosts/{uid}")
def get(call: Call) -> Json:
    return shown(call.plane, _host(call))


@operation("PUT /v1/edgehosts/{uid}", "PUT /v1/edgehosts/{uid}/meta")
def update(call: Call) -> None:
    """Name and tags, tags whole; what a host says of itself is its own. Without metadata nothing changes."""
    host = call.find_own(KIND, call.path["uid"], _WHAT)
    sent = call.body.get("metadata")
    if sent is None:
        return
    if sent.get("uid") not in (None, "", host.uid):
        raise invalid(
            f"body.metadata.uid: the UID of a host cannot change: it is {host.uid!r}",
            field="body.metadata.uid",
            value=sent["uid"],
        )
    replace(host, {key: value for key, value in sent.items() if key != "name" or value}, _WHAT)
    call.plane.touch(host)


@operation("DELETE /v1/edgehosts/{uid}")
def delete(call: Call) -> None:
    """Its credential and whatever waits for it end with the record; the host may register anew then."""
    host = call.find_own(KIND, call.path["uid"], _WHAT)
    _refuse_in_use(call.plane, host, "take it out of its pool first")
    call.plane.store.delete(host.uid)
    call.plane.join_material.forget(host.uid)
    _tell(call.plane, host)


@operation("PATCH /v1/edgehosts/{uid}/hostPairingKey")
def set_pairing_key(call: Call) -> None:
    host = call.find_own(KIND, call.path["uid"], _WHAT)
    if host.body["status"]["state"] != "unpaired":
        raise ApiError("ResourceStateConflict", f"the edge host {host.uid!r} is paired already", {"uid": host.uid})
    host.body.pop("_pairing_key", None)
    if call.body.get("hostPairingKey"):
        host.body["_pairing_key"] = digest(call.body["hostPairingKey"])
    call.plane.touch(host)


@operation("PATCH /v1/edgehosts/{uid}/tunnelConfig")
def set_tunnel(call: Call) -> None:
    call.find_own(KIND, call.path["uid"], _WHAT)
    _refuse_tunnel(call.body, "body")


def _refuse_tunnel(sent: Json, where: str) -> None:
    for key in _NO_TUNNEL:
        if sent.get(key) == "enabled":
            raise invalid(
                f"{where}.{key}: this plane opens no shells on hosts: say disabled",
                field=f"{where}.{key}",
                value="enabled",
            )


# Hosts and clusters


@operation("PATCH /v1/edgehosts/{uid}/cluster/associate")
def associate(call: Call) -> None:
    """A host comes into a cluster by a machine pool; this only agrees with what is so already."""
    host = call.find_own(KIND, call.path["uid"], _WHAT)
    wanted = call.body.get("clusterUid", "")
    if wanted != host.body.get("_cluster", {}).get("uid"):
        raise ApiError(
            "ResourceStateConflict",
            f"the edge host {host.uid!r} is not in the cluster {wanted!r}: name it in a machine pool of the cluster",
            {"uid": host.uid, "clusterUid": wanted},
        )


@operation("DELETE /v1/edgehosts/{uid}/cluster/associate")
def dissociate(call: Call) -> None:
    host = call.find_own(KIND, call.path["uid"], _WHAT)
    _refuse_in_use(call.plane, host, "take it out of its pool")


@operation("GET /v1/edgehosts/{uid}/config")
def get_config(call: Call) -> Json:
    cluster = _host(call).body.get("_cluster")
    return {"clusterUids": [cluster["uid"]] if cluster else [], "tunnelConfig": dict(_NO_TUNNEL)}


@operation("GET /v1/edgehosts/{uid}/spc/download")
def download_definition(call: Call) -> Response:
    """What the cluster of the host is made of (``cluster_definition``)."""
    host = _host(call)
    cluster = _cluster_of(call.plane, host)
    if cluster is None:
        raise ApiError("ResourceNotFound", f"the edge host {host.uid!r} is in no cluster", {"uid": host.uid})
    archive = cluster_definition.of_cluster(call, cluster)
    return raw(archive, "application/octet-stream", f"{cluster.name}.tgz")


@operation("PUT /v1/edgehosts/{uid}/reset")
def reset(call: Call) -> None:
    """Ask the host to leave whatever it is in and to be clean; until it has, it is the same request."""
    host = call.find_own(KIND, call.path["uid"], _WHAT)
    if host.body["status"]["state"] == "unpaired":
        raise ApiError(
            "EdgeHostDeviceNotRegistered", f"the edge host {host.uid!r} has not registered yet", {"uid": host.uid}
        )
    _refuse_in_use(call.plane, host, "take it out of its pool, which resets it")
    host.body.setdefault("_reset", new_uid())
    call.plane.store.save(host)
    _tell(call.plane, host)


def _cluster_of(plane: Plane, host: Document) -> Document | None:
    """The cluster that uses a host, while it is there."""
    used_by = host.body.get("_cluster")
    return plane.store.get("cluster", used_by["uid"]) if used_by else None


def _refuse_in_use(plane: Plane, host: Document, way_out: str) -> None:
    cluster = _cluster_of(plane, host)
    if cluster is not None:
        raise ApiError(
            "ResourceInUse",
            f"the edge host {host.uid!r} is used by the cluster {cluster.name!r}: {way_out}",
            {"uid": host.uid, "cluster": {"uid": cluster.uid, "name": cluster.name}},
        )


# Registration


@operation("POST /v1/edgehosts/register")
def register(call: Call) -> Json:
    """A host exchanges a registration token for a credential of its own.

    Refused (409) where it is registered already, except where the same claim is shown and the credential was never
    used: then the answer was lost, and another credential takes the first one's place.
    """
    plane = call.plane
    token = edge_tokens.redeem(plane, call.headers.get("edgehosttoken", ""))
    body = plain(call.body)
    # the UID and the pairing key are judged as they came
    metadata, spec = body.get("metadata", {}), call.body.get("spec", {})
    if spec.get("type", "edge-native") != "edge-native":
        raise invalid("body.spec.type: this plane takes hosts of the type edge-native", field="body.spec.type")
    if "host" not in spec:
        raise invalid("body.spec.host: it is missing", field="body.spec.host")
    uid = _checked_uid(spec["host"]["hostUid"], "body.spec.host.hostUid")
    if metadata.get("uid") not in (None, "", uid):
        raise invalid(
            f"body.metadata.uid: it is not {uid!r} as in body.spec.host.hostUid",
            field="body.metadata.uid",
            value=metadata["uid"],
        )
    project = _project_asked(call, token)
    claim = call.headers.get("edgehostclaim", "")
    host = plane.store.get(KIND, uid)
    write: Callable[[Document], object] = plane.store.save
    if host is None:
        if spec["host"].get("disableAutoRegister"):
            raise ApiError(
                "EdgeHostDeviceNotRegistered",
                f"the edge host {uid!r} asks to be registered by hand: register it ahead, then start it again",
                {"uid": uid},
            )
        host, write = _new(plane, uid, _needed(project), metadata), plane.store.add
    else:
        _check_record(host, project, spec["host"].get("hostPairingKey", ""), claim)
        _merge_metadata(host, metadata)
    _take_over(plane, host, body)
    if claim:
        host.body["_claim"] = digest(claim)
    credential = issue(host)
    write(host)
    hosts.add_host_event(plane, host, plane.clock.now(), "Registered", f"registered by {token.name}", "Normal")
    hosts.observed(plane, host)
    answer = shown(plane, host)
    answer["spec"]["host"]["hostAuthToken"] = credential
    return answer


def _project_asked(call: Call, token: Document) -> str:
    """The uid of the project that a host asks for, else the one of its token; empty for none."""
    store = call.plane.store
    uid, name = call.headers.get("projectuid", ""), _text(call.headers.get("projectname", ""))
    if not uid and name:
        found = store.by_name("project", name)
        if found is None:
            raise ApiError("OperationForbidden", f"no project named {name!r}", {"projectName": name})
        return found.uid
    uid = uid or edge_tokens.project_of(token)
    if uid and store.get("project", uid) is None:
        raise ApiError("OperationForbidden", f"no project with the uid {uid!r}", {"projectUid": uid})
    return uid


def _text(header: str) -> str:
    """A header as its sender meant it: in UTF-8, as most send it, else in Latin-1, as it was read."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


def _needed(project: str) -> str:
    if not project:
        raise ApiError(
            "ProjectUidIsEmpty",
            "the registration token has no default project and the host names none: set stylus.site.projectName, "
            "or give the token a project",
        )
    return project


def _check_record(host: Document, project: str, pairing_key: str, claim: str) -> None:
    """May a host take the record that there is: one made ahead, or its own whose credential never arrived."""
    if project and project != host.project:
        raise ApiError(
            "AlreadyRegisteredEdgeHostDevice",
            f"the edge host {host.uid!r} has a record in another project: delete that first",
            {"uid": host.uid},
        )
    if host.body["status"]["state"] == "unpaired":
        wanted = host.body.get("_pairing_key")
        if wanted and not same(pairing_key, wanted):
            raise ApiError(
                "InvalidPairingKey",
                f"the pairing key is not the one that the edge host {host.uid!r} was registered ahead with",
                {"uid": host.uid},
            )
    elif host.body.get(USED) or not same(claim, host.body.get("_claim")):
        raise ApiError(
            "AlreadyRegisteredEdgeHostDevice",
            f"the edge host {host.uid!r} is registered already: delete its record before it registers again",
            {"uid": host.uid},
        )


def _new(plane: Plane, uid: str, project: str, metadata: Json) -> Document:
    if plane.store.exists(uid):
        raise ApiError(
            "AlreadyRegisteredEdgeHostDevice",
            f"a record with the uid {uid!r} exists already",
            {"uid": uid},
        )
    name = required_name({"name": metadata.get("name") or uid}, _WHAT)
    host = Document(kind=KIND, uid=uid, name=name, version=uid, project=project, body={})
    fill(plane, host, metadata)
    host.body |= {
        "spec": {
            "type": "edge-native",
            "host": {"hostUid": uid, "hostAddress": ""},
            "device": {},
            "tunnelConfig": dict(_NO_TUNNEL),
        },
        "status": {"state": "unpaired", "health": {}, "inUseClusters": []},
    }
    return host


def _merge_metadata(host: Document, sent: Json) -> None:
    """A record that was made ahead keeps its name, unless that is only the UID, and its tags; the host's are added."""
    metadata = host.body["metadata"]
    if metadata["name"] == host.uid and sent.get("name"):
        host.name = metadata["name"] = required_name(sent, _WHAT)
    labels = {**sent.get("labels", {}), **metadata.get("labels", {})}
    if labels:
        metadata["labels"] = labels


def _take_over(plane: Plane, host: Document, sent: Json) -> None:
    """What a host says of itself at registration: of its device and its addresses, nothing that is secret."""
    device, addresses = sent["spec"].get("device", {}), sent["spec"]["host"]
    address = addresses["hostAddress"]
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise invalid(
            f"body.spec.host.hostAddress: {address[:80]!r} is no address",
            field="body.spec.host.hostAddress",
            value=address[:80],
        ) from None
    in_use = "_cluster" in host.body
    ahead = host.body["spec"]["device"].get("archType")
    found = device.get("archType") or "amd64"
    if ahead and ahead != found:
        raise invalid(
            f"body.spec.device.archType: the edge host {host.uid!r} was registered ahead as {ahead}",
            field="body.spec.device.archType",
            value=found,
        )
    host.body["spec"] |= {
        "device": {"hostType": "agent-mode", **device, "archType": found},
        "host": {key: addresses[key] for key in ("hostUid", "hostAddress", "macAddress") if key in addresses},
    }
    host.body["spec"]["device"]["hostState"] = "cluster" if in_use else "registration"
    status = host.body["status"]
    version = sent.get("status", {}).get("health", {}).get("agentVersion", "")
    status |= {"state": "in-use" if in_use else "ready", "health": {"agentVersion": version}}
    host.body["_seen"] = plane.clock.now().timestamp()
    for stale in ("_observed", "_reset", "_pairing_key"):
        host.body.pop(stale, None)


def _checked_uid(uid: str, where: str) -> str:
    if not _UID.fullmatch(uid) or uid.lower() in _RESERVED:
        raise invalid(
            f"{where}: {uid[:140]!r} is no UID of a host: 1 to 128 letters, digits, '.', '_' and '-', the first one a "
            f"letter or digit, and none of {', '.join(sorted(_RESERVED))}",
            field=where,
            value=uid[:140],
        )
    return uid


# Reports


@operation("PATCH /v1/edgehosts/{uid}/health")
def set_health(call: Call) -> None:
    host = call.find_own(KIND, call.path["uid"], _WHAT)
    health = host.body["status"]["health"]
    host.body["status"]["health"] = {**health, "message": "", "state": "healthy", **call.body}
    host.body["_seen"] = call.plane.clock.now().timestamp()
    call.plane.store.save(host)
    hosts.seen(call.plane, host)


@operation("PATCH /v1/edgehosts/{uid}/packs/status")
def set_packs_status(call: Call) -> None:
    hosts.packs_status(call.plane, call.find_own(KIND, call.path["uid"], _WHAT), call.body.get("packs", []))


@operation("PATCH /v1/edgehosts/{uid}/hostCheckSum")
def set_checksum(call: Call) -> None:
    host = call.find_own(KIND, call.path["uid"], _WHAT)
    host.body["spec"]["host"]["hostChecksum"] = call.body.get("hostCheckSum", "")
    call.plane.store.save(host)


def take_report(plane: Plane, host: Document, report: Json) -> None:
    """Store what a host observes, whole, and go on with its cluster."""
    host.body["_observed"] = report
    host.body["_seen"] = plane.clock.now().timestamp()
    done = host.body.get("_reset")
    if done and report.get("reset_done") == done:
        del host.body["_reset"]
    plane.store.save(host)
    hosts.observed(plane, host)


# As the API shows them


def health_of(plane: Plane, status: Json, seen: float | None) -> Json:
    """The health of a host (v1EdgeHostHealth), from its last heartbeat and how long ago that was.

    Without ``state`` until the first heartbeat. The time before this plane started does not count: it heard of
    nobody then.
    """
    health: Json = dict(status.get("health", {}))
    if seen is None or status.get("state") == "unpaired":
        return {}
    now = plane.clock.now().timestamp()
    began = plane.started if plane.started <= now else seen
    if now - max(seen, began) > SILENCE:
        last = rfc3339(datetime.fromtimestamp(seen, UTC))
        health |= {"state": "unhealthy", "message": f"no heartbeat since {last}"}
    return health


def shown(plane: Plane, host: Document) -> Json:
    """A v1EdgeHostDevice, without anything secret."""
    body = visible(host.body)
    status = {**body["status"], "health": health_of(plane, body["status"], host.body.get("_seen"))}
    return {**body, "spec": {**body["spec"], "host": dict(body["spec"]["host"])}, "status": status}


def _host(call: Call) -> Document:
    return call.find(KIND, call.path["uid"], _WHAT)


def _tell(plane: Plane, host: Document) -> None:
    for listener in plane.hosts_changed:
        listener({host.uid})
