# SPDX-License-Identifier: GPL-3.0-or-later
"""The clouds in which this plane has clusters: one table each.

What a cloud's cluster config, pools and machines hold, what of them may not change, what makes new machines needed,
and what the infrastructure would say of their values. Routes, rules and the provisioner follow from these tables.
"""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paletteops_plane.errors import invalid
from paletteops_plane.resources.accounts import DENIED
from paletteops_plane.store import new_uid

Values = dict[str, Any]
#: Reason and message of what the infrastructure refuses.
Refusal = tuple[str, str]


@dataclass(frozen=True)
class Cloud:
    """What is particular to one cloud."""

    name: str
    #: A clusterConfig as it is stored and shown, from what was sent and where in the body; 422 for what cannot be.
    cluster_config: Callable[[Values, str], Values]
    #: Dotted paths in the stored clusterConfig that an update may not change.
    fixed: tuple[str, ...]
    #: The cloud's part of a pool as it is stored (flat), from what was sent, the pool before and the clusterConfig;
    #: 422 for what cannot be.
    pool: Callable[[Values, Values | None, Values, str], Values]
    #: Keys of a stored pool whose change replaces its machines.
    template_fields: tuple[str, ...]
    #: Keys of a stored pool that may not change in the control plane.
    control_plane_fixed: tuple[str, ...]
    #: The spec of a machine as the API shows it: pool, clusterConfig, account spec, the machine as the provisioner
    #: has it (``number``, and ``host`` where machines are hosts).
    machine: Callable[[Values, Values, Values, Values], Values]
    account_fault: Callable[[Values], Refusal | None]
    pool_fault: Callable[[Values, Values], Refusal | None]
    #: Where a cluster of this config is, for the summaries.
    region: Callable[[Values], str]
    #: The ``status.location`` of a cluster for which none was named, where the API knows it by itself. A client that
    #: leaves it to the API (the vendor's provider on aws) waits for one; elsewhere it would see it as a change.
    location: Callable[[Values], Values] = lambda config: {}
    #: Its machines are hosts that users bring: there is no account, nothing is made or replaced, and a pool names its
    #: hosts (``resources.edge_native``).
    hosts: bool = False
    #: Sizes that the control plane may have, by the clusterConfig.
    control_plane_sizes: Callable[[Values], tuple[int, ...]] = lambda config: (1, 3, 5, 7)


def _denied(identity: str) -> Refusal | None:
    if identity.startswith(DENIED):
        return "CredentialsWithoutPermission", f"the credentials of {identity!r} do not allow to make machines"
    return None


# aws

#: Instance types of aws that this plane knows: processors and memory in MiB.
AWS_INSTANCE_TYPES: dict[str, tuple[int, int]] = {
    f"{family}.{size}": (cpus * factor, memory * factor)
    for family, (cpus, memory) in {
        "m5": (2, 8192),
        "m6a": (2, 8192),
        "m6i": (2, 8192),
        "m7i": (2, 8192),
        "c5": (2, 4096),
        "c6i": (2, 4096),
        "r5": (2, 16384),
        "r6i": (2, 16384),
    }.items()
    for size, factor in {"large": 1, "xlarge": 2, "2xlarge": 4, "4xlarge": 8, "8xlarge": 16}.items()
} | {"t3.medium": (2, 4096), "t3.large": (2, 8192), "t3.xlarge": (4, 16384), "t3.2xlarge": (8, 32768)}


def _aws_pool(sent: Values, before: Values | None, config: Values, where: str) -> Values:
    pool = {key: value for key, value in sent.items() if key != "subnets"}
    if not pool.get("instanceType"):
        raise invalid(f"{where}.instanceType: is needed", field=f"{where}.instanceType")
    pool.setdefault("capacityType", "on-demand")
    if pool["capacityType"] not in ("on-demand", "spot"):
        # The description lets this be sent, but has no way of showing it (v1AwsMachinePoolConfig).
        raise invalid(
            f"{where}.capacityType: {pool['capacityType']!r} is not served by this plane: on-demand or spot",
            field=f"{where}.capacityType",
            value=pool["capacityType"],
        )
    subnets = {subnet["az"]: subnet["id"] for subnet in sent.get("subnets", []) if subnet.get("az")}
    if subnets:
        pool["subnetIds"] = subnets
    return {key: value for key, value in pool.items() if value not in ([], {})}


