# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Edge hosts: machines of the user's own, in agent mode and in appliance mode. There is no cloud account."""

from __future__ import annotations

import ipaddress
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import Cloud
from ansible_collections.paletteops.modes.plugins.module_utils.fields import Field, Values, encode

NEW_CLUSTER = "Make a new cluster for that."
ANEW = "Take the host out of its pool first, and add it again."

VIP, EXTERNAL = "VIP", "External"


def vip_out(address: str) -> Values:
    return {"host": address, "type": VIP}


def vip_in(endpoint: Values) -> str | None:
    """The address of an endpoint that is a virtual one: what a type that is not said means."""
    return str(endpoint.get("host") or "") if endpoint.get("type") in (None, "", VIP) else None


ENDPOINT = (
    Field("host", ("Address or name of the control plane.",), immutable=NEW_CLUSTER),
    Field(
        "type",
        ("Who provides it: an external load balancer, a name by dynamic DNS, or an address that is there anyway.",),
        choices=(EXTERNAL, "DDNS", "IP"),
        assumed=EXTERNAL,
        immutable=NEW_CLUSTER,
    ),
    Field("ddns_search_domain", ("Search domain, with V(DDNS).",), immutable=NEW_CLUSTER),
)


def endpoint_out(endpoint: Values) -> Values | None:
    return dict(encode(ENDPOINT, endpoint), type=endpoint.get("type") or EXTERNAL) if endpoint.get("host") else None


def endpoint_in(endpoint: Values) -> Values | None:
    if vip_in(endpoint) is not None:
        return None
    return {
        "host": endpoint.get("host"),
        "type": endpoint["type"],
        "ddns_search_domain": endpoint.get("ddnsSearchDomain") or None,
    }


OVERLAY = (
    Field("enabled", ("Whether the cluster's nodes speak over it.",), api="enable", type="bool", immutable=NEW_CLUSTER),
    Field("cidr", ("Its addresses. The first one is that of the control plane.",), immutable=NEW_CLUSTER),
)

CLUSTER = (
    Field(
        "vip",
        (
            "Virtual address of the control plane, held by its hosts. It must be free, in the network of the hosts.",
            "This or O(ignore:endpoint) is needed when it is made, unless O(ignore:overlay_network) is enabled.",
        ),
        api="controlPlaneEndpoint",
        encode=vip_out,
        decode=vip_in,
        immutable=NEW_CLUSTER,
    ),
    Field(
        "endpoint",
        ("Where the control plane answers, if that is no virtual address that its hosts hold.",),
        api="controlPlaneEndpoint",
        type="dict",
        fields=ENDPOINT,
        encode=endpoint_out,
        decode=endpoint_in,
    ),
    Field("ntp_servers", ("Time servers, as a whole list.",), type="list", elements="str"),
    Field("ssh_keys", ("Public SSH keys for the hosts, as a whole list.",), type="list", elements="str"),
    Field(
        "overlay_network",
        ("A network over that of the hosts, for hosts whose addresses change.",),
        api="overlayNetworkConfiguration",
        type="dict",
        fields=OVERLAY,
    ),
    Field(
        "static_ip",
        ("Whether hosts get the addresses that their O(ignore:nic) names.",),
        type="bool",
        immutable=NEW_CLUSTER,
    ),
    Field(
        "two_node",
        ("Whether the control plane has two nodes for ever. In appliance mode only.",),
        api="isTwoNodeCluster",
        type="bool",
        immutable=NEW_CLUSTER,
    ),
)

NIC = (
    Field("nic_name", ("Name of the interface.",), immutable=ANEW),
    Field("ip", ("Address.",), immutable=ANEW),
    Field("subnet", ("Its subnet mask.",), immutable=ANEW),
    Field("gateway", ("Address of the gateway.",), immutable=ANEW),
    Field("dns", ("Name servers.",), type="list", elements="str", immutable=ANEW),
    Field("is_default", ("Whether it is the interface of the default route.",), type="bool", immutable=ANEW),
)


def nic_out(nic: Values) -> Values | None:
    return encode(NIC, nic) if any(nic.values()) else None


HOST = (
    Field("host", ("UID of the edge host, or its name where only one has it.",), api="hostUid"),
    Field("nic", ("Its network interface, with a static address.",), type="dict", fields=NIC, encode=nic_out),
    Field(
        "two_node_priority",
        ("Which of two nodes leads at first.",),
        api="twoNodeCandidatePriority",
        choices=("primary", "secondary"),
        immutable=ANEW,
    ),
)

