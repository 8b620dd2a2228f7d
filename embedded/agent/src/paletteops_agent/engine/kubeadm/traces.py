# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host was like before, and taking away exactly what came since.

``record`` is kept once, before anything is touched; ``clean`` removes what a cluster made and puts back what it
changed. What has a name of ours goes by name; what Kubernetes makes under names that others may use as well (chains of
iptables, tables of nft, interfaces) goes when it was not there before.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import files, network, nft
from .commands import run
from .layout import (
    ADMIN_PEM,
    ETCD_DIR,
    FOREIGN_INTERFACE_PREFIXES,
    KUBELET_DIR,
    KUBERNETES_DIR,
    NETWORK_NAME,
    NFT_TABLE,
    Layout,
)
from .probe import CGROUPS, which

# kernel settings that the kubelet, kube-proxy and the engine change
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "fs/inotify/max_user_instances",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# folders that come with Kubernetes; those that were there stay, emptied of what came
FOLDERS = (
    str(KUBERNETES_DIR),
    str(KUBELET_DIR),
    str(ETCD_DIR),
    "/var/lib/kube-proxy",
    "/var/lib/cni",
    "/var/lib/calico",
    "/var/lib/cilium",
    "/var/run/kubernetes",
    "/var/log/pods",
    "/var/log/containers",
    "/etc/cni/net.d",
    "/etc/cni",
    "/opt/cni/bin",
    "/opt/cni",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/run/flannel",
    "/run/calico",
    "/run/cilium",
    "/usr/libexec/kubernetes",
    "/usr/lib/modules",
    "/opt/spectrocloud",
    "/var/lib/spectro",
    "/run/spectro",
)
# emptied and removed whole; nobody else may have anything there (preflight sees to it)
OWN_FOLDERS = (str(KUBERNETES_DIR), str(KUBELET_DIR), str(ETCD_DIR), "/var/log/pods", "/var/log/containers")
NFT_TABLES = ("kube-proxy", NFT_TABLE)
CHAIN_PREFIXES = ("KUBE-", "CNI-", "cali-", "CILIUM_", "FLANNEL-", "SPECTRO-")
# what pods lie in where systemd makes the control groups; as a unit it outlives them
PODS_SLICE = "kubepods.slice"
# containerd loads it with the first container and never takes it back; every containerd with CRI has this name for it
APPARMOR = Path("/sys/kernel/security/apparmor")
APPARMOR_PROFILE = "cri-containerd.apparmor.d"
# frames that a bridge passes on go through the host's rules while it is loaded, for all bridges
BRIDGE_FILTER = "br_netfilter"
BRIDGE_SETTING = "net/bridge/bridge-nf-call-iptables"
IPTABLES = ("iptables", "ip6tables")
TABLES = ("raw", "mangle", "nat", "filter")


def record() -> dict[str, Any]:
    return {
        "sysctls": {name: value for name in SYSCTLS if (value := _sysctl(name)) is not None},
        "folders": [folder for folder in FOLDERS if Path(folder).is_dir()],
        "interfaces": sorted(interfaces()),
        "nft_tables": sorted(nft.tables()),
        "chains": {tool: {table: sorted(chains(tool, table)) for table in TABLES} for tool in IPTABLES},
        "cgroups": sorted(kube_cgroups()),
        "apparmor": sorted(profiles()),
    }


def interfaces() -> set[str]:
    with contextlib.suppress(OSError):
        return set(os.listdir("/sys/class/net"))
    return set()


def chains(tool: str, table: str) -> set[str]:
    return {line[1:].split()[0] for line in _saved(tool, table) if line.startswith(":")}


def _saved(tool: str, table: str) -> list[str]:
    if not which(f"{tool}-save"):
        return []
    return run([f"{tool}-save", "-t", table], check=False, deadline=20).out.splitlines()


def kube_cgroups() -> list[str]:
    """Control groups of pods at the top of each hierarchy."""
    places = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else sorted(CGROUPS.glob("*"))
    return [str(place / name) for place in places for name in ("kubepods", "kubepods.slice") if (place / name).is_dir()]


