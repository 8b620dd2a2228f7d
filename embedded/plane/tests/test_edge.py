# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions for clusters on hosts, with agents that do as they are told, do nothing, or fail."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from paletteops_plane.provisioner import Desired, Happening, Pack, Pool
from paletteops_plane.provisioner.edge import EdgeNative
from paletteops_plane.provisioner.edge_look import LOST_AFTER, RETRY_AFTER, Facts, Host

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
OLD, NEW = "1.35.4", "1.36.3"

Json = dict[str, Any]


def pool(name: str, *hosts: str, control_plane: bool = False, version: str = OLD, **fields: Any) -> Pool:
    entries = [
        {"hostUid": host, "hostName": host, "hostAddress": f"192.0.2.{10 + number}"}
        for number, host in enumerate(hosts)
    ]
    return Pool(
        name=name,
        control_plane=control_plane,
        size=len(hosts),
        template="t",
        config={"name": name, "hosts": entries},
        kubernetes_version=version,
        **fields,
    )


def packs(version: str = OLD, *addons: Pack) -> tuple[Pack, ...]:
    return (
        Pack("p", "edge-native-byoi", "os", "2.1.0", "spectro", "d1"),
        Pack("p", "edge-k8s", "k8s", version, "spectro", f"d-{version}"),
        Pack("p", "cni-bridge", "cni", "1.9.1", "spectro", "d3"),
        *addons,
    )


ADDON = Pack("a", "settings", "addon", "1.0.0", "manifest", "first")


@dataclass
class Scene:
    """A cluster, the agents of its hosts, and time."""

    pools: tuple[Pool, ...]
    packs: tuple[Pack, ...] = field(default_factory=packs)
    memory: Json = field(default_factory=dict)
    reports: dict[str, Json] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    #: Hosts that are not heard of.
    silent: set[str] = field(default_factory=set)
    #: Since when the plane runs.
    since: float = 0.0
    #: Hosts that are heard of, but do nothing new.
    idle: set[str] = field(default_factory=set)
    #: Kinds of tasks that fail, and with what.
    failing: dict[str, str] = field(default_factory=dict)
    #: Hosts that do not hold the content of what they are to run next, and why (None: they still fetch it).
    lacking: dict[str, Json | None] = field(default_factory=dict)
    at: float = NOW
    told: list[Happening] = field(default_factory=list)
    cordoned: set[str] = field(default_factory=set)
    wish: Json = field(default_factory=dict)
    deleted: bool = False
    forced: bool = False
    #: Called after each look; for what must hold at every moment.
    watch: Callable[[Scene], None] | None = None

    def look(self) -> None:
        """One look of the plane; what it decides is kept as JSON, as the plane does."""
        hosts = {uid: Host(uid, uid, self.seen.get(uid), self.reports.get(uid, {}), self.since) for uid in self.known()}
        desired = Desired("c1", "shop", "edge-native", self.pools, self.packs, deleted=self.deleted, forced=self.forced)
        facts = Facts(hosts, kubeconfig="kubeconfig" in self.wish, cordoned=frozenset(self.cordoned))
        facts = dataclasses.replace(facts, **{k: v for k, v in self.wish.items() if k in ("renewal", "reset")})
        outcome = EdgeNative(facts).reconcile(desired, self.memory, datetime.fromtimestamp(self.at, UTC))
        self.memory = json.loads(json.dumps(outcome.observed))
        self.told += outcome.happenings
        self.next_at = outcome.next_at
        if self.watch:
            self.watch(self)

    def known(self) -> set[str]:
        named = {entry["hostUid"] for pool in self.pools for entry in pool.config["hosts"]}
        return named | {machine["host"] for machine in self.memory.get("machines", [])} | set(self.reports)

    def step(self) -> None:
        """Every host that is heard of does one thing that it was told, and reports it; the plane looks after each."""
        self.look()
        for uid in sorted(self.known() - self.silent):
            self.seen[uid] = self.at
            if uid not in self.idle:
                self.reports[uid] = self.obey(uid)
            self.look()

    def run(self, steps: int = 12) -> None:
        for _ in range(steps):
            self.at += 1
            self.step()

    def until(self, happened: Callable[[], bool]) -> None:
        """Go on, host by host, until something has happened."""
        for _ in range(50):
            for uid in sorted(self.known() - self.silent):
                self.look()
                if happened():
                    return
                self.seen[uid] = self.at
                self.reports[uid] = self.obey(uid)
        raise AssertionError("it did not happen")

    def obey(self, uid: str) -> Json:
        before = self.reports.get(uid, {})
        machine = self.machine(uid)
        if machine is None or machine["step"] == "leave":
            return {"cluster_uid": None, "phase": "idle", "tasks": before.get("tasks", {}) if machine is None else {}}
        report: Json = {
            "cluster_uid": "c1",
            "phase": "prepared",
            "error": None,
            "node": None,
            "tasks": {},
            "content": [{"pack": "edge-k8s", "version": machine["version"]}],
            "fetches_ahead": True,
        }
        if machine["next"] and uid in self.lacking:
            report["error"] = self.lacking[uid]
        elif machine["next"]:
            report["content"].append({"pack": "edge-k8s", "version": machine["next"]})
        if machine["step"] in ("bootstrap", "join", "run"):
            report["phase"] = "running"
            report["node"] = {
                "name": machine["name"],
                "ready": True,
                "cordoned": machine["upgrade"] != "" or machine["cordon"],
                "kubernetes_version": machine["version"],
                "pod_cidr": f"10.244.{machine['number']}.0/24",
            }
            if machine["control_plane"]:
                report["etcd"] = {"healthy": True, "members": 1}
        for task in self.memory["tasks"]:
            carrier = task["machine"] if task["kind"] == "renew-certificates" else self.memory["lead"]
            if carrier == machine["uid"] and task["state"] == "open":
                failure = self.failing.get(task["kind"])
                state = {"state": "failed", "message": failure} if failure else {"state": "done", "message": ""}
                report["tasks"][task["id"]] = state
        if machine["uid"] == self.memory["lead"]:
            self.wish["kubeconfig"] = True
            report["packs"] = [
                {"profile_uid": pack.profile_uid, "name": pack.name, "digest": pack.digest, "state": "Ready"}
                for pack in self.packs
                if pack.layer == "addon"
            ]
        return report

    def machine(self, host: str) -> Json | None:
        return next((item for item in self.memory.get("machines", []) if item["host"] == host), None)

    def there(self, host: str) -> Json:
        machine = self.machine(host)
        assert machine is not None, host
        return machine

    def steps(self) -> dict[str, str]:
        return {machine["host"]: machine["step"] for machine in self.memory["machines"]}

    def versions(self) -> dict[str, str]:
        return {machine["host"]: machine["version"] for machine in self.memory["machines"]}

    @property
    def state(self) -> tuple[str, str]:
        return self.memory["state"], (self.memory["health"] or {}).get("state", "")

    def reasons(self) -> list[str]:
        return [happening.reason for happening in self.told]

    def tasks(self, kind: str) -> list[str]:
        """Hosts that a kind of task is about."""
        hosts = {machine["uid"]: machine["host"] for machine in self.memory["machines"]}
        return [hosts[task["machine"]] for task in self.memory["tasks"] if task["kind"] == kind]


