# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of Kubernetes on a host: all of it at once, each with its value and the way out."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

from paletteops_agent.engine import Cluster, EngineError, Finding, Member

from . import network, probe, services, vip
from .layout import (
    API_PORT,
    ETCD_DIR,
    KUBELET_ALIAS,
    KUBELET_DIR,
    KUBELET_UNIT,
    KUBERNETES_DIR,
    MANIFESTS_DIR,
    SYSTEMD_DIR,
    Layout,
)

# what the engine, the kubelet, kube-proxy and kubeadm call; with the package that has it in Debian and in others
COMMANDS = {
    "systemctl": "systemd",
    "ip": "iproute2 (iproute)",
    "mount": "util-linux or mount",
    "umount": "util-linux or mount",
    "nsenter": "util-linux",
    "modprobe": "kmod",
    "openssl": "openssl",
}
FIREWALLS = ("nft", "iptables")
PORTS = {10250: "the kubelet", 10256: "kube-proxy"}
CONTROL_PLANE_PORTS = {2379: "etcd", 2380: "etcd", 10257: "kube-controller-manager", 10259: "kube-scheduler"}
DISK_NEEDED_MIB = 4096
MEMORY_NEEDED_MIB = {True: 1700, False: 700}


def foreign_kubernetes() -> list[str]:
    """What another Kubernetes has on this host."""
    found = []
    for path in (MANIFESTS_DIR, KUBELET_DIR / "pki", KUBELET_DIR / "config.yaml", ETCD_DIR / "member"):
        if (path.is_dir() and any(path.iterdir())) or path.is_file():
            found.append(str(path))
    unit = SYSTEMD_DIR / KUBELET_ALIAS
    if unit.exists() and not (unit.is_symlink() and Path(os.readlink(unit)).name == KUBELET_UNIT):
        found.append(str(unit))
    if services.active(KUBELET_ALIAS) and not services.active(KUBELET_UNIT):
        found.append(f"a running {KUBELET_ALIAS}")
    found += [name for name in ("k3s.service", "rke2-server.service", "rke2-agent.service") if services.active(name)]
    return found


def name_servers() -> list[str]:
    """Name servers that pods of the cluster's DNS are given, as the kubelet finds them."""
    resolved = Path("/run/systemd/resolve/resolv.conf")
    path = resolved if services.active("systemd-resolved.service") and resolved.exists() else Path("/etc/resolv.conf")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [words[1] for words in map(str.split, lines) if len(words) > 1 and words[0] == "nameserver"]


def missing_commands(found: Iterable[str]) -> list[Finding]:
    have = set(found)
    answer = [
        Finding("command", f"the command {name} is missing; install {package}")
        for name, package in COMMANDS.items()
        if name not in have
    ]
    if not have & set(FIREWALLS):
        answer.append(Finding("command", "neither nft nor iptables is there; install nftables"))
    return answer


def findings(cluster: Cluster, member: Member, layout: Layout, facts: probe.HostFacts, *, ours: bool) -> list[Finding]:
    """``ours``: this host is in a cluster of ours already, so that what that has taken is no finding."""
    found = missing_commands(name for name in (*COMMANDS, *FIREWALLS) if probe.which(name))
    addresses = [member.address]
    try:
        vip.interface_of(member.address)
    except EngineError as error:
        found.append(Finding("address", error.message))
    ranges = {"the pod range": cluster.pod_cidr, "the service range": cluster.service_cidr}
    problem = network.range_problem(addresses + network.literal_addresses(cluster.endpoint.host), ranges)
    if problem:
        found.append(Finding("ranges", problem))
    name = socket.gethostname()
    for wanted in sorted({name, member.node_name}):
        if not probe.resolves(wanted):
            found.append(
                Finding(
                    "name", f"the name {wanted} does not resolve; add a line `{member.address} {wanted}` to /etc/hosts"
                )
            )
    if not facts.cgroup_writable:
        found.append(Finding("cgroups", "/sys/fs/cgroup is read-only; control groups have to be writable"))
    if not name_servers():
        found.append(
            Finding(
                "resolver", "no name server in /etc/resolv.conf: the cluster's own DNS does not start without; add one"
            )
        )
    if not facts.kernel_settings:
        settings = ", ".join(f"{name.replace('/', '.')}={value}" for name, value in probe.KUBELET_SETTINGS.items())
        found.append(Finding("settings", f"kernel settings that the kubelet needs can not be changed: set {settings}"))
    if ours:
        return found
    found += [
        Finding("kubernetes", f"another Kubernetes is on this host: {item}; remove it") for item in foreign_kubernetes()
    ]
    ports = dict(PORTS)
    if member.control_plane:
        ports.update(CONTROL_PLANE_PORTS)
        ports[cluster.endpoint.port if cluster.endpoint.type == "VIP" else API_PORT] = "the API server"
    for port, user in sorted(ports.items()):
        if probe.port_taken(port):
            found.append(
                Finding("port", f"TCP port {port}, which {user} needs, is taken; free it (ss -ltnp shows by what)")
            )
    for folder in (KUBERNETES_DIR, KUBELET_DIR, ETCD_DIR):
        if folder.is_dir() and any(folder.iterdir()):
            found.append(Finding("folder", f"{folder} is not empty; move what is in it away"))
    found += _sizes(member.control_plane, layout)
    # whether the VIP is free is seen at bootstrap: a host that is to join finds it with a member, rightly
    return found


def _sizes(control_plane: bool, layout: Layout) -> list[Finding]:
    found = []
    place = layout.containerd_root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free // 2**20
    if free < DISK_NEEDED_MIB:
        found.append(Finding("disk", f"{place} has {free} MiB free; {DISK_NEEDED_MIB} MiB are needed"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    needed = MEMORY_NEEDED_MIB[control_plane]
    if memory < needed:
        found.append(Finding("memory", f"the host has {memory} MiB of memory; {needed} MiB are needed"))
    return found
