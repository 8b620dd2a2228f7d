# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters on hosts that users bring: what each host's agent is to do next, from what the agents reported.

Nothing is done here: agents fetch what they are to do and report what they see, and every report leads to another look.
The decisions follow each other in ``_Run``; what they are made of is in ``edge_look``, what is shown of the cluster in
``edge_status``.
"""

from __future__ import annotations

import json
from datetime import datetime

from paletteops_plane.provisioner import (
    DELETED,
    DELETING,
    PENDING,
    PROVISIONING,
    RUNNING,
    Desired,
    Observed,
    Outcome,
    Pool,
)
from paletteops_plane.provisioner.edge_look import (
    NOT_A_MEMBER,
    Facts,
    Json,
    Machine,
    fresh,
    member_uid,
    version_key,
    wanted_hosts,
)
from paletteops_plane.provisioner.edge_status import Status
from paletteops_plane.provisioner.observed import layers_ready


class EdgeNative:
    """The seam's filling whose infrastructure are the agents of hosts."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def reconcile(self, desired: Desired, observed: Observed, now: datetime) -> Outcome:
        # Stored as JSON, so a copy by way of it is a whole one, and the quickest.
        run = _Run(desired, json.loads(json.dumps(observed)), self.facts, now.timestamp())
        run.settle()
        return Outcome(run.observed, tuple(run.happenings), run.next_at())


class _Run(Status):
    """One look at one cluster, and what it leads to."""

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
        self._announce()
        self._upgrade()
        self._cordon()
        self._renew()
        self.observed["kubeconfig"] = self.facts.kubeconfig and "bootstrapped" in self.passed
        self._settle_packs()
        complete = self._nodes_complete() and layers_ready(self.packs, addons=False) and self.observed["kubeconfig"]
        if self.observed["state"] == PROVISIONING and complete:
            self._state(RUNNING, "all nodes are ready")
            self._settle_packs()

    # What hosts report

    def _read_hosts(self) -> None:
        """Take over what the reports say of machines and of their nodes."""
        for machine in self.machines:
            host, phase = self._host(machine), self._phase(machine)
            machine["lost"] = host.seen if host and phase == "lost" else None
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
                "next": "",
                "upgrade": "",
                "removal": "",
                "joined": False,
                "entered": False,
                "ready": False,
                "cordon": False,
                "pod_cidr": None,
                "lost": None,
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

    # Growing

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

    # Kubernetes versions

    def _announce(self) -> None:
        """Tell all members at once what they are to run next, so that each has its content before it is drained."""
        for machine in self.machines:
            pool = next((pool for pool in self.desired.pools if pool.name == machine["pool"]), None)
            member = pool is not None and machine["step"] == "run" and not machine["removal"]
            after = pool.kubernetes_version if pool and member and machine["version"] != pool.kubernetes_version else ""
            if after and after != machine.get("next") and not self._fetched(machine, after):
                self._tell("MachineFetching", f"{self._named(machine)} fetches the content of Kubernetes {after}")
            machine["next"] = after

    def _fetched(self, machine: Machine, version: str) -> bool:
        """Does the host hold a version's content. One that does not say that it fetches ahead is not waited for: it
        needs none, or its agent is older and fetches after the drain.
        """
        host = self._host(machine)
        return host is not None and (not host.report.get("fetches_ahead") or host.holds(self.kubernetes, version))

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
        """Where its content is there: one control plane host at a time and the control plane first; then workers as
        their pool's strategy says.
        """
        upgrading = [item for item in self.machines if item["upgrade"]]
        if any(self._faulty(item) for item in self.machines if item["step"] in ("run", "join")):
            return False
        if not self._fetched(machine, pool.kubernetes_version):
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
            machine |= {"removal": "leave", "upgrade": "", "next": "", "step": "leave", "phase": "Deleting"}
            machine["ready"] = False
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
                machine |= {"step": "leave", "removal": "leave", "upgrade": "", "next": "", "phase": "Deleting"}
                machine |= {"since": self.at, "ready": False}
            host = self._host(machine)
            left = host is None or (not self._lost(machine) and host.phase(self.desired.uid) in ("idle", "elsewhere"))
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
