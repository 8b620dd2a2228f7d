# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a cluster on hosts, and of its hosts; what is remembered of it.

A look is a function of what is wanted, of what was decided before (``Observed``) and of the reports; it asks nobody and
keeps nothing elsewhere, so the plane may stop between any two.

Of its own, ``Observed`` holds ``lead`` (uid of a machine), ``passed``, ``tasks``, ``told`` (faults that were told),
``serial``, ``renewal``, ``reset``, ``rolled`` (when a pool's last machine was upgraded), and for each machine::

    host      uid of its host
    step      prepare, bootstrap, join, run, leave: what the host is to do
    version   the Kubernetes version that the host is to have
    next      the one that its pool wants instead: the host fetches its content, and is upgraded when that is there
    upgrade   "", drain, upgrade, uncordon
    removal   "", wait, drain, leave, forget
    joined    it was a node
    entered   it was told to join, so there may be a node of it
    ready     its node is ready, and the host was heard of
    cordon    it was cordoned as a user wants
    lost      when it was heard of last, where it counts as lost
    message   why it is not ready

A task of the lead: ``{"id", "kind", "machine", "state": open|done|failed, "message", "retry"}``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paletteops_plane.provisioner import DELETED, Desired, Happening, Observed, Pool

Json = dict[str, Any]
Machine = dict[str, Any]

#: Seconds without a word after which a host counts as lost; three heartbeats.
LOST_AFTER = 180.0
#: Seconds until a task that failed is asked for again.
RETRY_AFTER = 5.0
#: Seconds that the pods of a node have for leaving it.
DRAIN_TIMEOUT = 300
#: Seconds until hosts that are lost are looked for again.
LOOK_AGAIN = 30.0

#: The reason that an agent gives when it is to run in a cluster of which it knows nothing.
NOT_A_MEMBER = "NotAMember"


@dataclass(frozen=True)
class Host:
    """What is known of a host: its record, and what its agent reported last."""

    uid: str
    name: str
    #: When it was last heard of, in seconds since the epoch; None: never.
    seen: float | None = None
    #: The observed state as the agent sent it.
    report: Json = field(default_factory=dict)
    #: Since when the plane listens: before that it could hear of nobody.
    since: float = 0.0

    def lost_at(self) -> float:
        """When it counts as lost unless it is heard of before."""
        return max(self.seen, self.since) + LOST_AFTER if self.seen is not None else 0.0

    def phase(self, cluster: str) -> str:
        """What it does in a cluster; ``idle``: it is in none, ``elsewhere``: in another one."""
        uid = self.report.get("cluster_uid")
        if uid == cluster:
            phase: str = self.report.get("phase", "")
            return phase
        return "elsewhere" if uid else "idle"

    @property
    def node(self) -> Json:
        found: Json | None = self.report.get("node")
        return found or {}

    def task(self, uid: str) -> Json:
        found: Json | None = (self.report.get("tasks") or {}).get(uid)
        return found or {}

    def holds(self, pack: str, version: str) -> bool:
        return any(
            item.get("pack") == pack and item.get("version") == version for item in self.report.get("content") or ()
        )


@dataclass(frozen=True)
class Facts:
    """What a look at a cluster needs beside what is wanted of it."""

    hosts: Mapping[str, Host]
    #: A control-plane host sent a kubeconfig.
    kubeconfig: bool = False
    #: What hosts said of packs apart from their reports: ``{key: {"version", "state", "message", "at"}}``.
    statuses: Mapping[str, Json] = field(default_factory=dict)
    #: Uids of machines that users want cordoned.
    cordoned: frozenset[str] = frozenset()
    #: Requests of users, by an id of their own: certificates anew, all hosts clean and the cluster anew.
    renewal: str = ""
    reset: str = ""


@dataclass(frozen=True)
class Fault:
    key: str
    reason: str
    message: str


def fresh(at: float) -> Observed:
    """What is remembered of a cluster of which nothing is there."""
    return {
        "at": at,
        "state": "",
        "serial": 0,
        "machines": [],
        "packs": {},
        "passed": [],
        "tasks": [],
        "told": {},
        "rolled": {},
        "lead": "",
        "renewal": {"id": "", "done": []},
        "reset": "",
        "conditions": {},
        "health": None,
        "kubeconfig": False,
    }


def member_uid(cluster: str, host: str, number: int) -> str:
    """The uid of a machine: another one each time that a host joins."""
    return hashlib.sha256(f"{cluster}:{host}:{number}".encode()).hexdigest()[:24]


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def wanted_hosts(desired: Desired) -> dict[str, tuple[Pool, Json]]:
    """The hosts that a cluster is to have: their pool and its entry for them."""
    return {entry["hostUid"]: (pool, entry) for pool in desired.pools for entry in pool.config.get("hosts", ())}


class Look:
    """One look at one cluster: what is known, and what follows from it without a decision."""

    def __init__(self, desired: Desired, observed: Observed, facts: Facts, now: float) -> None:
        self.desired = desired
        self.facts = facts
        self.hosts = facts.hosts
        self.at = now
        self.happenings: list[Happening] = []
        self.observed = observed or fresh(now)
        self.machines: list[Machine] = self.observed["machines"]
        self.tasks: list[Json] = self.observed["tasks"]
        self.passed: list[str] = self.observed["passed"]
        self.packs: dict[str, Json] = self.observed["packs"]
        self.kubernetes = next((pack.name for pack in desired.packs if pack.layer == "k8s"), "")
        self.wakes: list[float] = []

    def next_at(self) -> float | None:
        """When time alone changes something."""
        if self.observed["state"] == DELETED:
            return None
        moments = list(self.wakes)
        for machine in self.machines:
            host = self.hosts.get(machine["host"])
            if host is None or self._lost(machine):
                moments.append(self.at + LOOK_AGAIN)
            else:
                moments.append(host.lost_at() + 0.001)
        moments += [task["retry"] for task in self.tasks if task["state"] == "failed"]
        # A moment that has passed would make the plane look again and again.
        return max(min(moments), self.at + 0.001) if moments else None

    # Telling

    def _tell(self, reason: str, message: str, severity: str = "Normal") -> None:
        self.happenings.append(Happening(self.at, reason, message, severity))

    def _state(self, state: str, message: str) -> None:
        self.observed["state"] = state
        self._tell(f"Cluster{state}", f"{self.desired.name}: {message}")

    # What hosts report

    def _host(self, machine: Machine) -> Host | None:
        return self.hosts.get(machine["host"])

    def _lost(self, machine: Machine) -> bool:
        """Was its host not heard of for too long; one that was lost stays so until it is heard of."""
        host = self._host(machine)
        if host is None or host.seen is None:
            return True
        return machine.get("lost") == host.seen or self.at > host.lost_at()

    def _phase(self, machine: Machine) -> str:
        """What the host does by its last report; ``lost`` when it was not heard of."""
        host = self._host(machine)
        if host is None or self._lost(machine):
            return "lost"
        return host.phase(self.desired.uid)

    def _named(self, machine: Machine) -> str:
        return f"{machine['name']} (host {machine['host']})"

    # Tasks

    def _task(self, kind: str, machine: Machine) -> Json | None:
        return next((task for task in self.tasks if (task["kind"], task["machine"]) == (kind, machine["uid"])), None)

    def _done(self, kind: str, machine: Machine) -> bool:
        """Ask for a task, and say whether it is done."""
        task = self._task(kind, machine)
        if task is None:
            task = {"kind": kind, "machine": machine["uid"], "state": "open", "message": "", "retry": 0.0}
            task["id"] = self._task_id(kind)
            self.tasks.append(task)
        return bool(task["state"] == "done")

    def _task_id(self, kind: str) -> str:
        self.observed["serial"] += 1
        # With the cluster in it: a host may remember tasks of another one.
        return f"{kind}-{self.desired.uid[-8:]}-{self.observed['serial']}"

    def _drop(self, kind: str, machine: Machine) -> None:
        self.tasks[:] = [task for task in self.tasks if (task["kind"], task["machine"]) != (kind, machine["uid"])]

    def _cancel(self, machine: Machine) -> None:
        """Ask for nothing more that has to do with a machine."""
        self.tasks[:] = [task for task in self.tasks if task["machine"] != machine["uid"]]

    def _read_tasks(self) -> None:
        known = {machine["uid"]: machine for machine in self.machines}
        lead = known.get(self.observed["lead"])
        for task in self.tasks:
            carrier = known.get(task["machine"]) if task["kind"] == "renew-certificates" else lead
            if task["state"] == "failed" and self.at >= task["retry"]:
                task |= {"state": "open", "id": self._task_id(task["kind"])}
            host = self._host(carrier) if carrier else None
            if task["state"] != "open" or host is None:
                continue
            said = host.task(task["id"])
            if said.get("state") == "done":
                task |= {"state": "done", "message": ""}
            elif said.get("state") == "failed":
                message = str(said.get("message", "")) or "it failed"
                task |= {"state": "failed", "message": message, "retry": round(self.at + RETRY_AFTER, 3)}

    # Machines

    def _control_planes(self) -> list[Machine]:
        return [machine for machine in self.machines if machine["control_plane"]]

    def _lead(self) -> Machine | None:
        """The lead, where it can carry out tasks."""
        for machine in self.machines:
            if machine["uid"] == self.observed["lead"] and machine["step"] == "run" and not self._lost(machine):
                return machine
        return None

    def _is_current(self, machine: Machine) -> bool:
        pool = next((pool for pool in self.desired.pools if pool.name == machine["pool"]), None)
        return (
            pool is not None
            and not machine["removal"]
            and not machine["upgrade"]
            and machine["version"] == pool.kubernetes_version
        )

    def _prepared(self, machine: Machine) -> bool:
        """Does the host hold what it needs to join."""
        host, phase = self._host(machine), self._phase(machine)
        if host is None or phase in ("lost", "idle", "elsewhere", "failed"):
            return False
        return host.holds(self.kubernetes, machine["version"]) or (
            phase == "prepared" and not host.report.get("content")
        )

    def _etcd_healthy(self) -> bool:
        """Do the members that are heard of call etcd healthy; one that says nothing of it does not count."""
        said = [
            host.report.get("etcd")
            for machine in self._control_planes()
            if machine["step"] == "run" and (host := self._host(machine)) and not self._lost(machine)
        ]
        return all(item.get("healthy", True) for item in said if item)

    def _of(self, control_plane: bool) -> list[Machine]:
        return [machine for machine in self.machines if machine["control_plane"] == control_plane]

    # What is complete

    def _complete(self, control_plane: bool) -> bool:
        for pool in self.desired.pools:
            if pool.control_plane != control_plane:
                continue
            mine = [machine for machine in self.machines if machine["pool"] == pool.name]
            hosts = {entry["hostUid"] for entry in pool.config.get("hosts", ())}
            if {machine["host"] for machine in mine} != hosts:
                return False
            if any(not machine["ready"] or not machine["current"] for machine in mine):
                return False
        return True

    def _nodes_complete(self) -> bool:
        wanted = {pool.name for pool in self.desired.pools}
        stray = any(machine["pool"] not in wanted for machine in self.machines)
        return "bootstrapped" in self.passed and self._complete(True) and self._complete(False) and not stray