def one_and_two(version: str = OLD) -> tuple[Pool, ...]:
    return pool("cp", "a", control_plane=True, version=version), pool("w", "b", "c", version=version)


def three(version: str = OLD) -> tuple[Pool, ...]:
    return (pool("cp", "a", "b", "c", control_plane=True, version=version),)


def running(pools: tuple[Pool, ...], **fields: Any) -> Scene:
    scene = Scene(pools, **fields)
    scene.run()
    assert scene.state == ("Running", "Healthy"), scene.memory
    scene.told.clear()
    return scene


# Create


def test_hosts_prepare_all_at_once_and_one_control_plane_host_begins() -> None:
    scene = Scene(one_and_two())
    scene.look()
    assert scene.steps() == {"a": "prepare", "b": "prepare", "c": "prepare"}
    assert scene.state == ("Provisioning", "")
    scene.step()
    assert scene.steps() == {"a": "bootstrap", "b": "prepare", "c": "prepare"}


def test_workers_join_together_once_the_lead_has_admitted_them() -> None:
    scene = Scene(one_and_two())
    scene.run(2)
    assert scene.memory["lead"] == scene.there("a")["uid"] and sorted(scene.tasks("admit")) == ["b", "c"]
    assert scene.steps() == {"a": "run", "b": "prepare", "c": "prepare"}
    scene.idle |= {"b", "c"}
    scene.step()
    assert scene.steps() == {"a": "run", "b": "join", "c": "join"}
    scene.idle.clear()
    scene.run(2)
    assert scene.state == ("Running", "Healthy") and scene.tasks("admit") == []
    assert scene.memory["conditions"]["KubeConfigReady"]["status"] == "True"
    assert all(item["status"] == "True" for item in scene.memory["conditions"].values())


def test_a_report_leads_to_the_next_step_without_time_passing() -> None:
    scene = Scene(one_and_two())
    for _ in range(4):
        scene.step()
    assert scene.state == ("Running", "Healthy") and scene.at == NOW