def _aws_pool_fault(pool: Values, config: Values) -> Refusal | None:
    kind = pool["instanceType"]
    if kind not in AWS_INSTANCE_TYPES:
        return (
            "InstanceTypeNotFound",
            f"pool {pool['name']!r}: there is no instance type {kind!r} in {config['region']}",
        )
    return None


def _aws_machine(pool: Values, config: Values, account: Values, machine: Values) -> Values:
    number: int = machine["number"]
    zones = pool.get("azs") or [config["region"] + letter for letter in "abc"]
    zone = zones[number % len(zones)]
    subnet = pool.get("subnetIds", {}).get(zone)
    return {
        "ami": "ami-0123456789abcdef0",
        "az": zone,
        "instanceType": pool["instanceType"],
        "nics": [{"index": 0, "privateIPs": [address(number)]}],
        "vpcId": config.get("vpcId") or "vpc-0123456789abcdef0",
        **({"subnetId": subnet} if subnet else {}),
        **({"sshKeyName": config["sshKeyName"]} if config.get("sshKeyName") else {}),
    }


def _aws_config(sent: Values, where: str) -> Values:
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", sent["region"]):
        raise invalid(f"{where}.region: {sent['region']!r} is no region of aws", field=f"{where}.region")
    return copy.deepcopy(sent)


# vsphere


def _vsphere_placement(sent: Values, old: Values | None) -> Values:
    placement = {key: value for key, value in sent.items() if key not in ("network", "uid")}
    placement["uid"] = sent.get("uid") or (old or {}).get("uid") or new_uid()
    if "network" in sent:
        network = dict(sent["network"])
        parent = network.pop("parentPoolUid", "")
        if parent:
            network["parentPoolRef"] = {"kind": "ippool", "uid": parent}
        placement["network"] = network
    return placement


def _vsphere_config(sent: Values, where: str) -> Values:
    config = copy.deepcopy(sent)
    placement = _vsphere_placement(sent.get("placement", {}), None)
    placement.pop("uid")
    for key in ("datacenter", "folder"):
        if not placement.get(key):
            raise invalid(f"{where}.placement.{key}: a vsphere cluster needs it", field=f"{where}.placement.{key}")
    config["placement"] = placement
    return config


def _vsphere_pool(sent: Values, before: Values | None, config: Values, where: str) -> Values:
    if not sent.get("instanceType"):
        raise invalid(f"{where}.instanceType: is needed", field=f"{where}.instanceType")
    placements = sent.get("placements", [])
    if not placements:
        raise invalid(f"{where}.placements: a pool on vsphere needs at least one", field=f"{where}.placements")
    known = (before or {}).get("placements", [])
    made = []
    for number, placement in enumerate(placements):
        uid = placement.get("uid")
        old = next((item for item in known if item["uid"] == uid), None)
        if old is None and not uid and number < len(known):
            old = known[number]
        made.append(_vsphere_placement(placement, old))
    return {"instanceType": sent["instanceType"], "placements": made}


def _vsphere_pool_fault(pool: Values, config: Values) -> Refusal | None:
    centers = [config["placement"]["datacenter"], *(item.get("datacenter", "") for item in pool["placements"])]
    for center in centers:
        if center.startswith("missing"):
            return "PlacementNotFound", f"pool {pool['name']!r}: the vCenter has no datacenter {center!r}"
    return None


