# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts of the inventory: to which cluster each belongs, what is wrong with one, in which order they are patched."""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import yaml
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, flatten
from ansible_collections.paletteops.modes.plugins.module_utils.modes import AGENT, EDGE, PREFIX
from ansible_collections.paletteops.modes.plugins.module_utils.operation import plain

#: The inventory's groups: a host of the one is a cluster, a host of the other a machine.
CLUSTERS, HOSTS = "palette_clusters", "palette_hosts"

Variables = Mapping[str, Any]


# --- which host belongs to which cluster ---


def uid(host: str, variables: Variables) -> str:
    """A host's UID on the plane: what the variable says, else its name in the inventory."""
    return str(variables.get(PREFIX + "host_uid") or host)


def pool_hosts(pool: Mapping[str, Any]) -> list[str]:
    """How a pool calls its hosts; those that it takes away are not among them."""
    items = pool.get("hosts") or []
    kept = [item for item in items if not (isinstance(item, Mapping) and item.get("state") == "absent")]
    return [str(item.get("host") if isinstance(item, Mapping) else item) for item in kept]


def pools_of(variables: Variables) -> list[Mapping[str, Any]]:
    """A cluster's pools that are to be there."""
    return [pool for pool in variables.get(PREFIX + "pools") or [] if pool.get("state") != "absent"]


def places(clusters: Mapping[str, Variables], hosts: Mapping[str, Variables]) -> dict[str, dict[str, Any]]:
    """What each host is to its cluster.

    clusters, hosts   variables of the inventory's clusters and machines
    Returns for each host ``{cluster, uid, pool, control_plane, mode, project, ranges}``; ``cluster`` and ``pool`` are
    None for one that no cluster names. Raises PaletteError where two pools name the same host.
    """
    uids = {host: uid(host, variables) for host, variables in hosts.items()}
    named = {**{number: host for host, number in uids.items()}, **{host: host for host in hosts}}
    found: dict[str, dict[str, Any]] = {}
    for cluster, variables in clusters.items():
        mode = str(variables.get(PREFIX + "mode") or "")
        if mode not in EDGE:
            continue
        for pool in pools_of(variables):
            for called in pool_hosts(pool):
                host = named.get(called)
                if host is None:
                    continue  # registered by other means: the plane knows it, or refuses it
                if host in found:
                    other = found[host]
                    raise PaletteError(
                        f"The host '{host}' is in the pool '{other['pool']}' of the cluster '{other['cluster']}' and "
                        f"in '{pool.get('name')}' of '{cluster}', and it can be in one only. Take it out of one."
                    )
                found[host] = {
                    "cluster": cluster,
                    "uid": uids[host],
                    "pool": str(pool.get("name")),
                    "control_plane": bool(pool.get("control_plane")),
                    "mode": mode,
                    "project": str(variables.get(PREFIX + "project") or ""),
                    "ranges": ranges(variables),
                }
    alone: dict[str, Any] = {"cluster": None, "pool": None, "control_plane": False, "ranges": []}
    for host, variables in hosts.items():
        mode, project = (str(variables.get(PREFIX + name) or "") for name in ("mode", "project"))
        found.setdefault(host, {**alone, "uid": uids[host], "mode": mode, "project": project})
    return {host: found[host] for host in hosts}