def profiles(folder: Path = APPARMOR) -> set[str]:
    """Names of the AppArmor profiles that are loaded."""
    with contextlib.suppress(OSError):
        return {line.rpartition(" (")[0] for line in (folder / "profiles").read_text().splitlines()}
    return set()


def confined(profile: str, proc: Path = Path("/proc")) -> bool:
    """Whether a process runs under a profile."""
    for path in proc.glob("[0-9]*/attr/current"):
        with contextlib.suppress(OSError):
            if path.read_text().rpartition(" (")[0] == profile:
                return True
    return False


def bridges(folder: Path = Path("/sys/class/net")) -> set[str]:
    return {path.parent.name for path in folder.glob("*/bridge")}


def doomed_rules(saved: Iterable[str], gone: set[str]) -> list[list[str]]:
    """Arguments that delete each rule outside of the doomed chains which jumps into one, from ``iptables-save``."""
    found = []
    for line in saved:
        words = _words(line)
        if len(words) < 3 or words[0] != "-A" or words[1] in gone:
            continue
        targets = {words[place + 1] for place, word in enumerate(words[:-1]) if word in ("-j", "-g", "--comment")}
        if targets & gone:
            found.append(["-D", *words[1:]])
    return found


def _words(line: str) -> list[str]:
    """Words of a line of iptables-save, which quotes as a shell does."""
    return [part[1:-1] if part[:1] == '"' else part for part in re.findall(r'"(?:[^"\\]|\\.)*"|\S+', line)]


def clean_chains(before: dict[str, Any]) -> None:
    for tool in IPTABLES:
        if not which(tool):
            continue
        for table in TABLES:
            was = set(((before.get("chains") or {}).get(tool) or {}).get(table) or [])
            now = chains(tool, table)
            gone = {name for name in now - was if name.startswith(CHAIN_PREFIXES)} | {network.CHAIN}
            for arguments in doomed_rules(_saved(tool, table), gone):
                run([tool, "-w", "-t", table, *arguments], check=False, deadline=10)
            gone &= now
            for step in ("-F", "-X"):
                for name in sorted(gone):
                    run([tool, "-w", "-t", table, step, name], check=False, deadline=10)


def clean_tables(before: dict[str, Any]) -> None:
    """nft tables of Kubernetes and ours, and the idle ones that iptables leaves behind where none was before."""
    fresh = nft.tables() - set(before.get("nft_tables") or [])
    idle = nft.idle_tables() if fresh else set()
    for name in sorted(fresh):
        table = name.partition(" ")[2]
        if table in NFT_TABLES or table.startswith("cni_") or (table in TABLES and name in idle):
            with contextlib.suppress(OSError):
                nft.delete(name)


def clean_interfaces(before: dict[str, Any]) -> None:
    was = set(before.get("interfaces") or [])
    for name in sorted(interfaces() - was):
        if name.startswith(FOREIGN_INTERFACE_PREFIXES):
            run(["ip", "link", "del", name], check=False, deadline=10)


def mounts_below(prefixes: Iterable[str], table: str) -> list[str]:
    """Mount points strictly below the folders, deepest first, from the text of /proc/self/mountinfo."""
    starts = tuple(prefix.rstrip("/") + "/" for prefix in prefixes)
    found = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 4:
            point = fields[4].encode().decode("unicode_escape")
            if point.startswith(starts):
                found.append(point)
    return sorted(found, key=lambda point: point.count("/"), reverse=True)


def unmount_below(prefixes: Iterable[str]) -> None:
    for point in mounts_below(prefixes, Path("/proc/self/mountinfo").read_text()):
        if not run(["umount", point], check=False, deadline=20).ok:
            run(["umount", "-l", point], check=False, deadline=20)


def clean_network_namespaces() -> None:
    """Network namespaces of pods (containerd names them cni-…)."""
    place = Path("/run/netns")
    if place.is_dir():
        for name in sorted(place.glob("cni-*")):
            run(["umount", "-l", name], check=False, deadline=10)
            with contextlib.suppress(OSError):
                name.unlink()


