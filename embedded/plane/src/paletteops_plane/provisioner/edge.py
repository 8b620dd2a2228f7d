# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters on hosts that users bring: what each host's agent is to do next, from what the agents reported.

Nothing is done here: agents fetch what they are to do and report what they see, and every report leads to another look.
A look is a function of what is wanted, of what was decided before (``Observed``) and of the reports; it asks nobody and
keeps nothing elsewhere, so the plane may stop between any two.

Of its own, ``Observed`` holds ``lead`` (uid of a machine), ``passed``, ``tasks``, ``told`` (faults that were told),
``serial``, ``renewal``, ``reset``, ``rolled`` (when a pool's last machine was upgraded), and for each machine::

    host      uid of its host
    step      prepare, bootstrap, join, run, leave: what the host is to do
    version   the Kubernetes version that the host is to have
    upgrade   "", drain, upgrade, uncordon
    removal   "", wait, drain, leave, forget
    joined    it was a node
    entered   it was told to join, so there may be a node of it
    ready     its node is ready, and the host was heard of
    cordon    it was cordoned as a user wants
    message   why it is not ready

A task of the lead: ``{"id", "kind", "machine", "state": open|done|failed, "message", "retry"}``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from paletteops_plane.clock import rfc3339
from paletteops_plane.provisioner import (
    DELETED,
    DELETING,
    HEALTHY,
    PENDING,
    PROGRESSING,
    PROVISIONING,
    RUNNING,
    UNHEALTHY,
    Desired,
    Happening,
    Observed,
    Outcome,
    Pack,
    Pool,
)
from paletteops_plane.provisioner.simulated import (
    ADDONS,
    BOOTSTRAPPING,
    CONTROL_PLANE_ADDED,
    CONTROL_PLANE_DELETED,
    IMAGE,
    INFRASTRUCTURE,
    KUBECONFIG,
    WORKERS_ADDED,
    WORKERS_DELETED,
)

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

#: Layers that the hosts are made of.
_HOST_LAYERS = ("kernel", "os", "k8s")


@dataclass(frozen=True)
class Host:
    """What is known of a host: its record, and what its agent reported last."""

    uid: str
    name: str
    #: When it was last heard of, in seconds since the epoch; None: never.
    seen: float | None = None
    #: The observed state as the agent sent it.
    report: Json = field(default_factory=dict)

    def lost(self, at: float) -> bool:
        return self.seen is None or at - self.seen > LOST_AFTER

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


class EdgeNative:
    """The seam's filling whose infrastructure are the agents of hosts."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def reconcile(self, desired: Desired, observed: Observed, now: datetime) -> Outcome:
        # Stored as JSON, so a copy by way of it is a whole one, and the quickest.
        run = _Run(desired, json.loads(json.dumps(observed)), self.facts, now.timestamp())
        run.settle()
        return Outcome(run.observed, tuple(run.happenings), run.next_at())


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


class _Run:
    """One look at one cluster."""

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

    def settle(self) -> None:
        """Go on until nothing follows from what is known."""
        for _ in range(20):
            before = json.dumps([self.observed["state"], self.machines, self.tasks, self.passed, self.observed["lead"]])
            self._settle_once()
            after = json.dumps([self.observed["state"], self.machines, self.tasks, self.passed, self.observed["lead"]])
            if before == after:
                break
        if self.observed["state"] not in (DELETING, DELETED) and self.observed["reset"] == self.facts.reset:
            faults = self._faults()
            self._tell_faults(faults)
            self._set_conditions(faults)
            self._set_health(faults)

    def _settle_once(self) -> None:
        self.wakes = []
        self._read_tasks()
        self._read_hosts()
        if self.desired.deleted:
            self._settle_deletion()
            return
        if not self.observed["state"]:
            self._state(PENDING, "the cluster is accepted")
            self._state(PROVISIONING, "its hosts are prepared")
        if self.observed["reset"] != self.facts.reset:
            self._settle_reset()
            return
        self._assign()
        self._choose_lead()
        self._bootstrap()
        self._admit()
        self._remove()
        self._upgrade()
        self._cordon()
        self._renew()
        self.observed["kubeconfig"] = self.facts.kubeconfig and "bootstrapped" in self.passed
        self._settle_packs()
        if self.observed["state"] == PROVISIONING and self._nodes_complete() and self._packs_ready(addons=False):
            self._state(RUNNING, "all nodes are ready")
            self._settle_packs()

    def next_at(self) -> float | None:
        """When time alone changes something."""
        if self.observed["state"] == DELETED:
            return None
        moments = list(self.wakes)
        for machine in self.machines:
            host = self.hosts.get(machine["host"])
            if host is None or host.seen is None or host.lost(self.at):
                moments.append(self.at + LOOK_AGAIN)
            else:
                moments.append(host.seen + LOST_AFTER + 0.001)
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
        host = self._host(machine)
        return host is None or host.lost(self.at)

    def _phase(self, machine: Machine) -> str:
        """What the host does by its last report; ``lost`` when it was not heard of."""
        host = self._host(machine)
        if host is None or host.lost(self.at):
            return "lost"
        return host.phase(self.desired.uid)

    def _named(self, machine: Machine) -> str:
        return f"{machine['name']} (host {machine['host']})"

    def _read_hosts(self) -> None:
        """Take over what the reports say of machines and of their nodes."""
        for machine in self.machines:
            host, phase = self._host(machine), self._phase(machine)
            node = host.node if host and host.phase(self.desired.uid) not in ("idle", "elsewhere") else {}
            if node.get("kubernetes_version"):
                machine["kubernetes_version"] = node["kubernetes_version"]
            if node.get("pod_cidr"):
                machine["pod_cidr"] = node["pod_cidr"]
            error = (host.report.get("error") if host else None) or {}
            machine["message"] = str(error.get("message", "")) if phase != "lost" else "the host was not heard of"
            if machine["step"] in ("bootstrap", "join") and phase == "running":
                if machine["step"] == "bootstrap":
                    self.passed.append("bootstrapped")
                    self._tell("ControlPlaneBootstrapped", f"{self._named(machine)}: the control plane answers")
                machine["step"], machine["joined"] = "run", True
                self._drop("admit", machine)
            ready = machine["step"] == "run" and phase in ("running", "upgrading", "failed") and bool(node.get("ready"))
            if ready and machine["phase"] == "Provisioning":
                machine["phase"], machine["since"] = "Running", self.at
                self._tell("MachineReady", f"{self._named(machine)} of pool {machine['pool']} is ready")
            machine["ready"] = ready
            machine["current"] = self._is_current(machine)
            left = phase == "idle" or (phase == "failed" and error.get("reason") == NOT_A_MEMBER)
            if machine["step"] == "run" and left and not machine["removal"]:
                # Somebody reset the host: its node is gone, and the host joins anew while a pool has it.
                self._cancel(machine)
                machine["removal"] = "forget"
                self._tell("HostReset", f"{self._named(machine)} has left the cluster by itself", "Error")

    def _is_current(self, machine: Machine) -> bool:
        pool = next((pool for pool in self.desired.pools if pool.name == machine["pool"]), None)
        return (
            pool is not None
            and not machine["removal"]
            and not machine["upgrade"]
            and machine["version"] == pool.kubernetes_version
        )

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

    # Machines for hosts

    def _assign(self) -> None:
        """A machine for each host that a pool has; those whose host no pool has any more are to go."""
        wanted = wanted_hosts(self.desired)
        for machine in self.machines:
            pool, _ = wanted.get(machine["host"], (None, {}))
            if machine["removal"]:
                continue
            if pool is None or pool.name != machine["pool"] or machine["uid"] in self.desired.removed:
                self._begin_removal(machine)
        taken = {machine["host"] for machine in self.machines}
        for uid, (pool, entry) in wanted.items():
            if uid not in taken:
                self._add(uid, pool, entry)
        for machine in self.machines:
            if machine["step"] == "prepare":
                machine["version"] = self._joining_version(machine)

    def _add(self, host: str, pool: Pool, entry: Json) -> None:
        number = self.observed["serial"] = self.observed["serial"] + 1
        self.machines.append(
            {
                "uid": member_uid(self.desired.uid, host, number),
                "name": entry["hostName"],
                "number": number,
                "pool": pool.name,
                "control_plane": pool.control_plane,
                "host": host,
                "address": entry["hostAddress"],
                "phase": "Provisioning",
                "since": self.at,
                "current": False,
                "kubernetes_version": "",
                "step": "prepare",
                "version": pool.kubernetes_version,
                "upgrade": "",
                "removal": "",
                "joined": False,
                "entered": False,
                "ready": False,
                "cordon": False,
                "pod_cidr": None,
                "message": "",
            }
        )

    def _joining_version(self, machine: Machine) -> str:
        """The version of a new member: no node may be newer than the control plane is by now."""
        pool = next((pool for pool in self.desired.pools if pool.name == machine["pool"]), None)
        target = pool.kubernetes_version if pool else machine["version"]
        there = [item["kubernetes_version"] or item["version"] for item in self._control_planes() if item["joined"]]
        lowest: str = min([target, *there], key=version_key)
        return lowest

    def _control_planes(self) -> list[Machine]:
        return [machine for machine in self.machines if machine["control_plane"]]

    # The lead

    def _choose_lead(self) -> None:
        """Any control plane host that runs; it stays until it is lost or to be removed."""
        known = {machine["uid"]: machine for machine in self.machines}
        lead = known.get(self.observed["lead"])
        members = [item for item in self._control_planes() if item["step"] == "run" and not self._lost(item)]
        staying = [item for item in members if not item["removal"]]
        if lead in staying:
            return
        candidates = staying or members
        running = [item for item in candidates if self._phase(item) == "running" and item["ready"]]
        chosen = next(iter(running or candidates), None)
        if chosen is None:
            # None is there: the one that was may come back.
            if lead is None:
                self.observed["lead"] = ""
            return
        if chosen["uid"] != self.observed["lead"]:
            if lead is not None:
                self._tell("LeadChanged", f"{self._named(chosen)} leads now in the place of {self._named(lead)}")
            self.observed["lead"] = chosen["uid"]

    def _lead(self) -> Machine | None:
        """The lead, where it can carry out tasks."""
        for machine in self.machines:
            if machine["uid"] == self.observed["lead"] and machine["step"] == "run" and not self._lost(machine):
                return machine
        return None

    # Growing

    def _prepared(self, machine: Machine) -> bool:
        """Does the host hold what it needs to join."""
        host, phase = self._host(machine), self._phase(machine)
        if host is None or phase in ("lost", "idle", "elsewhere", "failed"):
            return False
        return host.holds(self.kubernetes, machine["version"]) or (
            phase == "prepared" and not host.report.get("content")
        )

    def _bootstrap(self) -> None:
        if "bootstrapped" in self.passed:
            return
        mine = [machine for machine in self._control_planes() if not machine["removal"]]
        if any(machine["step"] == "bootstrap" for machine in mine):
            return
        first = next((machine for machine in mine if self._prepared(machine)), None)
        if first is not None:
            first["step"] = "bootstrap"

    def _admit(self) -> None:
        """Control planes one by one, then the workers all together; what can be asked ahead is asked ahead."""
        if self._lead() is None or "bootstrapped" not in self.passed:
            return
        for machine in self.machines:
            if machine["step"] != "prepare" or machine["removal"] or not self._prepared(machine):
                continue
            if not self._done("admit", machine):
                continue
            if self._control_plane_busy() if machine["control_plane"] else self._control_plane_grows():
                continue
            machine["step"], machine["entered"] = "join", True

    def _control_plane_busy(self, but: Machine | None = None) -> bool:
        """Does a change of the control plane's members go on; there is one at a time."""
        return any(
            machine["step"] in ("bootstrap", "join")
            or machine["upgrade"]
            or machine["removal"] in ("drain", "leave", "forget")
            for machine in self._control_planes()
            if machine is not but
        )

    def _control_plane_grows(self) -> bool:
        """Is a control plane host still on its way; one that is lost or failed keeps nobody waiting."""
        return any(
            machine["step"] in ("prepare", "join")
            and not machine["removal"]
            and self._phase(machine) not in ("lost", "failed", "elsewhere")
            for machine in self._control_planes()
        )

    # Leaving

    def _begin_removal(self, machine: Machine) -> None:
        self._cancel(machine)
        machine["upgrade"] = ""
        machine["removal"] = "wait"
        machine["phase"], machine["since"] = "Deleting", self.at
        self._tell("MachineRemoval", f"{self._named(machine)} is taken out of pool {machine['pool']}")

    def _remove(self) -> None:
        for machine in list(self.machines):
            if machine["removal"]:
                self._remove_one(machine)

    def _remove_one(self, machine: Machine) -> None:
        lead, lost = self._lead(), self._lost(machine)
        member = machine["joined"] or machine["entered"]
        if machine["removal"] == "wait":
            # A member that is in order goes only while the others are; one that is not may be what is wrong.
            sound = machine["ready"] and not lost
            if machine["control_plane"] and member and self._control_plane_busy(machine):
                return
            if machine["control_plane"] and sound and not self._etcd_healthy():
                return
            machine["removal"] = "drain" if member else "leave"
        if machine["removal"] == "drain":
            if "bootstrapped" in self.passed and not lost and machine["joined"]:
                if lead is None:
                    return
                if not self._done("drain", machine):
                    task = self._task("drain", machine)
                    # The pods of a node that is not there do not go; waiting for them helps nobody.
                    if task is None or task["state"] != "failed" or machine["ready"]:
                        return
            self._drop("drain", machine)
            machine["removal"] = "leave"
        if machine["removal"] == "leave":
            machine["step"] = "leave"
            if not lost and self._phase(machine) != "idle":
                return
            machine["removal"] = "forget"
        if machine["removal"] == "forget":
            machine["step"] = "leave"
            machine["phase"] = "Deleting"
            others = [item for item in self._control_planes() if item is not machine and item["joined"]]
            forgetful = member and others
            if forgetful and (lead is None or lead is machine or not self._done("forget", machine)):
                return
            self._gone(machine)

    def _gone(self, machine: Machine) -> None:
        self._cancel(machine)
        self.machines.remove(machine)
        self._tell("MachineDeleted", f"{self._named(machine)} of pool {machine['pool']} is gone")
        if machine["control_plane"] and not any(item["joined"] for item in self._control_planes()):
            # Nothing is left of the control plane: what comes now is another cluster under the same name.
            if "bootstrapped" in self.passed:
                self.passed.remove("bootstrapped")
            for other in self.machines:
                if other["joined"] and not other["removal"]:
                    self._begin_removal(other)
                    other["removal"] = "leave"

    def _etcd_healthy(self) -> bool:
        """Do the members that are heard of call etcd healthy; one that says nothing of it does not count."""
        said = [
            host.report.get("etcd")
            for machine in self._control_planes()
            if machine["step"] == "run" and (host := self._host(machine)) and not self._lost(machine)
        ]
        return all(item.get("healthy", True) for item in said if item)

    # Kubernetes versions

    def _upgrade(self) -> None:
        for machine in self.machines:
            if machine["upgrade"] and not machine["removal"]:
                self._go_on_upgrading(machine)
        if "bootstrapped" not in self.passed or self._lead() is None:
            return
        for pool in sorted(self.desired.pools, key=lambda item: not item.control_plane):
            for machine in [item for item in self.machines if item["pool"] == pool.name]:
                due = machine["step"] == "run" and not machine["removal"] and not machine["upgrade"]
                if due and machine["version"] != pool.kubernetes_version and self._may_upgrade(machine, pool):
                    machine["upgrade"] = "drain"
                    self._tell(
                        "MachineUpgrading",
                        f"{self._named(machine)}: Kubernetes {machine['version']} becomes {pool.kubernetes_version}",
                    )
                    self._go_on_upgrading(machine)

    def _go_on_upgrading(self, machine: Machine) -> None:
        pool = next(pool for pool in self.desired.pools if pool.name == machine["pool"])
        if machine["upgrade"] == "drain":
            # Where there is no other node, pods have nowhere to go; one that a user cordoned is drained already.
            alone = len([item for item in self.machines if item["step"] == "run"]) == 1
            if not (alone or machine["cordon"]) and not self._done("drain", machine):
                return
            self._drop("drain", machine)
            machine["upgrade"], machine["version"] = "upgrade", pool.kubernetes_version
        if machine["upgrade"] == "upgrade":
            # A version that was corrected while the host failed is the one to reach.
            machine["version"] = pool.kubernetes_version
            if not self._at_version(machine):
                return
            machine["upgrade"] = "uncordon"
        if machine["upgrade"] == "uncordon":
            host = self._host(machine)
            cordoned = host is not None and host.node.get("cordoned", True)
            if not machine["cordon"] and cordoned and not self._done("uncordon", machine):
                return
            self._drop("uncordon", machine)
            machine["upgrade"] = ""
            machine["current"] = self._is_current(machine)
            self.observed["rolled"][machine["pool"]] = self.at
            self._tell("MachineUpgraded", f"{self._named(machine)} has Kubernetes {machine['version']}")

    def _at_version(self, machine: Machine) -> bool:
        return (
            self._phase(machine) == "running"
            and machine["ready"]
            and machine["kubernetes_version"] == machine["version"]
        )

    def _may_upgrade(self, machine: Machine, pool: Pool) -> bool:
        """One control plane host at a time and the control plane first; then workers as their pool's strategy says."""
        upgrading = [item for item in self.machines if item["upgrade"]]
        if any(self._faulty(item) for item in self.machines if item["step"] in ("run", "join")):
            return False
        if machine["control_plane"]:
            return not self._control_plane_busy() and not upgrading and self._etcd_healthy()
        behind = [item for item in self._control_planes() if not item["current"] and not item["removal"]]
        if behind or self._control_plane_busy() or not self._etcd_healthy():
            return False
        others = [item for item in upgrading if item["pool"] != pool.name]
        if others and not self.desired.parallel:
            return False
        mine = [item for item in self.machines if item["pool"] == pool.name]
        away = [item for item in mine if item["upgrade"] or not item["ready"]]
        if len(away) >= max(1, pool.unavailable):
            return False
        rolled = self.observed["rolled"].get(pool.name)
        if rolled is not None and pool.repave_interval and self.at < rolled + pool.repave_interval:
            self.wakes.append(rolled + pool.repave_interval)
            return False
        return True

    def _faulty(self, machine: Machine) -> bool:
        """Is something wrong with a member, so that nothing more may be taken out of service."""
        if machine["removal"]:
            return False
        host = self._host(machine)
        if self._lost(machine) or (host is not None and host.report.get("error")):
            return True
        failed = any(task["state"] == "failed" for task in self.tasks if task["machine"] == machine["uid"])
        return failed or (machine["joined"] and not machine["upgrade"] and not machine["ready"])

    # Wishes of users

    def _cordon(self) -> None:
        if self._lead() is None:
            return
        for machine in self.machines:
            wanted = machine["uid"] in self.facts.cordoned
            if machine["step"] != "run" or machine["removal"] or machine["upgrade"]:
                continue
            kind, other = ("drain", "uncordon") if wanted else ("uncordon", "drain")
            self._drop(other, machine)
            if machine["cordon"] == wanted:
                continue
            if self._done(kind, machine):
                self._drop(kind, machine)
                machine["cordon"] = wanted

    def _renew(self) -> None:
        """Certificates anew, one control plane host after the other."""
        renewal = self.observed["renewal"]
        if renewal["id"] != self.facts.renewal:
            renewal = self.observed["renewal"] = {"id": self.facts.renewal, "done": []}
            self.tasks[:] = [task for task in self.tasks if task["kind"] != "renew-certificates"]
        if not renewal["id"]:
            return
        for machine in self._control_planes():
            if machine["uid"] in renewal["done"] or machine["step"] != "run" or machine["removal"]:
                continue
            if machine["upgrade"] or self._lost(machine) or not self._etcd_healthy():
                return
            if not self._done("renew-certificates", machine):
                return
            self._drop("renew-certificates", machine)
            renewal["done"].append(machine["uid"])
            self._tell("CertificatesRenewed", f"{self._named(machine)} has new certificates")

    def _settle_reset(self) -> None:
        """Every host leaves and is clean; then the cluster is made anew of the same hosts."""
        for machine in list(self.machines):
            self._cancel(machine)
            machine |= {"removal": "leave", "upgrade": "", "step": "leave", "phase": "Deleting", "ready": False}
            if self._phase(machine) == "idle" or self._lost(machine):
                self.machines.remove(machine)
                self._tell("MachineDeleted", f"{self._named(machine)} of pool {machine['pool']} is gone")
        self.observed["state"] = PROVISIONING
        self.observed["health"] = None
        if not self.machines:
            anew = fresh(self.at) | {"serial": self.observed["serial"], "reset": self.facts.reset}
            anew |= {"conditions": self.observed["conditions"], "renewal": self.observed["renewal"]}
            for key, value in anew.items():
                if isinstance(self.observed.get(key), list):
                    self.observed[key][:] = value
                elif key == "packs":
                    self.packs.clear()
                else:
                    self.observed[key] = value
            self._state(PROVISIONING, "its hosts are clean, and it is made anew")

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

    # Packs

    def _settle_packs(self) -> None:
        self._hand_over_packs()
        lead = self._lead()
        host = self._host(lead) if lead else None
        said = (
            {f"{item.get('profile_uid')}/{item.get('name')}": item for item in (host.report.get("packs") or ())}
            if host
            else {}
        )
        reports = host is not None and host.report.get("packs") is not None
        wanted = {pack.key: pack for pack in self.desired.packs}
        for key in [key for key in self.packs if key not in wanted]:
            entry = self.packs[key]
            if entry["layer"] in ("addon", "csi") and reports and key in said:
                entry["state"] = "Removing"
                continue
            self._tell("PackRemoved", f"{entry['name']} is removed")
            del self.packs[key]
        for key, pack in wanted.items():
            known = self.packs.get(key)
            if known is None or known["digest"] != pack.digest or known["state"] == "Removing":
                known = self._entry(pack)
            entry = self.packs[key] = known
            self._settle_pack(pack, entry, said.get(key) if reports else self._status(entry))

    def _status(self, entry: Json) -> Json | None:
        """What was said of a pack apart from reports, since it is as it is now."""
        status = self.facts.statuses.get(f"{entry['profile_uid']}/{entry['name']}")
        if status is None or status["version"] != entry["version"] or status["at"] < entry["asked"]:
            return None
        return {**status, "digest": entry["digest"]}

    def _hand_over_packs(self) -> None:
        """A pack that another profile brings now (a new version of the profile, mostly) is still the same pack."""
        wanted = {pack.key for pack in self.desired.packs}
        for pack in self.desired.packs:
            if pack.key in self.packs:
                continue
            orphan = next(
                (key for key, item in self.packs.items() if key not in wanted and item["name"] == pack.name), ""
            )
            if orphan:
                self.packs[pack.key] = self.packs.pop(orphan) | {"profile_uid": pack.profile_uid}

    def _entry(self, pack: Pack) -> Json:
        return {
            "profile_uid": pack.profile_uid,
            "name": pack.name,
            "layer": pack.layer,
            "version": pack.version,
            "type": pack.type,
            "digest": pack.digest,
            "state": "Pending",
            "message": "",
            "started": None,
            "ended": None,
            "asked": self.at,
        }

    def _settle_pack(self, pack: Pack, entry: Json, said: Json | None) -> None:
        before = entry["state"]
        if "bootstrapped" not in self.passed:
            return
        if pack.layer in _HOST_LAYERS or pack.layer == "cni":
            # Hosts and network are as they should be once every node was ready and as it should be.
            ready = before == "Ready" or self._nodes_complete()
            state, message = ("Ready" if ready else "Deploying"), ""
        elif said and said.get("digest") == pack.digest:
            state, message = str(said.get("state", "Deploying")), str(said.get("message", ""))
        else:
            state, message = "Deploying", ""
        if state not in ("Pending", "Deploying", "Ready", "Error"):
            state = "Deploying"
        entry["state"], entry["message"] = state, message
        if state != "Pending" and entry["started"] is None:
            entry["started"] = self.at
        if state == "Ready" and before != "Ready":
            entry["ended"] = self.at
            self._tell("PackDeployed", f"{entry['name']} {entry['version']} is deployed".replace("  ", " "))
        elif state == "Error" and before != "Error":
            self._tell("PackFailed", f"{entry['name']}: {message}", "Error")

    def _packs_ready(self, addons: bool) -> bool:
        return all(entry["state"] == "Ready" for entry in self.packs.values() if (entry["layer"] == "addon") == addons)

    # Faults

    def _faults(self) -> list[Fault]:
        """What keeps the cluster from being as it should be, the most telling first."""
        found = []
        for machine in self.machines:
            host = self._host(machine)
            if host is None:
                found.append(
                    Fault(machine["uid"], "HostUnknown", f"{self._named(machine)}: there is no such host any more")
                )
            elif host.lost(self.at):
                since = rfc3339(datetime.fromtimestamp(host.seen, UTC)) if host.seen else "its registration"
                found.append(
                    Fault(machine["uid"], "HostLost", f"{self._named(machine)} has not been heard of since {since}")
                )
            elif host.phase(self.desired.uid) == "elsewhere":
                found.append(
                    Fault(machine["uid"], "HostElsewhere", f"{self._named(machine)} has not left another cluster yet")
                )
            elif error := host.report.get("error"):
                reason, message = error.get("reason") or "HostFailed", error.get("message") or "it failed"
                found.append(Fault(machine["uid"], str(reason), f"{self._named(machine)}: {message}"))
            elif machine["phase"] == "Running" and not machine["ready"] and not machine["upgrade"]:
                found.append(Fault(machine["uid"], "NodeNotReady", f"{self._named(machine)}: its node is not ready"))
        named = {machine["uid"]: machine for machine in self.machines}
        for task in self.tasks:
            if task["state"] == "failed" and task["machine"] in named:
                reason = "".join(word.capitalize() for word in task["kind"].split("-")) + "Failed"
                message = f"{self._named(named[task['machine']])}: {task['message']}"
                found.append(Fault(f"{task['kind']}:{task['machine']}", reason, message))
        if "bootstrapped" in self.passed and self._lead() is None:
            found.append(
                Fault("control-plane", "ControlPlaneLost", f"{self.desired.name}: no control plane host is heard of")
            )
        for key, entry in self.packs.items():
            if entry["state"] == "Error":
                found.append(Fault(f"pack:{key}", "PackFailed", f"{entry['name']}: {entry['message']}"))
        return found

    def _tell_faults(self, faults: Iterable[Fault]) -> None:
        """Each fault once, until it is gone."""
        told: dict[str, list[str]] = self.observed["told"]
        now = {fault.key: [fault.reason, fault.message] for fault in faults}
        for fault in faults:
            if told.get(fault.key) != now[fault.key] and not fault.key.startswith("pack:"):
                self._tell(fault.reason, fault.message, "Error")
        self.observed["told"] = now

    # Conditions and health

    def _set_conditions(self, faults: list[Fault]) -> None:
        if self.observed["state"] in ("", PENDING):
            return
        roles = {
            role: {machine["uid"] for machine in self._of(role)} | {f"drain:{m['uid']}" for m in self._of(role)}
            for role in (True, False)
        }

        def fault_of(role: bool) -> Fault | None:
            return next(
                (item for item in faults if item.key in roles[role] or item.key.rpartition(":")[2] in roles[role]), None
            )

        prepared = bool(self.machines) and all(
            machine["joined"] or machine["step"] != "prepare" or self._prepared(machine) for machine in self.machines
        )
        bootstrapped = "bootstrapped" in self.passed
        heard = bool(self.machines) and all(self._phase(item) not in ("lost", "elsewhere") for item in self.machines)
        anything = faults[0] if faults else None
        self._condition(IMAGE, prepared or bootstrapped, anything)
        self._condition(INFRASTRUCTURE, heard or bootstrapped, anything)
        self._condition(BOOTSTRAPPING, bootstrapped, fault_of(True))
        self._condition(KUBECONFIG, self.observed["kubeconfig"], None)
        for added, deleted, role in (
            (CONTROL_PLANE_ADDED, CONTROL_PLANE_DELETED, True),
            (WORKERS_ADDED, WORKERS_DELETED, False),
        ):
            self._condition(added, bootstrapped and self._role_complete(role), fault_of(role))
            self._condition(deleted, not any(machine["removal"] for machine in self._of(role)), fault_of(role))
        packs = next((fault for fault in faults if fault.key.startswith("pack:")), None)
        self._condition(ADDONS, self.observed["state"] == RUNNING and self._packs_ready(addons=True), packs)

    def _of(self, control_plane: bool) -> list[Machine]:
        return [machine for machine in self.machines if machine["control_plane"] == control_plane]

    def _role_complete(self, control_plane: bool) -> bool:
        there = {machine["host"] for machine in self._of(control_plane) if machine["ready"] and machine["current"]}
        return all(
            entry["hostUid"] in there
            for pool in self.desired.pools
            if pool.control_plane == control_plane
            for entry in pool.config.get("hosts", ())
        )

    def _condition(self, kind: str, met: bool, fault: Fault | None) -> None:
        """Set a condition; one that is not met says the fault that is in its way."""
        if met:
            state = {"status": "True", "reason": "", "message": ""}
        elif fault:
            state = {"status": "False", "reason": fault.reason, "message": fault.message}
        else:
            state = {"status": "False", "reason": "InProgress", "message": "under way"}
        known = self.observed["conditions"].get(kind)
        at = known["at"] if known and known["status"] == state["status"] else self.at
        self.observed["conditions"][kind] = {**state, "at": at}

    def _set_health(self, faults: list[Fault]) -> None:
        if self.observed["state"] != RUNNING:
            return
        if faults:
            self._health(UNHEALTHY, f"{faults[0].reason}: {faults[0].message}")
        elif (
            not self._nodes_complete()
            or any(task["state"] != "done" for task in self.tasks)
            or any(entry["state"] != "Ready" for entry in self.packs.values())
        ):
            self._health(PROGRESSING, "changes are under way")
        else:
            self._health(HEALTHY, "")

    def _health(self, state: str, message: str) -> None:
        known = self.observed["health"]
        if known and (known["state"], known["message"]) == (state, message):
            return
        if not known or known["state"] != state:
            severity = "Error" if state == UNHEALTHY else "Normal"
            said = message or "all nodes and layers are healthy"
            self._tell(f"Cluster{state}", f"{self.desired.name}: {said}", severity)
        self.observed["health"] = {"state": state, "message": message, "at": self.at}

    # The end

    def _settle_deletion(self) -> None:
        if self.observed["state"] == DELETED:
            return
        if self.observed["state"] != DELETING and not self.desired.forced:
            self.observed["health"] = None
            self._state(DELETING, "the cluster is being deleted, and its hosts leave it")
        self.tasks.clear()
        for machine in list(self.machines):
            if machine["step"] != "leave" or machine["phase"] != "Deleting":
                machine |= {"step": "leave", "removal": "leave", "upgrade": "", "phase": "Deleting", "since": self.at}
                machine["ready"] = False
            host = self._host(machine)
            left = host is None or (not host.lost(self.at) and host.phase(self.desired.uid) in ("idle", "elsewhere"))
            if left or self.desired.forced:
                self.machines.remove(machine)
                how = "is gone" if left else "is forgotten: what is on the host stays until it is heard of"
                self._tell("MachineDeleted", f"{self._named(machine)} of pool {machine['pool']} {how}")
        if self.machines:
            return
        self.packs.clear()
        self.observed["kubeconfig"] = False
        self.observed["health"] = None
        self._state(DELETED, "the cluster is gone")