def test_a_cluster_runs_when_its_kubeconfig_is_there() -> None:
    scene = Scene((pool("cp", "a", control_plane=True),))
    scene.run(2)
    scene.wish.pop("kubeconfig", None)
    scene.idle.add("a")
    scene.run(2)
    assert scene.state == ("Provisioning", "") and scene.there("a")["ready"]
    assert scene.memory["conditions"]["KubeConfigReady"]["status"] == "False"
    scene.wish["kubeconfig"] = True
    scene.look()
    assert scene.state == ("Running", "Healthy")


def test_control_plane_hosts_join_one_by_one() -> None:
    def one_at_a_time(scene: Scene) -> None:
        assert list(scene.steps().values()).count("join") <= 1

    scene = Scene(three(), watch=one_at_a_time)
    scene.run()
    assert scene.state == ("Running", "Healthy")
    assert scene.reasons().count("MachineReady") == 3


def test_workers_wait_for_the_control_plane_but_not_for_one_that_is_lost() -> None:
    pools = (pool("cp", "a", "b", "c", control_plane=True), pool("w", "d"))
    scene = Scene(pools, idle={"c"})
    scene.reports["c"] = {"cluster_uid": "c1", "phase": "preparing"}
    scene.run(6)
    assert scene.steps() == {"a": "run", "b": "run", "c": "prepare", "d": "prepare"}
    scene.silent.add("c")
    scene.at += LOST_AFTER + 1
    scene.run(4)
    assert scene.steps()["d"] == "run" and scene.state[0] == "Provisioning"
    assert scene.memory["conditions"]["ControlPlaneNodeAdditionDone"]["reason"] == "HostLost"


def test_any_prepared_control_plane_host_may_begin() -> None:
    scene = Scene(three(), silent={"a"})
    scene.run(3)
    assert scene.steps()["a"] == "prepare" and scene.memory["lead"] == scene.there("b")["uid"]


def test_a_failure_is_told_once_and_stands_in_the_conditions() -> None:
    scene = Scene(one_and_two(), idle={"a"})
    error = {"reason": "PortTaken", "message": "port 6443 is taken by nginx"}
    scene.reports["a"] = {"cluster_uid": "c1", "phase": "failed", "error": error}
    scene.run(3)
    assert scene.reasons().count("PortTaken") == 1
    assert scene.memory["conditions"]["BootstrappingDone"] == {
        "status": "False",
        "reason": "PortTaken",
        "message": "a (host a): port 6443 is taken by nginx",
        "at": NOW + 1,
    }
    scene.idle.clear()
    scene.run()
    assert scene.state == ("Running", "Healthy")


def test_join_material_that_is_lost_is_asked_for_again() -> None:
    scene = Scene(one_and_two(), failing={"admit": "the API server is busy"})
    scene.run(3)
    first = [task["id"] for task in scene.memory["tasks"]]
    assert {task["state"] for task in scene.memory["tasks"]} == {"failed"}
    assert "AdmitFailed" in scene.reasons()
    scene.failing.clear()
    scene.run(2)
    assert scene.steps()["b"] == "prepare"
    scene.at += RETRY_AFTER
    scene.run(4)
    assert scene.state == ("Running", "Healthy") and first


def test_a_restart_of_the_plane_at_any_moment_changes_nothing() -> None:
    """What is kept is JSON, and a look that nothing preceded repeats what was decided."""
    scene = Scene(three())

    def twice(scene: Scene) -> None:
        scene.watch = None
        before = json.dumps({**scene.memory, "at": 0})
        told = len(scene.told)
        scene.look()
        assert json.dumps({**scene.memory, "at": 0}) == before and len(scene.told) == told
        scene.watch = twice

    scene.watch = twice
    scene.run()
    assert scene.state == ("Running", "Healthy")


# Packs


def test_an_add_on_is_ready_when_the_lead_says_so_of_its_present_content() -> None:
    scene = Scene(one_and_two(), packs=packs(OLD, ADDON))
    scene.run()
    assert scene.state == ("Running", "Healthy")
    scene.idle.add("a")
    scene.packs = packs(OLD, dataclasses.replace(ADDON, digest="second"))
    scene.run(2)
    assert scene.state == ("Running", "Progressing")
    assert scene.memory["packs"]["a/settings"]["state"] == "Deploying"
    scene.reports["a"]["packs"] = [
        {"profile_uid": "a", "name": "settings", "digest": "second", "state": "Error", "message": "no such kind"}
    ]
    scene.run(2)
    assert scene.state == ("Running", "Unhealthy")
    assert scene.memory["conditions"]["AddOnDeploymentDone"]["message"] == "settings: no such kind"
    scene.idle.clear()
    scene.run(2)
    assert scene.state == ("Running", "Healthy")


