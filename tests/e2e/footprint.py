# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is on a host, so that two moments can be compared: files, units, mounts, interfaces, rules, packages."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from e2e.hosts import Host, HostsError, command

#: What changes on an idle host, or by installing a package, and is nobody's leftover.
VOLATILE = re.compile(
    r"/(proc|sys|dev|run|tmp)(/|$)"
    r"|/var/(tmp|cache|log)(/|$)|/var/lib/(apt|dpkg|systemd|ucf|update-rc\.d|private)(/|$)"
    r"|/(root|home/[^/]+)/\.(ansible|cache|bash_history|sudo_as_admin_successful)"
    r"|/etc/(ld\.so\.cache|mtab|\.pwd\.lock|\.updated|resolv\.conf)$|/var/\.updated$|/etc/(group|passwd|shadow|gshadow)-$"
    r"|/usr/(share/(doc|man|info|locale|lintian)|lib/python3.*/__pycache__|local/share/man)(/|$)|/__pycache__(/|$)"
)
#: What packages' scripts make, and dpkg does not list: links among alternatives and run levels, and these.
BY_SCRIPTS = re.compile(
    r"/etc/(alternatives|rc\d\.d)/|/etc/networks$|/etc/systemd/system/(syslog\.service$|\S+\.wants/)"
    r"|^syslog\.service alias$|/var/spool/rsyslog$"
)
#: one line each: type, mode, owner, size (of files), path, target (of links)
FILES = "find / /var -xdev -printf '%y %m %U:%G %s %p %l\\n' 2>/dev/null | sort -u"

QUESTIONS = {
    "files": FILES,
    "file contents": "find /etc /opt /usr/local -xdev -type f -exec sha256sum {} +",
    "units": "systemctl list-unit-files --no-legend --plain | awk '{print $1, $2}'",
    "failed units": "systemctl list-units --failed --no-legend --plain | awk '{print $1}'",
    "running services": "systemctl list-units --type=service --state=running --no-legend --plain | awk '{print $1}'",
    "mounts": "awk '{print $2, $3}' /proc/mounts",
    # without the number of the other end, which is another after each boot
    "interfaces": "ip -o link | awk -F': ' '{print $2}' | sed 's/@if[0-9]*//'; ip -o addr | awk '{print $2, $3, $4}'",
    "routes": "ip route show table all | sed 's/ expires [0-9a-z]*//'; ip rule",
    "network settings": "cat /proc/sys/net/ipv4/ip_forward",
    "users": "cut -d: -f1,3,6,7 /etc/passwd",
    "packages": "dpkg-query -W -f '${binary:Package}\\n'",
    "processes": "ps -eo comm= --ppid 2 -p 2 --deselect | grep -vE '^(ps|bash|grep|sort|.sd-pam.)$'",
}

Footprint = Mapping[str, frozenset[str]]


def take(host: Host) -> Footprint:
    found = {}
    for name, question in QUESTIONS.items():
        lines = host.shell(f"export LC_ALL=C\n{question}\ntrue", check=False).splitlines()
        found[name] = frozenset(line.rstrip() for line in lines if line.strip())
    paths = lambda line: line.split(" ", 4)[4] if line.count(" ") >= 4 else ""  # noqa: E731
    # by this machine's program: the host may have none
    inside = ["nsenter", f"--target={host.leader()}", "--net", "nft", "list", "ruleset"]
    found["firewall"] = frozenset(line.strip() for line in command(inside).splitlines() if line.strip())
    if not found["files"]:
        raise HostsError(f"the files of {host.name} could not be listed")
    found["files"] = frozenset(
        # the size and time of a folder say nothing
        (re.sub(r"^d (\S+ \S+) \d+", r"d \1 -", line))
        for line in found["files"]
        if not VOLATILE.match(paths(line).rstrip())
    )
    found["file contents"] = frozenset(
        line for line in found["file contents"] if not VOLATILE.match(line.split("  ", 1)[-1])
    )
    return found


def difference(before: Footprint, after: Footprint, host: Host) -> dict[str, dict[str, list[str]]]:
    """What came and what went, by question; without what belongs to packages that came, which have their own line."""
    packages = after["packages"] - before["packages"]
    owned = set(host.run(["dpkg", "-L", *sorted(packages)], check=False).splitlines()) if packages else set()
    result: dict[str, dict[str, list[str]]] = {}
    for name in before:
        new = after[name] - before[name]
        came = sorted(line for line in new if not (packages and (BY_SCRIPTS.search(line) or _of_packages(line, owned))))
        went = sorted(before[name] - after[name])
        if came or went:
            result[name] = {"came": came, "went": went}
    return result


def _of_packages(line: str, owned: set[str]) -> bool:
    """Whether a file, its content or a unit is a package's; merged folders have two names."""
    words = line.split()
    paths = {word for word in words if word.startswith("/")}
    paths |= {f"{folder}/{words[0]}" for folder in ("/lib/systemd/system", "/etc/systemd/system")}
    paths |= {path.removeprefix("/usr") for path in paths} | {f"/usr{path}" for path in paths}
    return bool(paths & owned)


def shown(found: Mapping[str, Mapping[str, list[str]]]) -> str:
    return json.dumps(found, indent=1)
