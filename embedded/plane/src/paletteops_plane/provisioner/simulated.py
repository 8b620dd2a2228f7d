# SPDX-License-Identifier: GPL-3.0-or-later
"""A provisioner without infrastructure: every step takes its time by the plane's clock, and nothing else happens.

Discrete events: what runs is a list of tasks with the moment at which each is done. Looking once after an hour gives
the same as looking every second, and a restart goes on from what is stored.
"""

from __future__ import annotations

import copy
import hashlib
from datetime import datetime
from typing import Any

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
    faults,
)
from paletteops_plane.provisioner.faults import Fault
from paletteops_plane.provisioner.observed import (
    ADDONS,
    BOOTSTRAPPING,
    CONTROL_PLANE_ADDED,
    CONTROL_PLANE_DELETED,
    IMAGE,
    INFRASTRUCTURE,
    KUBECONFIG,
    WORKERS_ADDED,
    WORKERS_DELETED,
    hand_over,
    layers_ready,
    new_layer,
    set_condition,
)

#: Seconds that the steps take at speed 1.
SECONDS: dict[str, float] = {
    "begin": 15,
    "image": 10,
    "infrastructure": 60,
    "first_control_plane": 75,
    "control_plane": 45,
    "worker": 70,
    "pack": 20,
    "unpack": 10,
    "machine_gone": 30,
    "teardown": 30,
    "health": 30,
    "retry": 30,
}

#: Tasks that do not mean that something is on its way.
_IDLE_TASKS = ("retry", "wake", "health")

Machine = dict[str, Any]
Task = dict[str, Any]


def _done(task: Task) -> float:
    moment: float = task["done"]
    return moment


class Simulated:
    """The seam's filling for trying, learning and tests."""

    def __init__(self, speed: float = 1.0, asked: list[dict[str, Any]] | None = None) -> None:
        """``speed`` divides every duration; ``asked`` are the faults that tests ask for, counted down in that list."""
        self.speed = speed
        self.asked = asked if asked is not None else []

    def reconcile(self, desired: Desired, observed: Observed, now: datetime) -> Outcome:
        run = _Run(desired, copy.deepcopy(observed), self, now.timestamp())
        run.until(now.timestamp())
        due = [task["done"] for task in run.tasks]
        return Outcome(run.observed, tuple(run.happenings), min(due) if due else None)