def test_an_add_on_that_is_no_longer_wanted_stays_until_the_lead_has_removed_it() -> None:
    scene = running(one_and_two(), packs=packs(OLD, ADDON))
    scene.idle.add("a")
    scene.packs = packs()
    scene.run(1)
    assert scene.memory["packs"]["a/settings"]["state"] == "Removing"
    scene.idle.clear()
    scene.run(2)
    assert "a/settings" not in scene.memory["packs"] and scene.state == ("Running", "Healthy")


# Upgrades


def in_service(scene: Scene) -> int:
    return sum(machine["ready"] and not machine["upgrade"] for machine in scene.memory["machines"])


def test_an_upgrade_goes_host_by_host_and_begins_with_the_control_plane() -> None:
    scene = running((pool("cp", "a", "b", "c", control_plane=True), pool("w", "d", "e")))
    order: list[str] = []

    def one_at_a_time(scene: Scene) -> None:
        assert in_service(scene) >= 4
        order.extend(uid for uid, version in scene.versions().items() if version == NEW and uid not in order)

    scene.watch = one_at_a_time
    scene.pools = (pool("cp", "a", "b", "c", control_plane=True, version=NEW), pool("w", "d", "e", version=NEW))
    scene.packs = packs(NEW)
    scene.run(2)
    assert scene.state == ("Running", "Progressing")
    scene.run(30)
    assert order == ["a", "b", "c", "d", "e"]
    assert scene.state == ("Running", "Healthy") and set(scene.versions().values()) == {NEW}
    assert scene.reasons().count("MachineUpgraded") == 5


def next_versions(scene: Scene) -> dict[str, str]:
    return {machine["host"]: machine["next"] for machine in scene.memory["machines"]}


def in_upgrade(scene: Scene) -> list[str]:
    return [machine["host"] for machine in scene.memory["machines"] if machine["upgrade"]]


def test_all_hosts_fetch_at_once_and_each_is_upgraded_when_it_holds_its_content() -> None:
    scene = running(one_and_two(), lacking={"a": None, "c": None})
    scene.pools, scene.packs = one_and_two(NEW), packs(NEW)
    scene.look()
    assert next_versions(scene) == {"a": NEW, "b": NEW, "c": NEW} and set(scene.versions().values()) == {OLD}
    assert scene.reasons().count("MachineFetching") == 3
    scene.run(5)
    assert in_upgrade(scene) == [] and scene.tasks("drain") == []
    assert scene.state == ("Running", "Progressing"), "the host that holds it is a worker, and waits for others"
    del scene.lacking["a"]
    scene.run(20)
    assert scene.versions() == {"a": NEW, "b": NEW, "c": OLD} and next_versions(scene) == {"a": "", "b": "", "c": NEW}
    assert in_upgrade(scene) == [] and scene.state == ("Running", "Progressing")
    scene.lacking.clear()
    scene.run(10)
    assert set(scene.versions().values()) == {NEW} and scene.state == ("Running", "Healthy")
    assert set(next_versions(scene).values()) == {""}


def test_content_that_cannot_be_used_stops_an_upgrade_before_anything_is_drained() -> None:
    scene = running(one_and_two())
    error = {"reason": "SignatureWrong", "message": "the bundle's signature is not by the configured public key"}
    scene.lacking = {"a": None, "c": error}
    scene.pools, scene.packs = one_and_two(NEW), packs(NEW)
    scene.run(2)
    del scene.lacking["a"]

    def nothing_is_away(scene: Scene) -> None:
        assert in_upgrade(scene) == [] and scene.tasks("drain") == []

    scene.watch = nothing_is_away
    scene.run(10)
    scene.watch = None
    assert set(scene.versions().values()) == {OLD} and all(item["ready"] for item in scene.memory["machines"])
    message = "c (host c): the bundle's signature is not by the configured public key"
    assert scene.reasons().count("SignatureWrong") == 1 and message in [item.message for item in scene.told]
    assert scene.state == ("Running", "Unhealthy")
    assert scene.memory["health"]["message"] == f"SignatureWrong: {message}"
    condition = scene.memory["conditions"]["WorkerNodeAdditionDone"]
    assert (condition["status"], condition["reason"], condition["message"]) == ("False", "SignatureWrong", message)
    scene.lacking.clear()
    scene.run(20)
    assert set(scene.versions().values()) == {NEW} and scene.state == ("Running", "Healthy")


