# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of clusters on hosts that users bring: the hosts of a pool, the profiles that fit them, what may change.

A refusal names the host, the pool and the way out. ``clusters``, ``cloudconfigs`` and ``cluster_profiles`` ask here
where ``Cloud.hosts`` says that a cloud's machines are hosts.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from paletteops_plane.clouds import ip_address, is_host_name
from paletteops_plane.errors import ApiError, invalid
from paletteops_plane.plane import Plane
from paletteops_plane.provisioner import MEMORY
from paletteops_plane.provisioner.edge_look import LOST_AFTER, version_key
from paletteops_plane.provisioner.host_records import EDGE_HOST, architecture_of, heard_of
from paletteops_plane.resources import edge_values
from paletteops_plane.resources.attachments import Attachment
from paletteops_plane.resources.cluster_state import ATTACHED
from paletteops_plane.resources.pools import Pool, skips_upgrades
from paletteops_plane.routing import Call
from paletteops_plane.store import Document

Json = dict[str, Any]

AGENT_MODE, APPLIANCE = "agent-mode", "appliance"

#: How many minor versions the nodes of a pool that skips upgrades may be behind the control plane (Kubernetes' rule).
NODE_SKEW = 3


# Pools


def complete(call: Call, pool: Pool, before: Pool | None, config: Json, cluster: Document | None, where: str) -> None:
    """Check the hosts that a pool names, and write to it what follows from their records; 409, 422.

    ``config`` is the clusterConfig, ``cluster`` the cluster that is there already, ``where`` the pool in the body.
    """
    place = f"{where}.cloudConfig.edgeHosts"
    hosts: list[Json] = pool["hosts"]
    if pool["size"] != len(hosts):
        field = f"{where}.poolConfig.size"
        raise invalid(
            f"{field}: the pool {pool['name']!r} names {len(hosts)} hosts, and its size is {pool['size']}: on hosts of "
            "your own the size is their number",
            field=field,
            value=pool["size"],
        )
    known = {entry["hostUid"]: entry for entry in before["hosts"]} if before else {}
    made: list[Json] = []
    for number, entry in enumerate(hosts):
        field = f"{place}[{number}]"
        if any(other["hostUid"] == entry["hostUid"] for other in made):
            raise invalid(
                f"{field}.hostUid: the host {entry['hostUid']!r} is there twice", field=field, value=entry["hostUid"]
            )
        record = _record(call, entry["hostUid"], f"{field}.hostUid")
        if entry["hostUid"] not in known:
            _check_free(call.plane, record, cluster, f"{field}.hostUid")
        _check_architecture(record, pool, field)
        made.append(_completed(record, entry, config, field))
    architectures = {architecture_of(record_of(call.plane, entry["hostUid"])) for entry in made}
    if len(architectures) > 1:
        raise invalid(
            f"{place}: the hosts of the pool {pool['name']!r} are of more than one architecture: "
            f"{', '.join(sorted(architectures))}: make a pool for each",
            field=place,
        )
    pool["hosts"] = made
    _check_override(pool, f"{where}.poolConfig.overrideKubeadmConfiguration")
    lacking = [entry for uid, entry in known.items() if uid not in {entry["hostUid"] for entry in made}]
    if lacking:
        raise ApiError(
            "ResourceStateConflict",
            f"{place}: the host {lacking[0]['hostUid']!r} has the machine {lacking[0]['hostName']!r} in the pool "
            f"{pool['name']!r}: delete the machine first, which takes the host out of the pool",
            {"field": place, "hostUids": [entry["hostUid"] for entry in lacking]},
        )


def _check_override(pool: Pool, field: str) -> None:
    text = pool.get("overrideKubeadmConfiguration", "")
    if edge_values.load(text) is None:
        raise invalid(
            f"{field}: of the pool {pool['name']!r} is neither empty nor YAML with keys, such as "
            "kubeletExtraArgs: {node-labels: a=b}",
            field=field,
        )


def record_of(plane: Plane, uid: str) -> Document | None:
    return plane.store.get(EDGE_HOST, uid)


def _record(call: Call, uid: str, field: str) -> Document:
    record = record_of(call.plane, uid)
    if record is None or record.project != call.project:
        raise invalid(
            f"{field}: there is no edge host with the uid {uid!r} in this project: register it, or look for it in "
            "another project",
            field=field,
            value=uid,
        )
    return record


