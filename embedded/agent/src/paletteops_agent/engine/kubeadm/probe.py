# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is able to do, found by looking; the configuration follows from it, never from a setting."""

from __future__ import annotations

import contextlib
import gzip
import os
import platform
import re
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .commands import SYSTEM_PATH, run

CAP_SYS_RESOURCE = 24
CGROUPS = Path("/sys/fs/cgroup")
# as of k8s.io/component-helpers, node/util/sysctl
KUBELET_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
}
# the nftables mode of kube-proxy asks for it (Kubernetes documentation, "Virtual IPs and service proxies")
NFTABLES_KERNEL = (5, 13)


@dataclass(frozen=True)
class HostFacts:
    cgroup_version: int
    cgroup_writable: bool
    in_container: bool
    may_lower_oom_score: bool
    apparmor: bool
    conntrack_writable: bool
    kernel_settings: bool
    swap: bool
    resolv_conf: bool
    nftables: bool
    snapshotter: str

    @property
    def cgroup_driver(self) -> str:
        """systemd's own where it owns the tree; below another system's cgroup v1 tree it may not."""
        return "cgroupfs" if self.cgroup_version == 1 and self.in_container else "systemd"

    @property
    def proxy_mode(self) -> str:
        return "nftables" if self.nftables else "iptables"


def facts(containerd_root: Path) -> HostFacts:
    return HostFacts(
        cgroup_version=cgroup_version(),
        cgroup_writable=cgroup_writable(),
        in_container=in_container(),
        may_lower_oom_score=has_capability(CAP_SYS_RESOURCE),
        apparmor=_first_char("/sys/module/apparmor/parameters/enabled") == "Y",
        conntrack_writable=may_write("/proc/sys/net/netfilter/nf_conntrack_max"),
        kernel_settings=kernel_settings(),
        swap=swap_in_use(),
        resolv_conf=Path("/etc/resolv.conf").exists(),
        nftables=nftables(),
        snapshotter=snapshotter(containerd_root),
    )


def which(command: str) -> str:
    """The path of a command, or an empty string; looks in the system's folders also when PATH lacks sbin."""
    return shutil.which(command, path=SYSTEM_PATH) or ""


def cgroup_version() -> int:
    return 2 if (CGROUPS / "cgroup.controllers").exists() else 1


def cgroup_writable() -> bool:
    """Whether control groups can be made. Version 1 is one tree for each controller."""
    place = CGROUPS if cgroup_version() == 2 else CGROUPS / "memory"
    return os.access(place, os.W_OK)


def in_container() -> bool:
    return run(["systemd-detect-virt", "--container", "--quiet"], check=False, deadline=10).ok


def has_capability(number: int) -> bool:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapBnd:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


def may_write(path: str) -> bool:
    """Root passes access(2) for any file, so it is opened; nothing is written."""
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        return False
    return True


def kernel_settings() -> bool:
    """Whether the kernel has, or may be given, the settings that a kubelet insists on."""
    for name, wanted in KUBELET_SETTINGS.items():
        path = f"/proc/sys/{name}"
        with contextlib.suppress(OSError):
            if Path(path).read_text().strip() != wanted and not may_write(path):
                return False
    return True


def swap_in_use() -> bool:
    with contextlib.suppress(OSError):
        return len(Path("/proc/swaps").read_text().splitlines()) > 1
    return False


def kernel_version(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def nftables() -> bool:
    release = platform.release()
    if kernel_version(release) < NFTABLES_KERNEL:
        return False
    if which("nft") and run(["nft", "list", "tables"], check=False, deadline=10).ok:
        return True
    with contextlib.suppress(OSError):
        if "CONFIG_NF_TABLES=y" in gzip.decompress(Path("/proc/config.gz").read_bytes()).decode():
            return True
    return run(["modprobe", "nf_tables"], check=False, deadline=20).ok


def snapshotter(containerd_root: Path) -> str:
    """``overlayfs`` where an overlay can be mounted on containerd's own disk, ``native`` (copies) otherwise.

    Nothing stays behind: a host that is looked at before anything is recorded of it is as it was.
    """
    made = [folder for folder in (containerd_root, *containerd_root.parents) if not folder.exists()]
    containerd_root.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".overlay-", dir=containerd_root))
    try:
        for name in ("lower", "upper", "work", "merged"):
            (place / name).mkdir()
        options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
        mounted = run(
            ["mount", "-t", "overlay", "overlay", "-o", options, place / "merged"], check=False, deadline=20
        ).ok
        if mounted:
            run(["umount", place / "merged"], check=False, deadline=20)
        return "overlayfs" if mounted else "native"
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()


def resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def port_taken(port: int) -> bool:
    """Whether something listens on a TCP port of any address of the host."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            probe = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue
        with probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == 98:
                    return True
    return False


def _first_char(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text()[:1]
    return ""