@pytest.mark.parametrize("content", [[], [{"pack": "edge-k8s", "version": OLD}]])
def test_a_host_that_does_not_fetch_ahead_is_not_waited_for(content: list[Json]) -> None:
    scene = running(one_and_two())
    obey = scene.obey
    scene.obey = lambda uid: obey(uid) | {"content": content, "fetches_ahead": False}  # type: ignore[method-assign]
    scene.run(1)
    scene.pools, scene.packs = one_and_two(NEW), packs(NEW)
    scene.run(20)
    assert set(scene.versions().values()) == {NEW} and scene.state == ("Running", "Healthy")


def test_content_that_is_not_seen_for_a_moment_is_not_there() -> None:
    scene = running((pool("cp", "a", control_plane=True),))
    obey = scene.obey
    scene.obey = lambda uid: obey(uid) | {"content": []}  # type: ignore[method-assign]
    scene.pools, scene.packs = (pool("cp", "a", control_plane=True, version=NEW),), packs(NEW)
    scene.run(5)
    assert scene.versions() == {"a": OLD}
    scene.obey = obey  # type: ignore[method-assign]
    scene.run(5)
    assert scene.versions() == {"a": NEW}


def test_a_version_that_is_wanted_no_more_is_not_fetched_and_neither_for_hosts_that_go() -> None:
    scene = running(one_and_two(), lacking={"a": None, "b": None, "c": None})
    scene.pools, scene.packs = one_and_two(NEW), packs(NEW)
    scene.run(2)
    scene.pools = (pool("cp", "a", control_plane=True, version=NEW), pool("w", "b", version=NEW))
    scene.look()
    assert next_versions(scene) == {"a": NEW, "b": NEW, "c": ""}
    scene.pools, scene.packs = (pool("cp", "a", control_plane=True), pool("w", "b")), packs(OLD)
    scene.run(10)
    assert next_versions(scene) == {"a": "", "b": ""} and set(scene.versions().values()) == {OLD}
    assert scene.state == ("Running", "Healthy") and "MachineUpgrading" not in scene.reasons()


def test_a_host_is_drained_before_and_taken_into_service_after_its_upgrade() -> None:
    scene = running(one_and_two())
    scene.pools, scene.packs = one_and_two(NEW), packs(NEW)
    scene.until(lambda: scene.tasks("drain") != [])
    assert scene.tasks("drain") == ["a"] and scene.versions()["a"] == OLD
    scene.idle |= {"b", "c"}
    scene.run(1)
    assert scene.versions()["a"] == NEW and scene.tasks("drain") == []
    scene.run(1)
    assert scene.tasks("uncordon") == ["a"]
    scene.run(1)
    assert scene.there("a")["upgrade"] == "" and scene.tasks("uncordon") == []


def test_the_only_node_is_upgraded_in_place() -> None:
    scene = running((pool("cp", "a", control_plane=True),))
    scene.pools, scene.packs = (pool("cp", "a", control_plane=True, version=NEW),), packs(NEW)
    scene.look()
    assert scene.versions() == {"a": OLD} and scene.there("a")["next"] == NEW
    scene.run(1)
    assert scene.tasks("drain") == [] and scene.versions() == {"a": NEW} and scene.there("a")["next"] == ""


def test_etcd_has_to_be_healthy_between_two_control_plane_hosts() -> None:
    scene = running(three())
    scene.pools, scene.packs = three(NEW), packs(NEW)
    sick = {"healthy": False, "members": 3}
    obey = scene.obey

    def ail(uid: str) -> Json:
        return obey(uid) | ({"etcd": sick} if uid == "a" and scene.versions()["a"] == NEW else {})

    scene.obey = ail  # type: ignore[method-assign]
    scene.run(10)
    assert scene.versions() == {"a": NEW, "b": OLD, "c": OLD}
    scene.obey = obey  # type: ignore[method-assign]
    scene.run(30)
    assert set(scene.versions().values()) == {NEW}


def test_a_host_that_fails_stops_the_upgrade_and_it_goes_on_when_that_is_corrected() -> None:
    scene = running(one_and_two())
    scene.pools, scene.packs = one_and_two(NEW), packs(NEW)
    scene.until(lambda: scene.versions()["b"] == NEW)
    assert scene.versions() == {"a": NEW, "b": NEW, "c": OLD}
    scene.idle.add("b")
    error = {"reason": "UpgradeFailed", "message": "no space left"}
    scene.reports["b"] |= {"phase": "failed", "error": error}
    scene.reports["b"]["node"] = {"ready": False, "kubernetes_version": OLD, "cordoned": True}
    scene.run(10)
    assert scene.versions()["c"] == OLD and scene.state == ("Running", "Unhealthy")
    assert scene.memory["health"]["message"] == "UpgradeFailed: b (host b): no space left"
    scene.idle.clear()
    scene.run(10)
    assert set(scene.versions().values()) == {NEW} and scene.state == ("Running", "Healthy")