def _check_free(plane: Plane, record: Document, cluster: Document | None, field: str) -> None:
    """409 for a host that cannot join: not there yet, not healthy, another cluster's, or still on its way out."""
    body, details = record.body, {"field": field, "hostUid": record.uid}
    used = body.get("_cluster")
    if used and (cluster is None or used["uid"] != cluster.uid):
        raise ApiError(
            "ResourceInUse",
            f"{field}: the edge host {record.name!r} ({record.uid}) is in use by the cluster {used['name']!r}: "
            "take it out of that one first, or name another host",
            details | {"clusterUid": used["uid"]},
        )
    if used and cluster is not None and any(item["host"] == record.uid for item in machines_of(plane, cluster)):
        raise ApiError(
            "ResourceStateConflict",
            f"{field}: the edge host {record.name!r} ({record.uid}) is in the cluster {used['name']!r} already, or has "
            "not left it yet: wait until its machine is gone",
            details,
        )
    status = body.get("status", {})
    if status.get("state") == "unpaired":
        raise ApiError(
            "ResourceStateConflict",
            f"{field}: the edge host {record.name!r} ({record.uid}) has not registered yet: start its agent",
            details,
        )
    seen = heard_of(plane, record)
    silent = seen is None or plane.clock.now().timestamp() - seen > LOST_AFTER
    health = status.get("health", {})
    if silent or health.get("state") == "unhealthy":
        reason = health.get("message") or "its agent has not been heard of"
        raise ApiError(
            "ResourceStateConflict",
            f"{field}: the edge host {record.name!r} ({record.uid}) is not healthy: {reason}; mend it, or name "
            "another host",
            details,
        )


def host_type_of(record: Document) -> str:
    found: str = record.body.get("spec", {}).get("device", {}).get("hostType") or APPLIANCE
    return found


def _check_architecture(record: Document, pool: Pool, field: str) -> None:
    wanted = pool.get("machinePoolProperties", {}).get("archType")
    has = architecture_of(record)
    if wanted and wanted != has:
        raise invalid(
            f"{field}.hostUid: the edge host {record.name!r} ({record.uid}) is of the architecture {has}, and the pool "
            f"{pool['name']!r} is for {wanted}: name another host, or give it a pool of its own",
            field=f"{field}.hostUid",
            value=record.uid,
        )


def _completed(record: Document, entry: Json, config: Json, field: str) -> Json:
    """An entry as it is stored: with name and address of the host."""
    made = {key: value for key, value in entry.items() if value and key != "nic"}
    nic = {key: value for key, value in entry.get("nic", {}).items() if value}
    if nic:
        made["nic"] = nic
    made["hostName"] = entry.get("hostName") or _node_name(record.name)
    if not is_host_name(made["hostName"]):
        raise invalid(
            f"{field}.hostName: {made['hostName']!r} is no name of a node: small letters, digits, - and .",
            field=f"{field}.hostName",
            value=made["hostName"],
        )
    made["hostAddress"] = _address(record, made, config, field)
    return made


def _node_name(name: str) -> str:
    """The name of a node for a host whose name may hold anything."""
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower())[:63].strip("-.")


def _address(record: Document, entry: Json, config: Json, field: str) -> str:
    """The address by which a host is a node: a fixed one that was named, a NIC's, or the one it registered with."""
    spec = record.body.get("spec", {})
    nics = {nic.get("nicName", ""): _plain(nic.get("ip", "")) for nic in spec.get("device", {}).get("nics", [])}
    own = _plain(spec.get("host", {}).get("hostAddress", ""))
    nic = entry.get("nic", {})
    name = nic.get("nicName") or entry.get("nicName", "")
    if name and name not in nics:
        raise invalid(
            f"{field}.nic.nicName: the edge host {record.name!r} has no interface {name!r}: "
            f"it has {', '.join(sorted(filter(None, nics))) or 'none that it told of'}",
            field=f"{field}.nic.nicName",
            value=name,
        )
    fixed = nic.get("ip") or entry.get("staticIP", "")
    if fixed or any(nic.get(key) for key in ("gateway", "subnet", "dns")):
        _check_fixed(record, fixed, nic, {own, *nics.values()} - {""}, field)
    elif config.get("staticIp"):
        raise invalid(
            f"{field}.nic.ip: the cluster has fixed addresses (staticIp), and none is named for the edge host "
            f"{record.name!r}",
            field=f"{field}.nic.ip",
        )
    address = fixed or (nics.get(name) if name else "") or own
    if ip_address(address) is None:
        raise invalid(
            f"{field}: the edge host {record.name!r} ({record.uid}) told of no IPv4 address"
            + (f" at its interface {name!r}" if name else ""),
            field=field,
        )
    return address


