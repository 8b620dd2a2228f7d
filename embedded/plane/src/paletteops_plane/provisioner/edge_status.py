# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster on hosts shows of itself: its layers, what is wrong, its conditions and its health."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from paletteops_plane.clock import rfc3339
from paletteops_plane.provisioner import HEALTHY, PENDING, PROGRESSING, RUNNING, UNHEALTHY, Pack
from paletteops_plane.provisioner.edge_look import Fault, Json, Look
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

#: Faults that a message tells, at most.
MOST_FAULTS = 5
#: Layers that the hosts are made of.
_HOST_LAYERS = ("kernel", "os", "k8s")


def _reason(task: Json) -> tuple[str, str]:
    """Why a task failed, as a reason and a text; agents may write both into the message."""
    said = re.fullmatch(r"([A-Z][A-Za-z]+): (.+)", task["message"], re.DOTALL)
    if said:
        return said[1], said[2]
    return "".join(word.capitalize() for word in task["kind"].split("-")) + "Failed", task["message"]


def _worded(faults: list[Fault]) -> tuple[str, str]:
    """Faults as one reason, that of the most telling, and one message; those who mend it see all of them."""
    first, *others = faults
    texts = [first.message, *(f"{fault.reason}: {fault.message}" for fault in others[: MOST_FAULTS - 1])]
    more = len(faults) - len(texts)
    return first.reason, "; ".join([*texts, f"and {more} more"] if more else texts)


class Status(Look):
    """A look at a cluster that writes down how it is."""

    # Packs

    def _settle_packs(self) -> None:
        hand_over(self.packs, self.desired.packs)
        lead = self._lead()
        host = self._host(lead) if lead else None
        reported = (host.report.get("packs") or ()) if host else ()
        said: dict[str, Json] = {f"{item.get('profile_uid')}/{item.get('name')}": item for item in reported}
        wanted = {pack.key: pack for pack in self.desired.packs}
        for key in [key for key in self.packs if key not in wanted]:
            entry = self.packs[key]
            if entry["layer"] in ("addon", "csi") and key in said:
                entry["state"] = "Removing"
                continue
            self._tell("PackRemoved", f"{entry['name']} is removed")
            del self.packs[key]
        for key, pack in wanted.items():
            known = self.packs.get(key)
            if known is None or known["digest"] != pack.digest or known["state"] == "Removing":
                known = new_layer(pack) | {"asked": self.at}
            entry = self.packs[key] = known
            self._settle_pack(pack, entry, said.get(key) or self._status(entry))

    def _status(self, entry: Json) -> Json | None:
        """What was said of a pack apart from reports, since it is as it is now."""
        status = self.facts.statuses.get(f"{entry['profile_uid']}/{entry['name']}")
        if status is None or status["version"] != entry["version"] or status["at"] < entry["asked"]:
            return None
        return {**status, "digest": entry["digest"]}

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
            elif self._lost(machine):
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
                reason, text = _reason(task)
                message = f"{self._named(named[task['machine']])}: {text}"
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

        def faults_of(role: bool) -> list[Fault]:
            return [item for item in faults if item.key in roles[role] or item.key.rpartition(":")[2] in roles[role]]

        prepared = bool(self.machines) and all(
            machine["joined"] or machine["step"] != "prepare" or self._prepared(machine) for machine in self.machines
        )
        bootstrapped = "bootstrapped" in self.passed
        heard = bool(self.machines) and all(self._phase(item) not in ("lost", "elsewhere") for item in self.machines)
        self._condition(IMAGE, prepared or bootstrapped, faults)
        self._condition(INFRASTRUCTURE, heard or bootstrapped, faults)
        self._condition(BOOTSTRAPPING, bootstrapped, faults_of(True))
        self._condition(KUBECONFIG, self.observed["kubeconfig"], [])
        for added, deleted, role in (
            (CONTROL_PLANE_ADDED, CONTROL_PLANE_DELETED, True),
            (WORKERS_ADDED, WORKERS_DELETED, False),
        ):
            self._condition(added, bootstrapped and self._role_complete(role), faults_of(role))
            self._condition(deleted, not any(machine["removal"] for machine in self._of(role)), faults_of(role))
        packs = [fault for fault in faults if fault.key.startswith("pack:")]
        self._condition(ADDONS, self.observed["state"] == RUNNING and layers_ready(self.packs, addons=True), packs)

    def _role_complete(self, control_plane: bool) -> bool:
        there = {machine["host"] for machine in self._of(control_plane) if machine["ready"] and machine["current"]}
        return all(
            entry["hostUid"] in there
            for pool in self.desired.pools
            if pool.control_plane == control_plane
            for entry in pool.config.get("hosts", ())
        )

    def _condition(self, kind: str, met: bool, faults: list[Fault]) -> None:
        """Set a condition; one that is not met says the faults that are in its way."""
        set_condition(self.observed, kind, met, _worded(faults) if faults and not met else None, self.at)

    def _set_health(self, faults: list[Fault]) -> None:
        if self.observed["state"] != RUNNING:
            return
        if faults:
            self._health(UNHEALTHY, ": ".join(_worded(faults)))
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