HOSTS = Field(
    "hosts",
    (
        "The edge hosts of the pool, by UID or by name: each as a text, or as a map. Their number is the pool's size.",
        "They merge: hosts that are not named stay, C(state=absent) of one takes it out, after its machine has left"
        " the cluster, for which the task waits; with V(hosts) in O(purge) all that are not named leave.",
    ),
    write="edgeHosts",
    type="list",
    elements="raw",
    fields=HOST,
    key="host",
    needed=True,
)

SELECTORS = (
    Field(
        "host_tags",
        ("Takes all free and healthy hosts that have these tags into the pool, beside those that are named.",),
        type="dict",
    ),
)


def carry(raw_pool: dict[str, Any], body: dict[str, Any]) -> None:
    """What the plane knows of a host beside the options is handed back."""
    known = {host["hostUid"]: host for host in raw_pool.get("hosts") or []}
    for host in body.get("edgeHosts") or []:
        old = known.get(host["hostUid"]) or {}
        for key in ("hostName", "nicName", "staticIP"):
            if old.get(key):
                host.setdefault(key, old[key])
        if old.get("nic", {}).get("macAddr"):
            host.setdefault("nic", {})["macAddr"] = old["nic"]["macAddr"]


def check_cluster(config: Values, pools: list[Values]) -> list[str]:
    """The rules for addresses, and that a host is in one pool only."""
    findings: list[str] = []
    vip, endpoint, overlay = config.get("vip"), config.get("endpoint") or {}, config.get("overlay_network") or {}
    if vip and endpoint.get("host"):
        findings.append(
            f"cloud_config.vip is '{vip}' and cloud_config.endpoint.host is '{endpoint['host']}', and the control "
            "plane answers at one of them. Take one out."
        )
    if not vip and not endpoint.get("host") and not overlay.get("enabled"):
        findings.append(
            "cloud_config.vip is missing, and the control plane needs an address. Name vip, or endpoint with its host."
        )
    if vip:
        findings += address_findings("cloud_config.vip", vip)
    if endpoint.get("ddns_search_domain") and endpoint.get("type") != "DDNS":
        findings.append("cloud_config.endpoint.ddns_search_domain is for type DDNS. Take it out.")
    if overlay.get("enabled"):
        try:
            ipaddress.ip_network(str(overlay.get("cidr") or ""))
        except ValueError:
            findings.append(
                f"cloud_config.overlay_network.cidr is '{overlay.get('cidr') or ''}', which is no network. "
                "Write it as 192.168.200.0/24."
            )
    places: dict[str, list[str]] = {}
    for pool in pools:
        for host in pool.get("hosts") or []:
            where, nic = f"pools.{pool['name']}.hosts.{host['host']}", host.get("nic") or {}
            places.setdefault(host["host"], []).append(pool["name"])
            for option in ("ip", "gateway"):
                if nic.get(option):
                    findings += address_findings(f"{where}.nic.{option}", nic[option])
            if config.get("static_ip") and not nic.get("ip"):
                findings.append(f"{where}.nic.ip is missing, and with static_ip each host needs one. Name it.")
            if host.get("two_node_priority") and not config.get("two_node"):
                findings.append(f"{where}.two_node_priority is for two-node clusters. Take it out, or set two_node.")
    findings += [
        f"The host '{host}' is in the pools {' and '.join(names)}, and a host is in one. Take it out of the others."
        for host, names in sorted(places.items())
        if len(names) > 1
    ]
    return findings


def address_findings(where: str, value: str) -> list[str]:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return [f"{where} is '{value}', which is no IP address. Correct it."]
    special = address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
    if special or (address.version == 4 and address.is_reserved):
        return [f"{where} is '{value}', which no host of a network can have. Name an address of the hosts' network."]
    return []


EDGE_NATIVE = Cloud(
    name="edge-native",
    account=(),
    cluster=CLUSTER,
    pool=(HOSTS,),
    carry=carry,
    check_cluster=check_cluster,
    members="hosts",
    selectors=SELECTORS,
    layers=("os", "k8s", "cni"),  # storage is the user's choice
    lacks=("min_size", "max_size", "skip_k8s_upgrade"),
)