def _vsphere_machine(pool: Values, config: Values, account: Values, machine: Values) -> Values:
    number: int = machine["number"]
    placement = {**pool["placements"][number % len(pool["placements"])]}
    network = placement.get("network", {}).get("networkName", "VM Network")
    return {
        "instanceType": pool["instanceType"],
        "nics": [{"index": 0, "networkName": network, "privateIPs": [address(number)]}],
        "placement": {"datacenter": config["placement"]["datacenter"], "folder": config["placement"]["folder"]}
        | placement,
        "vcenterServer": account.get("vcenterServer", ""),
    }


# edge-native

#: How a control plane is reached on hosts: at an address that its hosts hold, or at what the user runs before them.
EDGE_ENDPOINTS = ("VIP", "External")

_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_HOST_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")


def is_host_name(text: str) -> bool:
    """May it be the name of a host, and so that of a node (RFC 1123)."""
    return len(text) <= 253 and bool(_HOST_NAME.fullmatch(text))


def ip_address(text: str) -> ipaddress.IPv4Address | None:
    """The address that a text is; none for anything else."""
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        return None


def _edge_config(sent: Values, where: str) -> Values:
    config = copy.deepcopy(sent)
    for key in ("ntpServers", "sshKeys"):
        if not config.get(key):
            config.pop(key, None)
    _check_endpoint(config.get("controlPlaneEndpoint", {}), f"{where}.controlPlaneEndpoint")
    for number, server in enumerate(config.get("ntpServers", [])):
        if not (is_host_name(server.lower()) or ip_address(server)):
            field = f"{where}.ntpServers[{number}]"
            raise invalid(f"{field}: {server!r} is no name and no address of a host", field=field, value=server)
    for number, key in enumerate(config.get("sshKeys", [])):
        if not re.fullmatch(r"(ssh|ecdsa|sk)-[-@.a-z0-9]+ [A-Za-z0-9+/=]+( .*)?", key.strip()):
            field = f"{where}.sshKeys[{number}]"
            raise invalid(f"{field}: this is no public SSH key: one begins with ssh-ed25519 or the like", field=field)
    overlay = config.get("overlayNetworkConfiguration", {})
    if overlay.get("enable"):
        _check_overlay(overlay.get("cidr", ""), f"{where}.overlayNetworkConfiguration")
    else:
        config.pop("overlayNetworkConfiguration", None)
    return config


def _check_endpoint(endpoint: Values, where: str) -> None:
    kind, host = endpoint.get("type") or "VIP", endpoint.get("host", "")
    if kind not in EDGE_ENDPOINTS:
        raise invalid(
            f"{where}.type: {kind!r} is not served by this plane: {' or '.join(EDGE_ENDPOINTS)}",
            field=f"{where}.type",
            value=kind,
        )
    endpoint["type"] = kind
    if not host:
        raise invalid(
            f"{where}.host: is needed: the address at which the control plane is to be reached", field=f"{where}.host"
        )
    address = ip_address(host)
    if address is None and (kind == "VIP" or not is_host_name(host.lower()) or re.fullmatch(r"[\d.]+", host)):
        raise invalid(
            f"{where}.host: {host!r} is no IPv4 address" + ("" if kind == "VIP" else " and no name of a host"),
            field=f"{where}.host",
            value=host,
        )
    if address is not None and not _may_be_reached(address, kind):
        raise invalid(
            f"{where}.host: {host} is no address at which a control plane can be reached: name "
            + (
                "one of the hosts' own network that no machine has, such as 192.0.2.10 where they are in 192.0.2.0/24"
                if kind == "VIP"
                else "that of the load balancer, or its name"
            ),
            field=f"{where}.host",
            value=host,
        )


def _may_be_reached(address: ipaddress.IPv4Address, kind: str) -> bool:
    """Whether it is a single machine's; what a VIP is taken for is to be one in the hosts' network as well."""
    if address in _THIS_NETWORK or address.is_multicast or address.is_reserved:
        return False
    return kind != "VIP" or not (address.is_loopback or address.is_link_local)


