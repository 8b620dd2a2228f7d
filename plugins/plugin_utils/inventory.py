# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbooks read of all clusters of a play at once: the shared objects they name, and how they ended."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils.client import ENVIRONMENT
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.module_utils.modes import INTERNAL, MODES, PREFIX
from ansible_collections.paletteops.modes.plugins.module_utils.operation import plain

#: A cluster's variables by their whole names.
Variables = Mapping[str, Any]

#: The kinds of shared objects, in the order in which they are made, with what tells two objects of a kind apart.
SHARED: dict[str, tuple[str, ...]] = {
    "projects": ("name",),
    "registration_tokens": ("name",),
    "cloud_accounts": ("project", "name"),
    "cluster_profiles": ("project", "name", "version"),
}

#: What a profile's version is where it is not named.
FIRST_VERSION = "1.0.0"


def connection(variables: Variables, option: str) -> str:
    """A connection option as the cluster's tasks will have it: by its variable or by the environment."""
    return str(variables.get(PREFIX + option) or os.environ.get(ENVIRONMENT[option]) or "")


def cluster_name(host: str, variables: Variables) -> str:
    return str(variables.get(PREFIX + "name") or host)


def shared_objects(clusters: Mapping[str, Variables]) -> list[dict[str, Any]]:
    """Which cluster of the play makes which shared object: each object once, by the first cluster that names it.

    clusters   the variables of each inventory host of the play, in the play's order
    Returns ``{cluster, shared}`` for each host that makes something, and for the first host in any case; ``shared``
    has a list for each kind, whose items name an object and its ``number`` in the host's variable, never its content.
    Raises PaletteError where two clusters define one object differently, or are one and the same cluster.
    """
    refuse_same_clusters(clusters)
    made: dict[tuple[str, ...], tuple[str, Any]] = {}
    makers: dict[str, dict[str, Any]] = {}
    for host, variables in clusters.items():
        own: dict[str, Any] = {kind: [] for kind in SHARED}
        for kind, keys in SHARED.items():
            for number, item in enumerate(variables.get(PREFIX + kind) or []):
                identity = {
                    "name": str(item["name"]),
                    "project": str(item.get("project") or connection(variables, "project")),
                    "version": str(item.get("version") or FIRST_VERSION),
                }
                key = (connection(variables, "api_url"), kind, *(identity[part] for part in keys))
                first, definition = made.setdefault(key, (host, plain(item)))
                if definition != plain(item):
                    raise PaletteError(_conflict(kind, identity["name"], first, host))
                if first == host and key not in {tuple(one["key"]) for one in own[kind]}:
                    own[kind].append(dict({part: identity[part] for part in keys}, number=number, key=key))
        for items in own.values():
            for item in items:
                del item["key"]
        if not makers or any(own.values()):
            makers[host] = own
    return [{"cluster": host, "shared": shared} for host, shared in makers.items()]


def _conflict(kind: str, name: str, first: str, second: str) -> str:
    if first == second:
        return f"{PREFIX}{kind} of '{first}' defines '{name}' twice, and differently. Define it once."
    return (
        f"{PREFIX}{kind} defines '{name}' differently for '{first}' and '{second}', and it is one object. "
        "Define it once for both, in the variables of a group."
    )


def refuse_same_clusters(clusters: Mapping[str, Variables]) -> None:
    seen: dict[tuple[str, str, str], str] = {}
    for host, variables in clusters.items():
        name = cluster_name(host, variables)
        key = (connection(variables, "api_url"), connection(variables, "project"), name)
        first = seen.setdefault(key, host)
        if first != host:
            raise PaletteError(
                f"The hosts '{first}' and '{host}' are both the cluster '{name}'. Give one of them another "
                f"{PREFIX}name, or take one out of the inventory."
            )


# --- how the clusters ended ---

#: What the tasks of the roles register, in the order in which they run. The first that failed says what is wrong.
RESULTS = ("members", "cluster", "ready", "kubeconfig", "verified", "gone")

COLUMNS = ("cluster", "mode", "cloud", "state", "health", "nodes", "seconds")

#: Characters of a problem beneath the table; the task that failed has shown it whole.
PROBLEM = 500


def summary(clusters: Mapping[str, Variables], left: Collection[str], check_mode: bool) -> list[str]:
    """The lines of a table of the clusters, with the places of kubeconfigs and what is wrong with each that failed.

    clusters   the variables of each host of the play, what its tasks have registered among them
    left       the hosts which had not failed when the play began
    Empty while clusters are still to come (with ``serial``) and none has failed: the table comes once, at the end.
    """
    results = {host: _results(variables) for host, variables in clusters.items()}
    problems = {host: _problem(results[host], host in left) for host in clusters}
    if not any(problems.values()) and not all(results.values()):
        return []
    rows = [_row(host, clusters[host], results[host], problems[host], check_mode) for host in clusters]
    lines = [*_table([COLUMNS, *rows]), *([] if check_mode else _kubeconfigs(results.values()))]
    for host in clusters:
        text = problems[host]
        if text:
            lines.append(f"{host}: {text if len(text) <= PROBLEM else text[: PROBLEM - 3] + '...'}")
    return lines


def _kubeconfigs(results: Iterable[dict[str, Any]]) -> list[str]:
    """Where the kubeconfigs are, a line for each folder."""
    folders: dict[str, list[str]] = {}
    for result in results:
        written = result.get("kubeconfig") or {}
        if written.get("dest") and not written.get("failed"):
            folder, name = os.path.split(str(written["dest"]))
            folders.setdefault(folder, []).append(name)
    return [f"kubeconfigs in {folder}/ are {', '.join(names)}" for folder, names in folders.items()]


def _results(variables: Variables) -> dict[str, Any]:
    found = {name: variables.get(f"{INTERNAL}{name}") for name in RESULTS}
    return {name: result for name, result in found.items() if result and not result.get("skipped")}


def _problem(results: dict[str, Any], left: bool) -> str:
    for result in results.values():
        if result.get("failed"):
            return str(result.get("msg") or "failed")
    return "" if left or results else "It failed before its turn came; see above."


def _row(host: str, variables: Variables, results: dict[str, Any], problem: str, check_mode: bool) -> tuple[str, ...]:
    known = (results.get("ready") or {}).get("cluster") or {}
    mode = MODES.get(str(variables.get(PREFIX + "mode")))
    nodes = known.get("nodes")
    state = str(known.get("state") or ("failed" if problem else _done(results, check_mode)))
    health = "repave waits" if known.get("repave") == "Pending" else str(known.get("health") or "")
    return (
        cluster_name(host, variables),
        str(variables.get(PREFIX + "mode") or ""),
        str(variables.get(PREFIX + "cloud") or (mode.cloud if mode else "")),
        state,
        health,
        "" if nodes is None else f"{known.get('healthy_nodes')}/{nodes}",
        str(known.get("seconds", "")),
    )


def _done(results: dict[str, Any], check_mode: bool) -> str:
    """What came of a cluster that was not waited for."""
    if not results:
        return "not reached"  # with serial, when an earlier one failed
    if not results["cluster"]["changed"]:
        return "gone" if "gone" in results else "unchanged"
    doing = "deletion" if "gone" in results else "change"
    return f"{doing} foretold" if check_mode else "gone" if "gone" in results else "submitted"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
