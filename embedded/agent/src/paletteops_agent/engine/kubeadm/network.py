# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod network of the pack ``cni-bridge``: one bridge and range a node, a route to each other node's range.

Rules and routes carry marks of ours (a table, a chain, a route protocol number), so that they are replaced as a whole
and removed without a trace.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import files
from .commands import run
from .config import conflist
from .layout import BRIDGE, NFT_TABLE, ROUTE_PROTOCOL, Layout
from .probe import which

CONFLIST = "10-spectro.conflist"
CHAIN = "SPECTRO-PODS"


@dataclass(frozen=True)
class Route:
    destination: str
    via: str


def wanted_routes(own_address: str, peers: Iterable[Any]) -> list[Route]:
    """A route for each other member whose range is known, sorted; ``peers`` have ``address`` and ``pod_cidr``."""
    found = {}
    for peer in peers:
        if peer.address == own_address or not peer.pod_cidr:
            continue
        network = ipaddress.ip_network(peer.pod_cidr)
        if network.version == 4:
            found[str(network)] = Route(str(network), peer.address)
    return [found[key] for key in sorted(found)]


def route_changes(wanted: list[Route], present: list[dict[str, Any]]) -> tuple[list[Route], list[str]]:
    """Routes to set and destinations to remove, from ``ip -j route show proto …``."""
    have = {str(item.get("dst")): str(item.get("gateway") or "") for item in present}
    want = {route.destination: route.via for route in wanted}
    return (
        [route for route in wanted if have.get(route.destination) != route.via],
        sorted(destination for destination in have if destination not in want),
    )


def sync_routes(wanted: list[Route]) -> list[str]:
    """Make the routes so; the lines are what failed (a peer that is on no network of this host, say)."""
    shown = run(["ip", "-j", "-4", "route", "show", "proto", str(ROUTE_PROTOCOL)], check=False, deadline=10)
    add, remove = route_changes(wanted, json.loads(shown.out or "[]") if shown.ok else [])
    failed = []
    for destination in remove:
        run(["ip", "-4", "route", "del", destination, "proto", str(ROUTE_PROTOCOL)], check=False, deadline=10)
    for route in add:
        done = run(
            ["ip", "-4", "route", "replace", route.destination, "via", route.via, "proto", str(ROUTE_PROTOCOL)],
            check=False,
            deadline=10,
        )
        if not done.ok:
            failed.append(f"route to {route.destination} via {route.via}: {done.said()}")
    return failed


def nft_rules(pod_cidr: str) -> str:
    """The whole table, replaced in one transaction: what leaves the pod network gets the host's address."""
    return (
        f"table ip {NFT_TABLE}\n"
        f"delete table ip {NFT_TABLE}\n"
        f"table ip {NFT_TABLE} {{\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        f"    ip saddr {pod_cidr} ip daddr != {pod_cidr} masquerade\n"
        "  }\n"
        "}\n"
    )


def sync_rules(pod_cidr: str) -> None:
    """Masquerading, and a way through a FORWARD chain that drops (a container engine of the host sets that)."""
    if which("nft"):
        shown = run(["nft", "list", "table", "ip", NFT_TABLE], check=False, deadline=10)
        if not shown.ok or f"ip daddr != {pod_cidr}" not in shown.out:
            run(["nft", "-f", "-"], stdin=nft_rules(pod_cidr), deadline=10, reason="NetworkRules")
    elif which("iptables"):
        rule = ["-s", pod_cidr, "!", "-d", pod_cidr, "-m", "comment", "--comment", CHAIN, "-j", "MASQUERADE"]
        if not run(["iptables", "-w", "-t", "nat", "-C", "POSTROUTING", *rule], check=False, deadline=10).ok:
            run(["iptables", "-w", "-t", "nat", "-A", "POSTROUTING", *rule], deadline=10, reason="NetworkRules")
    if which("iptables"):
        policy = run(["iptables", "-w", "-S", "FORWARD"], check=False, deadline=10)
        if policy.ok and "-P FORWARD ACCEPT" not in policy.out:
            for side in ("-s", "-d"):
                rule = [side, pod_cidr, "-m", "comment", "--comment", CHAIN, "-j", "ACCEPT"]
                if not run(["iptables", "-w", "-C", "FORWARD", *rule], check=False, deadline=10).ok:
                    run(["iptables", "-w", "-I", "FORWARD", "1", *rule], deadline=10, reason="NetworkRules")


def write_conflist(layout: Layout, pod_cidr: str) -> bool:
    return files.write(layout.cni_conf / CONFLIST, conflist(pod_cidr, str(layout.cni_data)))


def range_problem(addresses: Iterable[str], ranges: dict[str, str]) -> str | None:
    """Why the addresses and ranges cannot be together, or None. ``ranges``: what it is → CIDR."""
    networks = {}
    for what, cidr in ranges.items():
        try:
            networks[what] = ipaddress.ip_network(cidr)
        except ValueError:
            return f"{what} {cidr} is not a network in CIDR notation"
    names = sorted(networks)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            if networks[first].version == networks[second].version and networks[first].overlaps(networks[second]):
                return f"{first} {networks[first]} and {second} {networks[second]} overlap; choose ranges apart"
    for address in addresses:
        for what in names:
            if ipaddress.ip_address(address) in networks[what]:
                all_ranges = ", ".join(f"{name} {networks[name]}" for name in names)
                return (
                    f"the address {address} lies inside {what} {networks[what]} ({all_ranges}); "
                    "Kubernetes would drop the host's own traffic: choose other ranges, or other addresses for hosts"
                )
    return None


def clean_routes() -> None:
    """Take away the routes of this module, and the bridge; its rules go with the other chains and tables."""
    run(["ip", "-4", "route", "flush", "proto", str(ROUTE_PROTOCOL)], check=False, deadline=10)
    run(["ip", "link", "del", BRIDGE], check=False, deadline=10)


def literal_addresses(host: str) -> list[str]:
    """The host when it is an address; nothing when it is a name."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return []
