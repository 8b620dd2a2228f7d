# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host is made of, as the API's v1EdgeHostDevice describes it. Read from /proc and /sys; what cannot be read
is left out.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import socket
import struct
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def architecture() -> str:
    """amd64 or arm64; what the machine calls itself where it is neither."""
    machine = platform.machine().lower()
    return ARCHITECTURES.get(machine, machine)


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def address(endpoint: str) -> str:
    """The address of this host that it would use towards the plane: the one of the default route, as a rule."""
    parts = urlsplit(endpoint)
    port = parts.port or 443
    for target in (parts.hostname or "192.0.2.1", "192.0.2.1"):
        try:
            family, _, _, _, where = socket.getaddrinfo(target, port, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(where)  # sends nothing
                found = str(probe.getsockname()[0])
        except (OSError, UnicodeError):  # UnicodeError: what can be no name
            continue
        if not ipaddress.ip_address(found.partition("%")[0]).is_loopback or target == "192.0.2.1":
            return found
    return "127.0.0.1"


def device() -> dict[str, Any]:
    """v1DeviceSpec of this host."""
    found: dict[str, Any] = {
        "archType": architecture(),
        "hostType": "agent-mode",
        "hostState": "registration",
        "cpu": {"cores": os.cpu_count() or 1},
        "os": _os(),
        "nics": nics(),
        "disks": _disks(),
    }
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found["memory"] = {"sizeInMB": memory // (1 << 20)}
    except (OSError, ValueError):
        pass
    return found


def _os() -> dict[str, str]:
    release = {}
    try:
        for line in Path("/etc/os-release").read_text("utf-8").splitlines():
            name, _, value = line.partition("=")
            release[name] = value.strip("\"'")
    except (OSError, UnicodeDecodeError):
        pass
    return {
        "family": release.get("ID", "linux"),
        "version": release.get("VERSION_ID", ""),
        "kernel": platform.system().lower(),
        "kernelVersion": platform.release(),
    }


def nics() -> list[dict[str, Any]]:
    """Interfaces with a hardware address, loopback and those of containers left out."""
    found = []
    default = _default_interface()
    for folder in sorted(Path("/sys/class/net").glob("*")):
        if folder.name == "lo" or folder.name.startswith(("veth", "cni", "cali", "docker", "virbr")):
            continue
        try:
            hardware = (folder / "address").read_text("ascii").strip()
        except OSError:
            continue
        nic: dict[str, Any] = {"nicName": folder.name, "macAddr": hardware, "isDefault": folder.name == default}
        nic.update(_ipv4(folder.name))
        found.append(nic)
    return found


def mac_address() -> str:
    """That of the interface with the default route, else of the first one."""
    all_of_them = nics()
    for nic in [nic for nic in all_of_them if nic["isDefault"]] + all_of_them:
        return str(nic["macAddr"])
    return ""


def _default_interface() -> str:
    try:
        for line in Path("/proc/net/route").read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[1] == "00000000" and fields[7] == "00000000":
                return fields[0]
    except (OSError, IndexError):
        pass
    return ""


def _ipv4(name: str) -> dict[str, str]:
    import fcntl

    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # SIOCGIFADDR and SIOCGIFNETMASK
        for key, request in (("ip", 0x8915), ("subnet", 0x891B)):
            try:
                answer = fcntl.ioctl(probe.fileno(), request, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            found[key] = socket.inet_ntoa(answer[20:24])
    return found


def _disks() -> list[dict[str, Any]]:
    found = []
    for folder in sorted(Path("/sys/block").glob("*")):
        if folder.name.startswith(("loop", "ram", "zram", "dm-", "md", "sr", "fd")):
            continue
        try:
            size = int((folder / "size").read_text("ascii")) * 512 // (1 << 30)
        except (OSError, ValueError):
            continue
        found.append({"controller": folder.name, "size": size, "vendor": _vendor(folder)})
    return found


def _vendor(folder: Path) -> str:
    try:
        return (folder / "device/vendor").read_text("ascii").strip()
    except OSError:
        return ""
