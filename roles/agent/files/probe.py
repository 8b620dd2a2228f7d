# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what there is to know of a host before an agent comes to it, and prints it as one line of JSON.

It only reads. It runs on a host's own Python 3, old ones too, so that one can be called too old. What is read is judged
where Ansible runs. Its argument is JSON: what is asked for.

Where an agent is as it was left little is read, and what only the rest needs is not even imported: that would cost a
host as much again.
"""

import hashlib
import json
import os
import platform
import sys

WANTED = json.loads(sys.argv[1])
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
os.environ["PATH"] = PATH
os.environ["LC_ALL"] = "C"


def text(path, otherwise=""):
    try:
        with open(path) as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError):
        return otherwise


def said(*command):
    """What a command writes; empty where it is missing or takes too long."""
    import subprocess

    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
        return process.communicate(timeout=20)[0]
    except (OSError, subprocess.SubprocessError):
        return ""


def operating_system():
    found = {}
    for line in text("/etc/os-release").splitlines():
        key, equals, value = line.partition("=")
        found[key] = value.strip().strip("\"'") if equals else ""
    return {
        "id": found.get("ID", ""),
        "like": found.get("ID_LIKE", "").split(),
        "version": found.get("VERSION_ID", ""),
        "name": found.get("PRETTY_NAME", ""),
    }


def cgroups():
    """Which controllers there are, in either version of the hierarchy."""
    unified = text("/sys/fs/cgroup/cgroup.controllers").split()
    if unified:
        return {"version": 2, "controllers": unified}
    mounted = set()
    for line in text("/proc/self/mounts").splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[2] == "cgroup":
            mounted.update(fields[3].split(","))
    return {"version": 1, "controllers": sorted(mounted & {"cpu", "cpuset", "memory", "pids", "blkio", "devices"})}


def listening():
    """TCP ports on which something listens."""
    ports = set()
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in text(name).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[3] == "0A":
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return sorted(ports)


def addresses():
    """The host's own addresses, without loopback, link-local ones and those of pods."""
    found = []
    for line in said("ip", "-o", "addr", "show", "scope", "global").splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[2] in ("inet", "inet6") and not fields[1].startswith(("cni", "cali", "cilium")):
            found.append(fields[3])
    return found


def resolved(name):
    import socket

    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None)})
    except (OSError, UnicodeError):
        return []


def free_mib(path):
    """Free space where a path is or would be."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize // (1 << 20)


def active(units):
    """Which of the units run."""
    states = said("systemctl", "is-active", *units).split()
    return [units[number] for number, state in enumerate(states) if state == "active"]


def stopped(units):
    """Which of the units are there and do not run."""
    found = []
    for block in said("systemctl", "show", "--property=Id,LoadState,ActiveState", *units).split("\n\n"):
        known = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if known.get("LoadState") == "loaded" and known.get("ActiveState") in ("inactive", "failed"):
            found.append(known["Id"])
    return found


def plane():
    """Whether the management plane answers this host, and how far the host's clock is from the plane's."""
    url, ca, verify = WANTED["plane"], WANTED["ca"], WANTED["verify"]
    if not url:
        return None

    import ssl
    import time
    from email.utils import mktime_tz, parsedate_tz
    from urllib.error import HTTPError
    from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

    try:
        context = ssl.create_default_context(cadata=ca or None) if verify else ssl._create_unverified_context()
        if ca and verify:
            context.load_default_certs()
        handlers = [HTTPSHandler(context=context)]
        if WANTED["proxy"]:
            handlers.append(ProxyHandler({"http": WANTED["proxy"], "https": WANTED["proxy"]}))
        try:
            answer = build_opener(*handlers).open(Request(url, headers={"User-Agent": "paletteops"}), timeout=15)
        except HTTPError as error:  # an answer all the same
            answer = error
        now, date = time.time(), parsedate_tz(answer.headers.get("Date") or "")
        return {"error": "", "skew": None if date is None else round(now - mktime_tz(date), 1)}
    except Exception as error:
        reason = getattr(error, "reason", error)
        return {
            "error": str(reason) or type(error).__name__,
            "certificate": isinstance(reason, ssl.SSLError),
            "skew": None,
        }


def memory_mib():
    for line in text("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def file_hash(path):
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return ""


def agent():
    """What there is of an agent: its program, what the role noted, and whether the user-data are as they were written.

    What the role installed for it may be there alone: packages stay longer than an agent.
    """
    try:
        note = json.loads(text(WANTED["note"]))
    except ValueError:
        note = None
    known = file_hash(WANTED["user_data"])
    noted = (note or {}).pop("user_data", "") if isinstance(note, dict) else ""
    return {
        "program": os.path.exists(WANTED["program"]),
        "note": note if isinstance(note, dict) else None,
        "packages": os.path.exists(WANTED["packages"]),
        "user_data": "missing" if not known else "same" if known == noted else "other",
    }


def more():
    """What is asked of a host before something is brought to it."""
    import glob
    import shutil

    name = os.uname().nodename
    return {
        "systemd": os.path.isdir("/run/systemd/system"),
        "hostname": name,
        "resolves": resolved(name),
        "addresses": addresses(),
        "commands": [command for command in WANTED["commands"] if shutil.which(command)],
        "cgroups": cgroups(),
        "swap": [line.split()[0] for line in text("/proc/swaps").splitlines()[1:]],
        "cpus": os.cpu_count() or 0,
        "memory_mib": memory_mib(),
        "disks": {path: free_mib(path) for path in WANTED["disks"]},
        "ports": listening(),
        "container": said("systemd-detect-virt", "--container").strip() not in ("", "none"),
        "time_services": active(WANTED["time_services"]),
        "engines": active(WANTED["engines"]),
        "clusters": [path for pattern in WANTED["leftovers"] for path in sorted(glob.glob(pattern))[:1]],
        "inotify": int(text("/proc/sys/fs/inotify/max_user_instances", "0").strip() or 0),
        "fips": text("/proc/sys/crypto/fips_enabled").strip() == "1",
        "plane": plane(),
    }


def main():
    installed = agent()
    facts = {"python": platform.python_version(), "machine": platform.machine(), "agent": installed}
    facts["os"] = operating_system()
    note = installed["note"] or {}
    same = installed["program"] and note.get("wanted") == WANTED["wanted"] and installed["user_data"] == "same"
    # where all is as it was left, nobody asks for more
    facts.update({"current": True, "stopped": stopped(WANTED["units"])} if same else more())
    print("paletteops " + json.dumps(facts))


main()