def processes_of(containerd_state: Path) -> list[int]:
    """Processes that belong to containerd's tasks: shims name its socket, and pods' processes are below them."""
    shims, parents = set(), {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            stat = (entry / "stat").read_text()
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
            if b"containerd-shim" in command[0] and str(containerd_state).encode() in b" ".join(command):
                shims.add(int(entry.name))
    found = set(shims)
    grown = True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return sorted(found)


def end_tasks(containerd_state: Path, deadline: float = 20.0) -> None:
    """End what is left of pods: the processes below our shims, the shims too."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        left = processes_of(containerd_state)
        if not left:
            return
        for number in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.2)


def clean_cgroups(before: dict[str, Any]) -> None:
    was = set(before.get("cgroups") or [])
    if not any(place.endswith(f"/{PODS_SLICE}") for place in was):
        # with all slices below it; there is none where the kubelet makes the groups by itself
        run(["systemctl", "stop", PODS_SLICE], check=False, deadline=60)
    for place in kube_cgroups():
        if place not in was:
            for folder, _, _ in os.walk(place, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


def clean_profiles(before: dict[str, Any], folder: Path = APPARMOR, proc: Path = Path("/proc")) -> None:
    """The AppArmor profile of containers, where it came with ours and confines nobody."""
    was = before.get("apparmor")
    if was is None or APPARMOR_PROFILE not in profiles(folder) - set(was) or confined(APPARMOR_PROFILE, proc):
        return
    with contextlib.suppress(OSError):
        (folder / ".remove").write_text(APPARMOR_PROFILE)


def filter_came(before: dict[str, Any], settings: Iterable[str], left: set[str]) -> bool:
    """Whether the filter of bridges came with the cluster, and no bridge is left that came since and may need it."""
    was = before.get("sysctls") or {}
    return BRIDGE_SETTING in settings and BRIDGE_SETTING not in was and left <= set(before.get("interfaces") or [])


def clean_modules(before: dict[str, Any]) -> None:
    present = [name for name in SYSCTLS if _sysctl(name) is not None]
    if filter_came(before, present, bridges()):
        run(["modprobe", "-r", BRIDGE_FILTER], check=False, deadline=20)


def restore_sysctls(before: dict[str, Any]) -> None:
    for name, value in (before.get("sysctls") or {}).items():
        if _sysctl(name) != value:
            with contextlib.suppress(OSError):
                (Path("/proc/sys") / name).write_text(value)


def clean_folders(before: dict[str, Any], keep: Iterable[str] = ()) -> None:
    """Empty what is Kubernetes' alone, then remove folders that were not there before and are empty now."""
    for folder in OWN_FOLDERS:
        path = Path(folder)
        if path.is_dir():
            for item in path.iterdir():
                files.remove(item)
    results = Path("/var/lib/cni/results")
    if results.is_dir():
        for item in results.glob(f"{NETWORK_NAME}-*"):
            item.unlink()
    was, kept = set(before.get("folders") or []), set(keep)
    for folder in sorted(FOLDERS, key=lambda name: name.count("/"), reverse=True):
        if folder not in was and folder not in kept:
            _remove_empty(Path(folder))


def _remove_empty(path: Path) -> None:
    """Remove a folder when no file is in it, whatever empty folders it has."""
    if not path.is_dir() or os.path.ismount(path):
        return
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def clean(layout: Layout, before: dict[str, Any]) -> None:
    """Everything that pods and Kubernetes left; services have been stopped."""
    end_tasks(layout.containerd_state)
    unmount_below([str(KUBELET_DIR), str(layout.containerd_state), str(layout.containerd_root)])
    clean_network_namespaces()
    network.clean_routes()
    clean_interfaces(before)
    clean_chains(before)
    clean_tables(before)
    clean_cgroups(before)
    clean_profiles(before)
    clean_modules(before)
    for folder in (layout.cni_conf, layout.cni_data, layout.containerd_state, ADMIN_PEM.parent):
        files.remove(folder)
    clean_folders(before, keep=["/var/lib/spectro"])
    restore_sysctls(before)


def _sysctl(name: str) -> Any:
    try:
        return (Path("/proc/sys") / name).read_text().strip()
    except OSError:
        return None


def load(path: Path) -> dict[str, Any]:
    """The record of before; made now when there is none."""
    found = files.read_json(path)
    if isinstance(found, dict):
        return found
    made = json.loads(json.dumps(record()))
    files.private_dir(path.parent)
    files.write_json(path, made)
    return dict(made)