def test_a_drain_that_fails_keeps_the_node_as_it_is_and_is_tried_again() -> None:
    scene = running(one_and_two(), failing={"drain": "a disruption budget forbids it"})
    scene.pools, scene.packs = one_and_two(NEW), packs(NEW)
    scene.run(4)
    assert set(scene.versions().values()) == {OLD} and "DrainFailed" in scene.reasons()
    assert scene.memory["health"]["message"] == "DrainFailed: a (host a): a disruption budget forbids it"
    scene.failing = {"drain": "PodsLeft: 3 pods are still there"}
    scene.at += RETRY_AFTER
    scene.run(2)
    assert scene.memory["health"]["message"] == "PodsLeft: a (host a): 3 pods are still there"
    assert scene.next_at is not None and scene.next_at <= scene.at + RETRY_AFTER
    scene.failing.clear()
    scene.at += RETRY_AFTER
    scene.run(20)
    assert scene.state == ("Running", "Healthy") and set(scene.versions().values()) == {NEW}


@pytest.mark.parametrize(("unavailable", "together"), [(0, 1), (1, 1), (2, 2)])
def test_as_many_workers_are_away_as_their_pool_allows(unavailable: int, together: int) -> None:
    def pools(version: str) -> tuple[Pool, ...]:
        workers = pool("w", "b", "c", "d", version=version, unavailable=unavailable)
        return pool("cp", "a", control_plane=True, version=version), workers

    scene = running(pools(OLD))
    most = 0

    def count(scene: Scene) -> None:
        nonlocal most
        most = max(most, sum(bool(machine["upgrade"]) for machine in scene.memory["machines"]))

    scene.watch = count
    scene.pools, scene.packs = pools(NEW), packs(NEW)
    scene.run(40)
    assert most == together and set(scene.versions().values()) == {NEW}


def test_a_pool_that_skips_upgrades_stays() -> None:
    scene = running(one_and_two())
    scene.pools = (pool("cp", "a", control_plane=True, version=NEW), pool("w", "b", "c", version=OLD))
    scene.packs = packs(NEW)
    scene.run(20)
    assert scene.versions() == {"a": NEW, "b": OLD, "c": OLD} and scene.state == ("Running", "Healthy")


def test_a_host_that_joins_while_an_upgrade_waits_gets_no_newer_version_than_the_control_plane() -> None:
    scene = running(one_and_two(), failing={"drain": "no"})
    scene.packs = packs(NEW)
    scene.pools = (pool("cp", "a", control_plane=True, version=NEW), pool("w", "b", "c", "d", version=NEW))
    scene.run(5)
    assert scene.versions() == {"a": OLD, "b": OLD, "c": OLD, "d": OLD} and scene.steps()["d"] == "run"


# Growing and shrinking


def test_a_worker_is_added() -> None:
    scene = running(one_and_two())
    scene.pools = (pool("cp", "a", control_plane=True), pool("w", "b", "c", "d"))
    scene.run(1)
    assert scene.state == ("Running", "Progressing")
    scene.run(5)
    assert scene.steps()["d"] == "run" and scene.state == ("Running", "Healthy")
    assert "PackDeployed" not in scene.reasons()


def test_a_worker_is_drained_leaves_and_is_forgotten() -> None:
    scene = running(one_and_two())
    scene.idle |= {"a", "b", "c"}
    scene.pools = (pool("cp", "a", control_plane=True), pool("w", "b"))
    scene.run(1)
    assert scene.tasks("drain") == ["c"] and scene.there("c")["phase"] == "Deleting" and scene.steps()["c"] == "run"
    scene.idle.discard("a")
    scene.run(1)
    assert scene.steps()["c"] == "leave" and scene.tasks("forget") == []
    scene.idle.discard("c")
    scene.run(1)
    assert scene.tasks("forget") == ["c"]
    scene.run(1)
    assert scene.machine("c") is None and scene.state == ("Running", "Healthy")
    assert scene.reasons().count("MachineDeleted") == 1