def _plain(address: str) -> str:
    return address.partition("/")[0]


def _check_fixed(record: Document, fixed: str, nic: Json, has: set[str], field: str) -> None:
    """422 for a fixed address that cannot be, or that the host does not have, since its agent gives it none."""
    for key, value in [
        ("ip", fixed),
        ("gateway", nic.get("gateway", "")),
        *(("dns", text) for text in nic.get("dns", [])),
    ]:
        if ip_address(value) is None and (value or key == "ip"):
            raise invalid(f"{field}.nic.{key}: {value!r} is no IPv4 address", field=f"{field}.nic.{key}", value=value)
    subnet, gateway = nic.get("subnet", ""), nic.get("gateway", "")
    if subnet:
        try:
            network = ipaddress.IPv4Network(f"{fixed}/{subnet.lstrip('/')}", strict=False)
        except ValueError:
            raise invalid(
                f"{field}.nic.subnet: {subnet!r} is no mask such as 255.255.255.0 or 24",
                field=f"{field}.nic.subnet",
                value=subnet,
            ) from None
        if gateway and ipaddress.IPv4Address(gateway) not in network:
            raise invalid(
                f"{field}.nic.gateway: {gateway} is not in the network {network} of the address {fixed}",
                field=f"{field}.nic.gateway",
                value=gateway,
            )
    if fixed not in has:
        raise invalid(
            f"{field}.nic.ip: the edge host {record.name!r} has {', '.join(sorted(has)) or 'no address'}, not {fixed}, "
            "and the agents of this plane set no addresses: give it to the host by the host's own means first",
            field=f"{field}.nic.ip",
            value=fixed,
        )


# The whole cluster


def check(plane: Plane, config: Json, pools: list[Pool], attached: list[Attachment], where: str) -> None:
    """422 for hosts that cannot be together in a cluster, or with its profiles. ``where`` is where pools stand."""
    entries = [(pool, entry) for pool in pools for entry in pool["hosts"]]
    for key, what in (("hostUid", "the host"), ("hostName", "the name"), ("hostAddress", "the address")):
        taken: dict[str, str] = {}
        for pool, entry in entries:
            if entry[key] in taken:
                raise invalid(
                    f"{where}: {what} {entry[key]!r} is in the cluster twice: in the pools {taken[entry[key]]!r} and "
                    f"{pool['name']!r}: take it out of one",
                    field=where,
                    value=entry[key],
                )
            taken[entry[key]] = pool["name"]
    endpoint = config.get("controlPlaneEndpoint", {})
    for pool, entry in entries:
        # An external endpoint may well be the address of the only control plane host.
        if endpoint.get("type") == "VIP" and entry["hostAddress"] == endpoint.get("host"):
            raise invalid(
                f"{where}: the VIP {endpoint['host']} is the address of the host {entry['hostUid']!r} of the pool "
                f"{pool['name']!r}: name an address that no machine has, or an External endpoint",
                field=where,
                value=endpoint["host"],
            )
    records = {entry["hostUid"]: record_of(plane, entry["hostUid"]) for _, entry in entries}
    if config.get("isTwoNodeCluster"):
        _check_two_nodes(entries, records, where)
    check_ranges(config, pools, attached, where)
    check_fit([record for record in records.values() if record], attached, where)


def _check_two_nodes(entries: list[tuple[Pool, Json]], records: dict[str, Document | None], where: str) -> None:
    for _, entry in entries:
        record = records[entry["hostUid"]]
        if record is not None and host_type_of(record) != APPLIANCE:
            raise invalid(
                f"{where}: isTwoNodeCluster is for hosts of appliance mode, and the edge host {record.name!r} "
                f"({record.uid}) is of {host_type_of(record)}: take one control plane host, or three",
                field=where,
                value=record.uid,
            )
    roles = sorted(entry.get("twoNodeCandidatePriority", "") for pool, entry in entries if pool["isControlPlane"])
    if roles != ["primary", "secondary"]:
        raise invalid(
            f"{where}: of the two hosts of a two-node cluster, twoNodeCandidatePriority is primary for one and "
            "secondary for the other",
            field=where,
        )