def _check_overlay(cidr: str, where: str) -> None:
    try:
        ipaddress.IPv4Network(cidr, strict=False)
    except ValueError:
        raise invalid(f"{where}.cidr: {cidr!r} is no IPv4 range", field=f"{where}.cidr", value=cidr) from None
    raise invalid(
        f"{where}.enable: the agents of this plane lay no overlay network between hosts: give the hosts fixed "
        "addresses in one network, and leave the overlay out",
        field=f"{where}.enable",
        value=True,
    )


def _edge_pool(sent: Values, before: Values | None, config: Values, where: str) -> Values:
    """The hosts as they were named; what follows from their records comes later (``resources.edge_native``)."""
    return {"hosts": copy.deepcopy(sent["edgeHosts"])}


def _edge_machine(pool: Values, config: Values, account: Values, machine: Values) -> Values:
    entry = next(item for item in pool["hosts"] if item["hostUid"] == machine["host"])
    nic = entry.get("nic", {}).get("nicName", "")
    network = {"networkName": nic} if nic else {}
    return {
        "edgeHostUid": machine["host"],
        "nics": [{"index": 0, "privateIPs": [entry["hostAddress"]], **network}],
    }


def fixed_change(cloud: Cloud, before: Values, after: Values) -> tuple[str, Any, Any] | None:
    """The first path of a clusterConfig that may not change and does, with what it was and would be."""
    for path in cloud.fixed:
        old, new = _at(before, path), _at(after, path)
        if (old or None) != (new or None):
            return path, old, new
    return None


def _at(values: Values, path: str) -> Any:
    found: Any = values
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def address(number: int) -> str:
    """The private address of a cluster's machine."""
    return f"10.{10 + number // 62500 % 200}.{number // 250 % 250}.{number % 250 + 4}"


CLOUDS: dict[str, Cloud] = {
    "aws": Cloud(
        name="aws",
        cluster_config=_aws_config,
        fixed=("region", "vpcId", "sshKeyName", "controlPlaneLoadBalancer"),
        pool=_aws_pool,
        template_fields=(
            "instanceType",
            "rootDeviceSize",
            "capacityType",
            "spotMarketOptions",
            "azs",
            "subnetIds",
            "additionalSecurityGroups",
        ),
        control_plane_fixed=(),
        machine=_aws_machine,
        account_fault=lambda account: _denied(account.get("accessKey", "")),
        pool_fault=_aws_pool_fault,
        region=lambda config: str(config.get("region", "")),
        location=lambda config: {"regionCode": config["region"], "regionName": config["region"]},
    ),
    "vsphere": Cloud(
        name="vsphere",
        cluster_config=_vsphere_config,
        fixed=(
            "placement.datacenter",
            "placement.folder",
            "placement.imageTemplateFolder",
            "staticIp",
            "controlPlaneEndpoint",
        ),
        pool=_vsphere_pool,
        template_fields=("instanceType", "placements"),
        control_plane_fixed=("placements",),
        machine=_vsphere_machine,
        account_fault=lambda account: _denied(account.get("username", "")),
        pool_fault=_vsphere_pool_fault,
        region=lambda config: str(config["placement"].get("datacenter", "")),
    ),
    "edge-native": Cloud(
        name="edge-native",
        cluster_config=_edge_config,
        fixed=(
            "controlPlaneEndpoint.host",
            "controlPlaneEndpoint.type",
            "overlayNetworkConfiguration.enable",
            "isTwoNodeCluster",
            "staticIp",
        ),
        pool=_edge_pool,
        template_fields=(),
        control_plane_fixed=(),
        machine=_edge_machine,
        account_fault=lambda account: None,
        pool_fault=lambda pool, config: None,
        region=lambda config: "",
        hosts=True,
        control_plane_sizes=lambda config: (2,) if config.get("isTwoNodeCluster") else (1, 3, 5),
    ),
}