def test_a_control_plane_shrinks_one_by_one_and_the_lead_moves_on() -> None:
    scene = running(three())
    lead = scene.there("a")["uid"]
    assert scene.memory["lead"] == lead

    def one_at_a_time(scene: Scene) -> None:
        leaving = [item for item in scene.memory["machines"] if item["removal"] in ("drain", "leave", "forget")]
        assert len(leaving) <= 1

    scene.watch = one_at_a_time
    scene.pools = (pool("cp", "c", control_plane=True),)
    scene.run(20)
    assert scene.steps() == {"c": "run"} and scene.memory["lead"] == scene.there("c")["uid"]
    assert scene.state == ("Running", "Healthy") and "LeadChanged" in scene.reasons()


def test_a_control_plane_host_that_is_lost_is_taken_out_although_etcd_misses_it() -> None:
    scene = running(three())
    scene.silent.add("a")
    scene.at += LOST_AFTER + 1
    obey = scene.obey
    scene.obey = lambda uid: obey(uid) | {"etcd": {"healthy": uid == "d", "members": 3}}  # type: ignore[method-assign]
    scene.run(2)
    scene.pools = (pool("cp", "b", "c", "d", control_plane=True),)
    scene.run(8)
    assert scene.machine("a") is None and scene.reasons().count("MachineDeleted") == 1
    scene.obey = obey  # type: ignore[method-assign]
    scene.run(8)
    assert scene.steps() == {"b": "run", "c": "run", "d": "run"} and scene.state == ("Running", "Healthy")


def test_a_healthy_control_plane_host_stays_while_etcd_is_not_well() -> None:
    scene = running(three())
    obey = scene.obey
    scene.obey = lambda uid: obey(uid) | {"etcd": {"healthy": False, "members": 3}}  # type: ignore[method-assign]
    scene.run(2)
    scene.pools = (pool("cp", "a", "b", control_plane=True),)
    scene.run(5)
    assert scene.steps()["c"] == "run" and scene.tasks("drain") == []
    scene.obey = obey  # type: ignore[method-assign]
    scene.run(8)
    assert scene.machine("c") is None


@pytest.mark.parametrize("step", ["prepare", "bootstrap", "join"])
def test_a_control_plane_host_that_is_stuck_on_its_way_in_can_be_taken_out(step: str) -> None:
    scene = Scene(three())
    scene.until(lambda: step in scene.steps().values())
    stuck = next(host for host, what in scene.steps().items() if what == step)
    scene.idle.add(stuck)
    scene.reports[stuck] = {"cluster_uid": "c1", "phase": "failed", "error": {"reason": "Stuck", "message": "it is"}}
    scene.run(6)
    others = [host for host in ("a", "b", "c") if host != stuck]
    scene.pools = (pool("cp", *others, control_plane=True),)
    scene.run(2)
    scene.idle.clear()
    scene.run(12)
    assert scene.steps() == dict.fromkeys(others, "run") and scene.state == ("Running", "Healthy")


def test_a_host_that_is_lost_is_taken_out_without_it() -> None:
    scene = running(one_and_two(), silent=set())
    scene.silent.add("c")
    scene.at += LOST_AFTER + 1
    scene.pools = (pool("cp", "a", control_plane=True), pool("w", "b"))
    scene.run(3)
    assert scene.machine("c") is None and scene.state == ("Running", "Healthy")


def test_the_node_of_a_host_that_somebody_reset_is_forgotten_and_the_host_joins_anew() -> None:
    scene = running(one_and_two())
    before = scene.there("c")["uid"]
    scene.reports["c"] = {"cluster_uid": None, "phase": "idle"}
    scene.look()
    assert scene.tasks("forget") == ["c"] and scene.state == ("Running", "Progressing")
    scene.run(6)
    assert scene.there("c")["uid"] != before and scene.state == ("Running", "Healthy")


# Hosts that are not heard of


def test_a_host_that_is_lost_makes_the_cluster_unhealthy_until_it_is_back() -> None:
    scene = running(one_and_two())
    scene.silent.add("c")
    scene.at += LOST_AFTER - 20
    scene.run(1)
    assert scene.state == ("Running", "Healthy") and scene.next_at is not None
    scene.at = scene.next_at
    scene.look()
    assert scene.state == ("Running", "Unhealthy")
    assert scene.memory["health"]["message"].startswith(
        "HostLost: c (host c) has not been heard of since 2026-03-01T12:"
    )
    assert not scene.there("c")["ready"]
    scene.silent.clear()
    scene.run(1)
    assert scene.state == ("Running", "Healthy") and scene.reasons().count("HostLost") == 1