def check_ranges(config: Json, pools: list[Pool], attached: list[Attachment], where: str) -> None:
    """422 for ranges of pods and services that overlap, or that hold the address of a host or of the endpoint."""
    found = edge_values.pack_of(attached, "k8s")
    if found is None:
        return
    item, pack = found
    place = f"the values of {pack['name']} in the cluster profile {item['name']!r}"
    pod_text, service_text = edge_values.ranges(edge_values.values_of(item, pack, where))
    pods = edge_values.network(pod_text, "pods", f"{where}: {place}")
    services = edge_values.network(service_text, "services", f"{where}: {place}")
    named = f"the pods' range {pods} and the services' range {services}"
    if pods.overlaps(services):
        raise invalid(f"{where}: {place}: {named} overlap; choose ranges that do not", field=where, value=str(pods))
    addresses = [(entry["hostAddress"], f"the host {entry['hostUid']!r}") for pool in pools for entry in pool["hosts"]]
    addresses.append((config.get("controlPlaneEndpoint", {}).get("host", ""), "the control plane endpoint"))
    for text, what in addresses:
        address = ip_address(text)
        if address is None:
            continue
        for network, kind in ((pods, "pods'"), (services, "services'")):
            if address in network:
                raise invalid(
                    f"{where}: {what} has the address {address}, which is in the {kind} range: {place} say {named}; "
                    "choose ranges that hold no address of a host",
                    field=where,
                    value=text,
                )


def check_fit(records: list[Document], attached: list[Attachment], where: str) -> None:
    """422 for profiles that do not fit the hosts: an operating system of another mode, layers that agents lack."""
    found = edge_values.pack_of(attached, "os")
    for item in attached:
        for pack in item["packs"]:
            if pack["layer"] in ("csi", "addon") and pack["type"] != "manifest" and not pack["manifests"]:
                raise invalid(
                    f"{where}: the pack {pack['name']!r} of the cluster profile {item['name']!r} is a chart, and the "
                    "agents of this plane apply manifests alone: bring it as a pack of type manifest",
                    field=where,
                    value=pack["name"],
                )
    if found is None:
        return
    item, pack = found
    uri = edge_values.system_uri(edge_values.values_of(item, pack, where))
    for record in records:
        mode = host_type_of(record)
        if (mode == AGENT_MODE) != (uri == edge_values.NO_IMAGE):
            fit = (
                f"options.system.uri has to be {edge_values.NO_IMAGE} (the preset Agent Mode), since the host keeps "
                "its operating system"
                if mode == AGENT_MODE
                else "options.system.uri has to name a provider image, which the host boots"
            )
            raise invalid(
                f"{where}: the cluster profile {item['name']!r} does not fit the edge host {record.name!r} "
                f"({record.uid}) of {mode}: in the values of {pack['name']}, {fit}; it is {uri or 'empty'!r}",
                field=where,
                value=record.uid,
            )


# What may change


def check_profiles(plane: Plane, cluster: Document, config: Document, after: list[Attachment], where: str) -> None:
    """422 for other profiles that a cluster on hosts cannot get: network, ranges, a version that Kubernetes forbids."""
    body = plane.store.list(ATTACHED, parent=cluster.uid)[0].body
    before: list[Attachment] = body.get("applied") or body["profiles"]
    spec = config.body["spec"]
    check(plane, spec["clusterConfig"], spec["machinePoolConfig"], after, where)
    if not any(machine["joined"] or machine["step"] == "bootstrap" for machine in machines_of(plane, cluster)):
        return
    for layer, what in (("k8s", "distribution of Kubernetes"), ("cni", "network")):
        old, new = edge_values.pack_of(before, layer), edge_values.pack_of(after, layer)
        if old and new and old[1]["name"] != new[1]["name"]:
            raise invalid(
                f"{where}: the {what} of a cluster cannot become another one: {old[1]['name']} is there, "
                f"{new[1]['name']} is wanted; that takes a new cluster",
                field=where,
                value=new[1]["name"],
            )
    was, will = edge_values.kubernetes_of(before), edge_values.kubernetes_of(after)
    for key, what in (("pod_cidr", "pods"), ("service_cidr", "services")):
        if was[key] != will[key]:
            raise invalid(
                f"{where}: the range of {what} is {was[key]} and cannot become {will[key]}: that takes a new cluster",
                field=where,
                value=will[key],
            )
    new = edge_values.pack_of(after, "k8s")
    if new is not None:
        refusal = upgrade_refusal(machines_of(plane, cluster), spec["machinePoolConfig"], new[1]["version"])
        if refusal:
            raise invalid(f"{where}: {refusal}", field=where, value=new[1]["version"])