def misplaced(
    clusters: Mapping[str, Variables],
    hosts: Mapping[str, Variables],
    known: Collection[str],
    seen: Collection[str],
    unseen: bool = True,
) -> list[str]:
    """What is wrong with hosts and clusters as the play sees them, a sentence with the way out for each.

    known   all names of the inventory
    seen    the hosts of the play, clusters and machines
    unseen  whether hosts of a cluster that the play does not see count
    """
    try:
        found = places(clusters, hosts)
    except PaletteError as error:
        return [error.message]
    wrong = _one_and_the_same(found, clusters, hosts, seen)
    strange = {name for variables in clusters.values() for pool in pools_of(variables) for name in pool_hosts(pool)}
    strange -= {*hosts, *(place["uid"] for place in found.values())}
    for host in hosts:
        if host in seen and not found[host]["mode"]:
            close = difflib.get_close_matches(host, strange, 1)
            meant = f" One names '{close[0]}', which is no host of {HOSTS}." if close else ""
            wrong.append(
                f"The host '{host}' belongs to no cluster: no {PREFIX}pools names it.{meant} Name it in a pool, or set "
                f"{PREFIX}mode and {PREFIX}project of it to register a spare host."
            )
        if host in seen:
            wrong += [f"{host}: {sentence}" for sentence in _uid_findings(found[host]["uid"])]
    for cluster, variables in clusters.items():
        if cluster not in seen or variables.get(PREFIX + "mode") not in EDGE:
            continue
        for pool in pools_of(variables):
            strangers = [name for name in pool_hosts(pool) if name in known and name not in hosts]
            wrong += [
                f"The pool '{pool.get('name')}' of the cluster '{cluster}' names '{name}', which is in the inventory, "
                f"but not in the group {HOSTS}. Put it there."
                for name in strangers
            ]
        vip = str(variables.get(PREFIX + "vip") or "")
        wrong += [
            f"{PREFIX}vip of the cluster '{cluster}' is {vip}, and that is the address of its host '{host}'. "
            "Take a free address of their network."
            for host, place in found.items()
            if place["cluster"] == cluster and vip and vip == str(hosts[host].get("ansible_host") or "")
        ]
        lost = [host for host, place in found.items() if place["cluster"] == cluster and host not in seen]
        if lost and unseen:
            wrong.append(
                f"The cluster '{cluster}' has hosts that this run does not see: {', '.join(lost)}. Add them to "
                "--limit, or take the cluster out of it."
            )
    return wrong


#: Connections to a machine that the inventory's address names, and not one of their own kind, such as local.
_SSH = ("ssh", "smart", "paramiko")

#: What leads to a machine: sites may reuse addresses behind jump hosts of their own.
_WAY = ("ansible_port", "ansible_ssh_common_args", "ansible_ssh_extra_args")


def _one_and_the_same(
    found: Mapping[str, Mapping[str, Any]],
    clusters: Mapping[str, Variables],
    hosts: Mapping[str, Variables],
    seen: Collection[str],
) -> list[str]:
    """Hosts that would be one to the plane, or are one machine, where the play sees one of them."""
    by_uid: dict[tuple[str, ...], list[str]] = {}
    by_machine: dict[tuple[str, ...], list[str]] = {}
    for host, variables in hosts.items():
        place = found[host]
        above = clusters.get(place["cluster"] or "", {})
        plane = str(variables.get(PREFIX + "api_url") or above.get(PREFIX + "api_url") or "")
        by_uid.setdefault((place["uid"], plane), []).append(host)
        if str(variables.get("ansible_connection") or _SSH[0]).rpartition(".")[2] in _SSH:
            address = str(variables.get("ansible_host") or host)
            way = (str(variables.get(name) or "") for name in _WAY)
            by_machine.setdefault((address, *way), []).append(host)
    wrong = [
        f"The hosts {_listed(names)} have the same UID, '{key[0]}', and each host has one of its own. Correct "
        f"{PREFIX}host_uid."
        for key, names in by_uid.items()
        if len(names) > 1 and any(name in seen for name in names)
    ]
    return wrong + [
        f"The hosts {_listed(names)} are one machine: the address of each is {key[0]}. Correct ansible_host, or take "
        "one out of the inventory."
        for key, names in by_machine.items()
        if len(names) > 1 and any(name in seen for name in names)
    ]