def test_a_start_of_the_plane_takes_nobody_for_lost_and_nobody_lost_for_back() -> None:
    scene = running(one_and_two())
    scene.silent.add("c")
    scene.at += LOST_AFTER + 1
    scene.run(1)
    assert scene.state == ("Running", "Unhealthy")
    scene.at += 3600
    scene.since = scene.at
    scene.look()
    assert scene.there("a")["ready"] and not scene.there("c")["ready"]
    assert scene.memory["health"]["message"].startswith("HostLost: c")
    scene.at += LOST_AFTER + 1
    scene.look()
    assert not scene.there("a")["ready"]
    scene.silent.clear()
    scene.run(2)
    assert scene.state == ("Running", "Healthy")


def test_when_the_only_control_plane_host_was_reset_the_cluster_is_made_anew() -> None:
    scene = running(one_and_two())
    before = {machine["uid"] for machine in scene.memory["machines"]}
    scene.reports["a"] = {"cluster_uid": None, "phase": "idle"}
    scene.run(12)
    assert scene.steps() == {"a": "run", "b": "run", "c": "run"} and scene.state == ("Running", "Healthy")
    assert not before & {machine["uid"] for machine in scene.memory["machines"]}


def test_another_control_plane_host_leads_when_the_lead_is_lost() -> None:
    scene = running(three())
    scene.silent.add("a")
    scene.at += LOST_AFTER + 1
    scene.run(1)
    assert scene.memory["lead"] == scene.there("b")["uid"]
    scene.silent.clear()
    scene.run(2)
    assert scene.memory["lead"] == scene.there("b")["uid"] and scene.state == ("Running", "Healthy")


def test_nothing_is_upgraded_while_a_host_is_lost() -> None:
    scene = running(one_and_two())
    scene.silent.add("c")
    scene.at += LOST_AFTER + 1
    scene.pools, scene.packs = one_and_two(NEW), packs(NEW)
    scene.run(5)
    assert set(scene.versions().values()) == {OLD}


# Wishes


def test_a_machine_is_cordoned_and_stays_so_through_an_upgrade() -> None:
    scene = running(one_and_two())
    scene.cordoned.add(scene.there("b")["uid"])
    scene.look()
    assert scene.tasks("drain") == ["b"]
    scene.run(2)
    assert scene.there("b")["cordon"] and scene.state == ("Running", "Healthy")
    scene.pools, scene.packs = one_and_two(NEW), packs(NEW)
    scene.run(20)
    assert set(scene.versions().values()) == {NEW} and scene.tasks("uncordon") == []
    scene.cordoned.clear()
    scene.look()
    assert scene.tasks("uncordon") == ["b"]
    scene.run(2)
    assert not scene.there("b")["cordon"]


def test_certificates_are_renewed_one_host_after_the_other() -> None:
    scene = running(three())
    scene.wish["renewal"] = "r1"

    def one_at_a_time(scene: Scene) -> None:
        assert len(scene.tasks("renew-certificates")) <= 1

    scene.watch = one_at_a_time
    scene.run(6)
    assert scene.reasons().count("CertificatesRenewed") == 3 and scene.state == ("Running", "Healthy")
    scene.run(3)
    assert scene.reasons().count("CertificatesRenewed") == 3


def test_a_reset_frees_every_host_and_the_cluster_may_be_made_anew() -> None:
    scene = running(one_and_two())
    scene.wish["reset"] = "r1"
    scene.pools = ()
    scene.look()
    assert set(scene.steps().values()) == {"leave"}
    scene.run(2)
    assert scene.memory["machines"] == [] and scene.state == ("Provisioning", "")
    assert not {happening.severity for happening in scene.told} - {"Normal"}
    scene.pools = one_and_two()
    scene.run()
    assert scene.state == ("Running", "Healthy")


# Delete


def test_all_hosts_leave_at_once_when_the_cluster_is_deleted() -> None:
    scene = running(one_and_two())
    scene.deleted = True
    scene.look()
    assert set(scene.steps().values()) == {"leave"} and scene.memory["tasks"] == []
    assert scene.state == ("Deleting", "")
    scene.run(1)
    assert scene.state == ("Deleted", "") and scene.next_at is None


def test_a_host_that_does_not_answer_keeps_the_cluster_until_that_is_forced() -> None:
    scene = running(one_and_two())
    scene.silent.add("c")
    scene.deleted = True
    scene.run(3)
    assert scene.steps() == {"c": "leave"} and scene.state == ("Deleting", "")
    scene.forced = True
    scene.look()
    assert scene.state == ("Deleted", "") and scene.told[-2].message.startswith("c (host c) of pool w is forgotten")


def test_a_cluster_whose_hosts_never_came_can_be_deleted_by_force() -> None:
    scene = Scene(one_and_two(), silent={"a", "b", "c"})
    scene.run(2)
    scene.deleted = scene.forced = True
    scene.look()
    assert scene.state[0] == "Deleted"