def upgrade_refusal(machines: list[Json], pools: list[Pool], target: str) -> str:
    """Why the nodes of a cluster cannot get this Kubernetes version; empty when they can."""
    there = [machine for machine in machines if machine["joined"] and not machine["removal"]]
    for machine in there:
        newest = max(machine["version"], machine["kubernetes_version"] or machine["version"], key=version_key)
        if version_key(newest) > version_key(target):
            return (
                f"Kubernetes {target} is older than {newest} of the machine {machine['name']!r}, and Kubernetes knows "
                f"no way back: name {newest} or a newer one"
            )
    skipping = {pool["name"] for pool in pools if skips_upgrades(pool)}
    for machine in there:
        has = machine["kubernetes_version"] or machine["version"]
        allowed = NODE_SKEW if machine["pool"] in skipping else 1
        apart = _minors(has, target)
        if apart > allowed:
            way = f"go to {_next_minor(has)} first" if allowed == 1 else "let its pool follow first (skipK8sUpgrade)"
            return (
                f"Kubernetes {target} is {apart} minor versions above {has} of the machine {machine['name']!r}, and "
                f"{allowed} {'is' if allowed == 1 else 'are'} allowed: {way}"
            )
    return ""


def check_catching_up(plane: Plane, cluster: Document, pool: Pool, field: str) -> None:
    """422 for a pool that skipped upgrades and can no longer follow, since no node may leave a minor version out."""
    target = cluster.body["_wanted"]["kubernetes"]
    for machine in machines_of(plane, cluster):
        has = machine["kubernetes_version"] or machine["version"]
        if machine["pool"] == pool["name"] and machine["joined"] and _minors(has, target) > 1:
            raise invalid(
                f"{field}: the machine {machine['name']!r} of the pool {pool['name']!r} has Kubernetes {has}, and the "
                f"cluster {target}: no node may leave a minor version out; delete its machine, and add the host again",
                field=field,
                value=pool.get("skipK8sUpgrade", ""),
            )


def _minors(old: str, new: str) -> int:
    (old_major, old_minor, *_), (new_major, new_minor, *_) = version_key(old), version_key(new)
    return new_minor - old_minor if old_major == new_major else 99


def _next_minor(version: str) -> str:
    major, minor, *_ = version_key(version)
    return f"{major}.{minor + 1}"


def machines_of(plane: Plane, cluster: Document) -> list[Json]:
    """The machines of a cluster as the provisioner has them (``provisioner.edge``)."""
    memory = next(iter(plane.store.list(MEMORY, parent=cluster.uid)), None)
    found: list[Json] = memory.body["machines"] if memory else []
    return found


def take_out(cluster: Document, config: Document, pool: Pool, host_uid: str) -> None:
    """Take a host out of its pool, since its machine is deleted; 409 for the last one of the control plane."""
    if pool["isControlPlane"] and len(pool["hosts"]) == 1:
        raise ApiError(
            "ResourceInUse",
            f"the host {host_uid!r} is the last one of the control plane of {cluster.name!r}: add others first, or "
            "delete the cluster",
            {"hostUid": host_uid},
        )
    pool["hosts"] = [entry for entry in pool["hosts"] if entry["hostUid"] != host_uid]
    pool["size"] = len(pool["hosts"])
    if not pool["hosts"]:
        emptied = cluster.body["_wanted"].setdefault("emptied", [])
        if pool["name"] not in emptied:
            emptied.append(pool["name"])