def _listed(names: Iterable[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)


def with_uids(pools: Iterable[Mapping[str, Any]], hosts: Mapping[str, Variables]) -> list[dict[str, Any]]:
    """A cluster's pools for the module: what the inventory calls a host is its UID on the plane there."""
    return [
        dict(pool, hosts=[_with_uid(item, hosts) for item in pool["hosts"]]) if pool.get("hosts") else dict(pool)
        for pool in pools
    ]


def _with_uid(item: Any, hosts: Mapping[str, Variables]) -> dict[str, Any]:
    item = dict(item) if isinstance(item, Mapping) else {"host": item}
    name = item.get("host")
    return dict(item, host=uid(name, hosts[name])) if name in hosts else item


def ranges(variables: Variables) -> list[str]:
    """Address ranges of pods and services, as far as the inventory's definitions of the cluster's profiles say them."""
    used = {str(profile.get("name")) for profile in variables.get(PREFIX + "profiles") or []}
    found: list[str] = []
    for profile in variables.get(PREFIX + "cluster_profiles") or []:
        if str(profile.get("name")) not in used:
            continue
        for pack in profile.get("packs") or []:
            values = plain(pack.get("values"))
            try:
                content = yaml.safe_load(values) if isinstance(values, str) else values
            except yaml.YAMLError:
                continue  # the plane refuses it
            for name in ("podSubnet", "serviceSubnet"):
                said = _dig(content, "cluster", "config", "clusterConfiguration", "networking", name)
                found += [part.strip() for part in str(said or "").split(",") if part.strip() and part not in found]
    return found


def _dig(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


# --- what a look at a host finds ---

ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

#: The Python that Ansible's modules and an agent in Python need.
PYTHON = (3, 9)

#: Seconds by which a host's clock may differ from the plane's: certificates and tokens are refused beyond.
SKEW = 30

CONTROLLERS = ("cpu", "memory", "pids")

#: Instances of inotify that a user may have: below it kubelet does not start beside other services of root.
INOTIFY = 128

#: What the agent takes for a host's UID.
UID = re.compile(r"[^/?#&+%,$~!@*(){}|=;:<>'.^\"\s]{1,128}")

CHECKSUM = re.compile(r"[0-9a-f]{64}")

Finding = tuple[str, str]


def judge(facts: Mapping[str, Any] | None, wants: Mapping[str, Any]) -> list[dict[str, str]]:
    """What is wrong with a host, each with the name of its check: a sentence with the value, and one with the way out.

    facts   what the role's probe read; None where the host could not be reached
    wants   architectures of the agent, requirements {cpus, memory_mib, disk_gib}, ports, ranges, commands,
            install_packages, family, fips, ignored checks, the project, whether the agent's file is missing, and what
            the plane knows of the host (record)
    """
    found = []
    for check, sentence in _judge(facts, wants):
        if check not in (wants.get("ignore") or []):
            found.append({"check": check, "finding": sentence})
    return found


def _judge(facts: Mapping[str, Any] | None, wants: Mapping[str, Any]) -> Iterator[Finding]:
    if facts is None:
        reason = str(wants.get("unreachable") or "it gave no answer").strip(" \r\n.:")
        yield (
            "connection",
            f"The host cannot be reached: {reason}. Look whether it is up, and whether "
            "ansible_host, its user and its key are right.",
        )
        return
    yield from _machine(facts, wants)
    if ARCHITECTURES.get(str(facts["machine"])) in wants["architectures"]:
        yield from _package(wants)  # else there is none, so nothing is wrong with it
    yield from _said(wants)
    if "addresses" not in facts:
        return  # it has all that was put there, or no Python to say more
    yield from _resources(facts, wants)
    yield from _network(facts, wants)
    if facts["agent"]["note"] is None:
        yield from _others(facts, wants)
    else:
        yield from _earlier(facts, wants)
    yield from _recorded(facts, wants)


def _package(wants: Mapping[str, Any]) -> Iterator[Finding]:
    """What the role was told of the agent that it installs."""
    if not wants["from"]:
        yield (
            "agent",
            f"Nothing says which agent to install. Set one of {PREFIX}agent_version, {PREFIX}agent_url, "
            f"{PREFIX}agent_file and {PREFIX}agent_archive; or {PREFIX}agent_install to false where the image has it.",
        )
    elif wants.get("missing_file"):
        yield (
            "agent",
            f"There is no file {wants['from']} where Ansible runs. Correct {PREFIX}agent_file or "
            f"{PREFIX}agent_archive, whichever names it, or bring it there.",
        )
    elif not CHECKSUM.fullmatch(wants["checksum"]):
        said = f"is '{wants['checksum']}', which is no SHA-256" if wants["checksum"] else "is missing"
        yield (
            "checksum",
            f"The checksum of {wants['from']} {said}, and nothing runs on a host that was not verified. "
            f"Set {PREFIX}agent_checksum to its SHA-256 in hexadecimal.",
        )


def _uid_findings(number: str) -> list[str]:
    if UID.fullmatch(number):
        return []
    return [
        f"The host's UID would be '{number}', and a UID has 1 to 128 letters, digits, - and _. Set {PREFIX}host_uid."
    ]


def _said(wants: Mapping[str, Any]) -> Iterator[Finding]:
    """What the role was told of the host."""
    for sentence in _uid_findings(wants["uid"]):
        yield "uid", sentence
    mode = _dig(wants["user_data"], "stylus", "managementMode")
    if mode not in (None, "central"):
        yield (
            "user_data",
            f"{PREFIX}agent_user_data.stylus.managementMode is '{mode}', and the role waits until a management plane "
            "knows the host. Take it out, or write central.",
        )
    install = wants["user_data"].get("install") or {}
    for key in ("reboot", "poweroff"):
        if isinstance(install, Mapping) and install.get(key):
            yield (
                "user_data",
                f"{PREFIX}agent_user_data.install.{key} is {str(install[key]).lower()}, and it would take the "
                "connection away in the middle of the play. Take it out: the role waits until the host is registered.",
            )


def _machine(facts: Mapping[str, Any], wants: Mapping[str, Any]) -> Iterator[Finding]:
    if ARCHITECTURES.get(str(facts["machine"])) not in wants["architectures"]:
        able = " and ".join(wants["architectures"])
        yield (
            "architecture",
            f"The architecture is {facts['machine']}, and the agent is there for {able}. Use another host.",
        )
    if not facts.get("systemd", True):
        yield "systemd", "The init system is not systemd, and the agent runs as its units. Use a host with systemd."
    version = tuple(int(part) for part in str(facts["python"]).split(".")[:2] if part.isdigit())
    if version < PYTHON:
        least = ".".join(map(str, PYTHON))
        yield "python", f"python3 is {facts['python'] or 'not there'}, and {least} or newer is needed. Install it."


def _resources(facts: Mapping[str, Any], wants: Mapping[str, Any]) -> Iterator[Finding]:
    missing = [command for command in wants["commands"] if command not in facts["commands"]]
    if missing and not wants["install_packages"]:
        yield (
            "commands",
            f"Commands are missing: {', '.join(missing)}. Install them, or set {PREFIX}agent_install_packages to true.",
        )
    elif missing and not wants["family"]:
        yield (
            "commands",
            f"Commands are missing: {', '.join(missing)}, and no package manager is known for {facts['os']['name']}. "
            "Install them.",
        )
    lacking = [name for name in CONTROLLERS if name not in facts["cgroups"]["controllers"]]
    if lacking:
        version = facts["cgroups"]["version"]
        yield (
            "cgroups",
            f"cgroups (version {version}) lack: {', '.join(lacking)}. Turn them on in the kernel's options.",
        )
    if facts["swap"]:
        yield (
            "swap",
            f"Swap is on: {', '.join(facts['swap'])}. Turn it off (swapoff -a), and in /etc/fstab for the next start.",
        )
    least = wants["requirements"]
    if facts["cpus"] < int(least.get("cpus", 0)):
        yield "cpus", f"Processors: {facts['cpus']}, and {least['cpus']} are needed. Use a larger host."
    if facts["memory_mib"] < int(least.get("memory_mib", 0)):
        yield (
            "memory",
            f"Memory: {facts['memory_mib']} MiB, and {least['memory_mib']} MiB are needed. Use a larger host.",
        )
    for path, free in facts["disks"].items():
        if free < float(least.get("disk_gib", 0)) * 1024:
            yield (
                "disk",
                f"Free space for {path}: {math.floor(free / 102.4) / 10} GiB, and {least['disk_gib']} GiB are needed. "
                "Make room.",
            )
    if facts["inotify"] < INOTIFY:
        yield (
            "inotify",
            f"fs.inotify.max_user_instances is {facts['inotify']}, and kubelet and containerd need {INOTIFY} or more. "
            "Raise it (sysctl), and in /etc/sysctl.d for the next start.",
        )
    if wants["fips"] and not facts["fips"]:
        yield "fips", f"The kernel is not in FIPS mode, and {PREFIX}agent_fips is true. Turn it on, or set it to false."


def _network(facts: Mapping[str, Any], wants: Mapping[str, Any]) -> Iterator[Finding]:
    if not facts["resolves"]:
        yield "name", f"The host's own name '{facts['hostname']}' does not resolve. Add it to /etc/hosts or to DNS."
    for address in facts["addresses"]:
        for one in wants["ranges"]:
            if _within(address, one):
                yield (
                    "addresses",
                    f"The address {address} lies in {one}, which is for pods or services. "
                    "Take another range in the values of the Kubernetes pack.",
                )
    # the clock of a container is its machine's
    if not facts["time_services"] and not facts["container"]:
        yield "time", "No service keeps the clock right. Start one: systemd-timesyncd, chronyd or ntpd."
    plane = facts["plane"]
    if plane and plane["error"]:
        wrong = "its certificate is not trusted" if plane.get("certificate") else "it cannot be reached"
        way_out = "Name the authority's file in palette_ca_path" if plane.get("certificate") else "Open the way to it"
        yield "plane", f"The management plane {wants['plane']}: {wrong} from the host ({plane['error']}). {way_out}."
    elif plane and plane["skew"] is not None and abs(plane["skew"]) > SKEW:
        side = "ahead of" if plane["skew"] > 0 else "behind"
        yield (
            "clock",
            f"The clock is {abs(plane['skew']):.0f} s {side} the management plane's. Set it, and keep it right.",
        )


def _within(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_interface(address).ip in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _others(facts: Mapping[str, Any], wants: Mapping[str, Any]) -> Iterator[Finding]:
    """What is on a host to which the role has brought nothing yet."""
    agent = facts["agent"]
    taken = [port for port in wants["ports"] if port in facts["ports"]]
    if taken:
        yield "ports", f"Ports are taken: {', '.join(map(str, taken))}. Stop what listens there (ss -ltnp)."
    if facts["engines"]:
        yield (
            "engines",
            f"Other container engines or agents of Kubernetes run: {', '.join(facts['engines'])}. Remove them: "
            "the agent brings its own.",
        )
    if agent["program"]:
        yield (
            "agent",
            f"There is an agent already that this role did not install. Set {PREFIX}agent_install to false where the "
            "image includes it, or uninstall it (palette-agent uninstall --force).",
        )
    elif facts["clusters"]:
        yield (
            "kubernetes",
            f"The host was part of a cluster: {', '.join(facts['clusters'])}. Remove what is left of it.",
        )


def _recorded(facts: Mapping[str, Any], wants: Mapping[str, Any]) -> Iterator[Finding]:
    """A record of a host whose agent is gone, whoever had brought it."""
    record = wants.get("record")
    if record and not facts["agent"]["program"] and record.get("state") != "unpaired":
        yield (
            "record",
            f"The management plane knows a host '{record['uid']}' already, with no agent here: a host that was "
            "installed anew is refused until its old record is deleted. Delete it (paletteops.modes.edge_host with "
            f"state absent), or give this host another {PREFIX}host_uid.",
        )


def _earlier(facts: Mapping[str, Any], wants: Mapping[str, Any]) -> Iterator[Finding]:
    """What the role itself has brought to a host before."""
    plane = facts["agent"]["note"].get("plane")
    project = facts["agent"]["note"].get("project")
    if facts["agent"]["program"] and project not in (None, wants.get("project")):
        yield (
            "project",
            f"The host was registered in the project '{project}', and {PREFIX}project is '{wants.get('project')}'. A "
            f"host stays in its project: correct {PREFIX}project, or take the agent off first (the playbook teardown "
            f"with {PREFIX}agent_uninstall and {PREFIX}agent_deregister).",
        )
    if facts["clusters"] and plane not in (None, wants["plane"]):
        yield (
            "cluster",
            f"The host is part of a cluster ({', '.join(facts['clusters'])}) of the plane {plane}, and would "
            f"be told to register with {wants['plane']}. Take it out of its cluster first, or correct "
            f"{PREFIX}agent_endpoint; where it is the same plane by another name, write cluster into "
            f"{PREFIX}agent_ignore.",
        )


def stopped(
    found: Mapping[str, Mapping[str, Any]], seen: Collection[str], hosts: Mapping[str, Variables]
) -> dict[str, str]:
    """Which hosts of the play are to be left alone, and why: those with findings, and all others of their clusters.

    seen    the hosts of the play, those that failed among them
    hosts   their variables, with the findings
    """
    own: dict[str, str] = {}
    for host in seen:
        findings = hosts[host].get("palette__findings")
        if findings is None:
            own[host] = "It failed before it was looked at; see above."
        elif findings:
            own[host] = flatten(finding["finding"] for finding in findings)
    clusters: dict[Any, list[str]] = {}
    for host in own:
        clusters.setdefault((found.get(host) or {}).get("cluster"), []).append(host)
    clusters.pop(None, None)
    for host in seen:
        cluster = (found.get(host) or {}).get("cluster")
        if host not in own and cluster in clusters:
            own[host] = (
                f"Nothing is done here, because other hosts of the cluster '{cluster}' cannot take an agent: "
                f"{', '.join(clusters[cluster])}."
            )
    return own


# --- patching ---


def batches(found: Mapping[str, Mapping[str, Any]], hosts: Collection[str], size: Any) -> list[list[str]]:
    """In which order hosts are patched: cluster by cluster; control-plane hosts one by one, the others in batches.

    found   what each host is to its cluster (see places)
    hosts   those to patch
    size    how many workers of a cluster at once: a number, or a share of its workers such as ``25%``
    """
    clusters: dict[Any, list[str]] = {}
    for host, place in found.items():
        if host in hosts and place["mode"] == AGENT:
            clusters.setdefault(place["cluster"], []).append(host)
    ordered = []
    for cluster, members in clusters.items():
        first = [host for host in members if found[host]["control_plane"]]
        rest = [host for host in members if not found[host]["control_plane"]]
        ordered += [[host] for host in first]
        workers = sum(place["cluster"] == cluster and not place["control_plane"] for place in found.values())
        step = batch_size(size, workers)
        ordered += [rest[start : start + step] for start in range(0, len(rest), step)]
    return ordered


def batch_size(size: Any, workers: int) -> int:
    """How many hosts a batch has. Raises PaletteError where the size is neither a number nor a share."""
    said = str(size).strip()
    share = said.endswith("%")
    number = said[:-1].strip() if share else said
    if not number.isdigit() or not int(number) or (share and int(number) > 100):
        raise PaletteError(
            f"{PREFIX}patch_batch is '{size}'. Write a number of hosts, such as 1, or a share, such as 25%."
        )
    return max(1, workers * int(number) // 100) if share else int(number)


def problems(found: Mapping[str, Mapping[str, Any]], cluster: str, hosts: Mapping[str, Variables]) -> list[str]:
    """Why a cluster's hosts are not ready for it, a sentence for each such host.

    hosts   variables of the hosts of the run, with what the plays over hosts have noted
    """
    wrong = []
    for host, place in found.items():
        if place["cluster"] != cluster:
            continue
        noted = hosts.get(host, {})
        registered = noted.get("palette__registered") or {}
        failure = noted.get("palette__failure")
        if failure or registered.get("failed") or not registered:
            reason = failure or registered.get("msg") or "it was lost on the way; see above"
            wrong.append(f"{host}: {reason}")
    return wrong