class _Run:
    """One cluster, moved forward in time."""

    def __init__(self, desired: Desired, observed: Observed, simulated: Simulated, now: float) -> None:
        self.desired = desired
        self.simulated = simulated
        self.happenings: list[Happening] = []
        self.observed = observed or {
            "at": now,
            "state": "",
            "serial": 0,
            "tasks": [],
            "machines": [],
            "packs": {},
            "passed": [],
            "faults": {},
            "conditions": {},
            "health": None,
            "kubeconfig": False,
        }
        self.at: float = self.observed["at"]
        self.now = self.at
        self.tasks: list[Task] = self.observed["tasks"]
        self.machines: list[Machine] = self.observed["machines"]
        self.packs: dict[str, dict[str, Any]] = self.observed["packs"]
        self.passed: list[str] = self.observed["passed"]
        self.faults: dict[str, dict[str, Any]] = self.observed["faults"]

    def until(self, now: float) -> None:
        """What was under way comes first, each at its moment; what is wanted by now is looked at now."""
        self.now = now
        while True:
            due = min((task for task in self.tasks if task["done"] <= now), key=_done, default=None)
            if due is not None:
                self.at = max(self.at, due["done"])
                self.tasks.remove(due)
                self._finish(due)
                self._settle()
                continue
            self.at = max(self.at, now)
            self._settle()
            if all(task["done"] > now for task in self.tasks):
                self.observed["at"] = self.at
                return

    # Tasks

    def _start(self, kind: str, target: str = "", seconds: float | None = None, not_before: float = 0.0) -> None:
        length = SECONDS[kind] if seconds is None else seconds
        # Whole milliseconds, so that a moment survives being written as text and read again; at least one, so that
        # time goes on at any speed.
        done = max(round(self.at + length / self.simulated.speed, 3), round(self.at + 0.001, 3))
        if not_before:
            done = max(done, round(not_before + 0.001, 3))
        self.tasks.append({"kind": kind, "target": target, "done": done})

    def _task(self, kind: str, target: str = "") -> Task | None:
        return next((task for task in self.tasks if (task["kind"], task["target"]) == (kind, target)), None)

    def _cancel(self, kind: str, target: str = "") -> None:
        task = self._task(kind, target)
        if task:
            self.tasks.remove(task)

    def _tell(self, reason: str, message: str, severity: str = "Normal") -> None:
        self.happenings.append(Happening(self.at, reason, message, severity))

    def _may(self, key: str, step: str, by_value: Fault | None, pool: str = "") -> bool:
        """May this step be tried now. A fault is told once and tried again after a while, or when its cause goes."""
        known = self.faults.get(key)
        if known and known["asked"] and self._task("retry", key):
            return False
        fault = by_value
        asked = None if fault else faults.asked_for(self.simulated.asked, self.desired, step, pool)
        fault = fault or asked
        if fault is None:
            if self.faults.pop(key, None):
                self._cancel("retry", key)
            return True
        if not known or (known["reason"], known["message"]) != (fault.reason, fault.message):
            self._tell(fault.reason, fault.message, "Error")
            at = self.at
        else:
            at = known["at"]
        self.faults[key] = {"reason": fault.reason, "message": fault.message, "asked": asked is not None, "at": at}
        if not self._task("retry", key):
            # What values cause goes on for as long as these are wanted: it is not tried again and again for the time
            # in which nobody looked, of which there can be more than a try takes.
            self._start("retry", key, not_before=self.now if asked is None else 0.0)
        return False

    # What is wanted against what is there

    def _settle(self) -> None:
        if self.desired.deleted:
            self._settle_deletion()
        else:
            self._settle_cluster()
            self._set_conditions()
            self._set_health()

    def _settle_cluster(self) -> None:
        if not self.observed["state"]:
            self._state(PENDING, "the cluster is accepted")
            self._start("begin")
        if self.observed["state"] == PENDING:
            return
        self._forget_faults()
        for step, fault in (("image", None), ("infrastructure", faults.of_infrastructure(self.desired))):
            if step in self.passed:
                continue
            if not self._task(step) and self._may(step, step, fault):
                self._start(step)
            return
        for uid in self.desired.removed:
            for machine in self.machines:
                if machine["uid"] == uid:
                    self._delete(machine)
        for pool in sorted(self.desired.pools, key=lambda item: not item.control_plane):
            if pool.control_plane or "grown" in self.passed:
                self._settle_pool(pool)
        wanted = {pool.name for pool in self.desired.pools}
        for machine in self._alive():
            if machine["pool"] not in wanted:
                self._delete(machine)
        self._mark_current()
        if "grown" not in self.passed and self._complete(True):
            self.passed.append("grown")
            self._settle_cluster()
            return
        self._settle_packs()
        if self.observed["state"] == PROVISIONING and self._nodes_complete() and layers_ready(self.packs, addons=False):
            self._state(RUNNING, "all nodes are ready")
            self._settle_packs()

    def _forget_faults(self) -> None:
        """Faults of pools and packs that are no longer wanted."""
        keys = {f"pool:{pool.name}" for pool in self.desired.pools} | {
            f"pack:{pack.key}" for pack in self.desired.packs
        }
        for key in [key for key in self.faults if ":" in key and key not in keys]:
            del self.faults[key]
            self._cancel("retry", key)

    def _state(self, state: str, message: str) -> None:
        self.observed["state"] = state
        self._tell(f"Cluster{state}", f"{self.desired.name}: {message}")

    # Machines

    def _alive(self, pool: str | None = None) -> list[Machine]:
        return [
            machine
            for machine in self.machines
            if machine["phase"] != "Deleting" and (pool is None or machine["pool"] == pool)
        ]

    def _settle_pool(self, pool: Pool) -> None:
        alive = self._alive(pool.name)
        new = [machine for machine in alive if machine["template"] == pool.template]
        old = [machine for machine in alive if machine["template"] != pool.template]
        ready = [machine for machine in alive if machine["phase"] == "Running"]
        rolls = bool(old) and self._may_roll(pool)
        if rolls and self._holds_back(pool, new):
            return
        lacking = pool.size - len(alive)
        if rolls:
            lacking = min(pool.size - len(new), lacking + pool.surge)
        if pool.control_plane and len(ready) < len([item for item in self.machines if item["pool"] == pool.name]):
            # The members of a control plane come and go one by one.
            return
        key = f"pool:{pool.name}"
        if lacking <= 0 and key in self.faults:
            del self.faults[key]
            self._cancel("retry", key)
        for _ in range(min(lacking, 1) if pool.control_plane else lacking):
            if not self._create(pool):
                return
        surplus = self._surplus(pool, alive, old, ready, rolls)
        for machine in surplus[:1] if pool.control_plane else surplus:
            self._delete(machine)

    def _surplus(
        self, pool: Pool, alive: list[Machine], old: list[Machine], ready: list[Machine], rolls: bool
    ) -> list[Machine]:
        """The machines of a pool that are to go now, the first to go first."""
        if rolls:
            unready = [machine for machine in old if machine["phase"] != "Running"]
            spare = max(0, len(ready) - (pool.size - pool.unavailable))
            return unready + [machine for machine in old if machine["phase"] == "Running"][:spare]
        order = sorted(
            alive,
            key=lambda machine: (
                machine["phase"] == "Running",
                machine["template"] == pool.template,
                -machine["number"],
            ),
        )
        return order[: max(0, len(alive) - pool.size)]

    def _may_roll(self, pool: Pool) -> bool:
        """The control plane first, then the workers' pools, one after the other unless side by side is wanted."""
        if pool.control_plane:
            return True
        for other in sorted(self.desired.pools, key=lambda item: not item.control_plane):
            if other.name == pool.name:
                return True
            unfinished = any(machine["template"] != other.template for machine in self._alive(other.name))
            if unfinished and (other.control_plane or not self.desired.parallel):
                return False
        return True

    def _holds_back(self, pool: Pool, new: list[Machine]) -> bool:
        """Must the next machine wait since the last new one is not ready for long enough."""
        if not pool.repave_interval or not new or any(machine["phase"] != "Running" for machine in new):
            return False
        ends = max(machine["since"] for machine in new) + pool.repave_interval / self.simulated.speed
        if self.at >= ends:
            return False
        if not self._task("wake", pool.name):
            self._start("wake", pool.name, (ends - self.at) * self.simulated.speed)
        return True

    def _create(self, pool: Pool) -> bool:
        fault = faults.of_machine(self.desired, pool, len(self._alive()))
        if not self._may(f"pool:{pool.name}", "machine", fault, pool.name):
            return False
        number = self.observed["serial"] = self.observed["serial"] + 1
        digest = hashlib.sha256(f"{self.desired.uid}:{number}".encode()).hexdigest()
        self.machines.append(
            {
                "uid": digest[:24],
                "name": self._free_name(pool, digest[24:]),
                "number": number,
                "pool": pool.name,
                "control_plane": pool.control_plane,
                "template": pool.template,
                "kubernetes_version": pool.kubernetes_version,
                "phase": "Provisioning",
                "since": self.at,
                "current": True,
            }
        )
        kind = "worker"
        if pool.control_plane:
            kind = "control_plane" if "bootstrapped" in self.passed else "first_control_plane"
        self._start("machine", digest[:24], SECONDS[kind])
        return True

    def _free_name(self, pool: Pool, drawn: str) -> str:
        """A name that no machine of the cluster has, with a suffix out of what was drawn."""
        taken = {machine["name"] for machine in self.machines}
        names = (f"{self.desired.name}-{pool.name}-{drawn[at : at + 5]}" for at in range(len(drawn) - 4))
        return next(name for name in names if name not in taken)

    def _delete(self, machine: Machine) -> None:
        if machine["phase"] == "Deleting":
            return
        self._cancel("machine", machine["uid"])
        machine["phase"], machine["since"] = "Deleting", self.at
        self._start("machine_gone", machine["uid"])

    def _mark_current(self) -> None:
        """Say of every machine whether it is as its pool wants it."""
        templates = {pool.name: pool.template for pool in self.desired.pools}
        for machine in self.machines:
            machine["current"] = templates.get(machine["pool"]) == machine["template"]

    def _complete(self, control_plane: bool) -> bool:
        """Have the pools of this role all their machines, ready and as wanted, and none too many."""
        for pool in self.desired.pools:
            if pool.control_plane == control_plane:
                mine = [machine for machine in self.machines if machine["pool"] == pool.name]
                if len(mine) != pool.size or any(
                    machine["phase"] != "Running" or machine["template"] != pool.template for machine in mine
                ):
                    return False
        return True

    def _nodes_complete(self) -> bool:
        wanted = {pool.name for pool in self.desired.pools}
        stray = any(machine["pool"] not in wanted for machine in self.machines)
        return "grown" in self.passed and self._complete(True) and self._complete(False) and not stray

    # Packs

    def _settle_packs(self) -> None:
        if not self.packs and "bootstrapped" not in self.passed:
            self._await_packs()
            return
        self._hand_over_packs()
        wanted = {pack.key for pack in self.desired.packs}
        for key, entry in self.packs.items():
            if key not in wanted and entry["state"] != "Removing":
                self._cancel("pack", key)
                entry["state"] = "Removing"
                self._start("unpack", key)
        self._await_packs()
        for pack in self.desired.packs:
            entry = self.packs[pack.key]
            if entry["state"] == "Removing":
                self._cancel("unpack", pack.key)
                entry["state"], entry["digest"] = "Pending", ""
            if entry["digest"] != pack.digest:
                self._cancel("pack", pack.key)
                entry |= new_layer(pack)
        for pack in self.desired.packs:
            self._settle_pack(pack)

    def _hand_over_packs(self) -> None:
        moved = hand_over(self.packs, self.desired.packs)
        for task in self.tasks:
            task["target"] = moved.get(task["target"], task["target"])

    def _await_packs(self) -> None:
        for pack in self.desired.packs:
            if pack.key not in self.packs:
                self.packs[pack.key] = new_layer(pack)

    def _settle_pack(self, pack: Pack) -> None:
        entry = self.packs[pack.key]
        if "bootstrapped" not in self.passed or entry["state"] == "Ready":
            return
        if pack.layer in ("os", "k8s", "kernel"):
            # These layers are what the machines are made of.
            if entry["started"] is None:
                entry["state"], entry["started"] = "Deploying", self.at
            wanted = {pool.name: pool.template for pool in self.desired.pools}
            if all(machine["template"] == wanted.get(machine["pool"]) for machine in self._alive()):
                entry["state"], entry["ended"] = "Ready", self.at
            return
        if self._task("pack", pack.key):
            return
        if pack.layer == "addon":
            first = self.observed["state"] == PROVISIONING
            if first or any(task["kind"] == "pack" for task in self.tasks):
                return
            if not self._may(f"pack:{pack.key}", "addon", None):
                fault = self.faults[f"pack:{pack.key}"]
                entry["state"], entry["message"] = "Error", f"{fault['reason']}: {fault['message']}"
                return
        entry["state"], entry["started"], entry["message"] = "Deploying", self.at, ""
        self._start("pack", pack.key)

    # Conditions and health

    def _set_conditions(self) -> None:
        if self.observed["state"] in ("", PENDING):
            return
        passed = self.passed
        self._condition(IMAGE, "image" in passed, "image")
        self._condition(INFRASTRUCTURE, "infrastructure" in passed, "infrastructure")
        self._condition(BOOTSTRAPPING, "bootstrapped" in passed)
        self._condition(KUBECONFIG, self.observed["kubeconfig"])
        for added, deleted, control_plane in (
            (CONTROL_PLANE_ADDED, CONTROL_PLANE_DELETED, True),
            (WORKERS_ADDED, WORKERS_DELETED, False),
        ):
            pools = [pool for pool in self.desired.pools if pool.control_plane == control_plane]
            keys = [f"pool:{pool.name}" for pool in pools]
            complete = "infrastructure" in passed and all(
                len([item for item in self._alive(pool.name) if item["phase"] == "Running" and item["current"]])
                >= pool.size
                for pool in pools
            )
            leaving = any(
                machine["control_plane"] == control_plane and (machine["phase"] == "Deleting" or not machine["current"])
                for machine in self.machines
            )
            self._condition(added, complete, *keys)
            self._condition(deleted, not leaving)
        addons = [f"pack:{pack.key}" for pack in self.desired.packs if pack.layer == "addon"]
        self._condition(ADDONS, self.observed["state"] == RUNNING and layers_ready(self.packs, addons=True), *addons)

    def _condition(self, kind: str, met: bool, *fault_keys: str) -> None:
        """Set a condition; one that is not met says the fault that is in its way."""
        fault = next((self.faults[key] for key in fault_keys if key in self.faults), None)
        said = (fault["reason"], fault["message"]) if fault else None
        set_condition(self.observed, kind, met, said, self.at)

    def _set_health(self) -> None:
        if self.observed["state"] != RUNNING:
            return
        busy = (
            not self._nodes_complete()
            or any(task["kind"] not in _IDLE_TASKS for task in self.tasks)
            or any(entry["state"] != "Ready" for entry in self.packs.values())
        )
        if self.faults:
            self._cancel("health")
            fault = next(iter(self.faults.values()))
            self._health(UNHEALTHY, f"{fault['reason']}: {fault['message']}")
        elif busy:
            self._cancel("health")
            if self.observed["health"]:
                self._health(PROGRESSING, "changes are under way")
        elif (self.observed["health"] or {}).get("state") != HEALTHY and not self._task("health"):
            self._start("health")

    def _health(self, state: str, message: str) -> None:
        known = self.observed["health"]
        if not known or (known["state"], known["message"]) != (state, message):
            if not known or known["state"] != state:
                self._tell(f"Cluster{state}", f"{self.desired.name}: {message or 'all nodes and layers are healthy'}")
            self.observed["health"] = {"state": state, "message": message, "at": self.at}

    # The end

    def _settle_deletion(self) -> None:
        if self.observed["state"] == DELETED:
            return
        if self.desired.forced:
            self.machines.clear()
            self.packs.clear()
            self.tasks.clear()
            self.faults.clear()
            self._gone("forgotten; what it has in the cloud stays behind")
            return
        if self.observed["state"] != DELETING:
            kept = [task for task in self.tasks if task["kind"] == "machine_gone"]
            self.tasks[:] = kept
            self.faults.clear()
            self.observed["health"] = None
            self._state(DELETING, "the cluster is being deleted")
        workers = [machine for machine in self.machines if not machine["control_plane"]]
        for machine in workers or self.machines:
            self._delete(machine)
        if self.machines or self._task("teardown"):
            return
        made = "infrastructure" in self.passed
        refused = faults.of_infrastructure(self.desired) if made else None
        may = self._may("infrastructure", "delete", refused)
        if made:
            self._condition(INFRASTRUCTURE, not may, "infrastructure")
        if may:
            self._start("teardown", seconds=None if made else 5)

    def _gone(self, how: str) -> None:
        self.observed["kubeconfig"] = False
        self.observed["health"] = None
        self._state(DELETED, f"the cluster is {how}")

    # What a task brings when it is done

    def _finish(self, task: Task) -> None:
        kind, target = task["kind"], task["target"]
        name = self.desired.name
        if kind == "begin":
            self._state(PROVISIONING, "provisioning begins")
        elif kind == "image":
            self.passed.append("image")
            self._tell("ImageResolved", f"{name}: the image of the machines is there")
        elif kind == "infrastructure":
            self.passed.append("infrastructure")
            self._tell("InfrastructureReady", f"{name}: network and load balancer are there")
        elif kind == "machine":
            self._machine_ready(target)
        elif kind == "machine_gone":
            machine = next(item for item in self.machines if item["uid"] == target)
            self.machines.remove(machine)
            self._tell("MachineDeleted", f"{machine['name']} of pool {machine['pool']} is gone")
        elif kind == "pack":
            entry = self.packs[target]
            entry["state"], entry["ended"] = "Ready", self.at
            self._tell("PackDeployed", f"{entry['name']} {entry['version']} is deployed")
        elif kind == "unpack":
            entry = self.packs.pop(target)
            self._tell("PackRemoved", f"{entry['name']} is removed")
        elif kind == "health":
            self._health(HEALTHY, "")
        elif kind == "teardown":
            self.packs.clear()
            self._gone("gone")

    def _machine_ready(self, uid: str) -> None:
        machine = next(item for item in self.machines if item["uid"] == uid)
        machine["phase"], machine["since"] = "Running", self.at
        self._tell("MachineReady", f"{machine['name']} of pool {machine['pool']} is ready")
        if "bootstrapped" not in self.passed:
            self.passed.append("bootstrapped")
            self.observed["kubeconfig"] = True
            self._tell("ControlPlaneBootstrapped", f"{self.desired.name}: the first control plane node answers")
