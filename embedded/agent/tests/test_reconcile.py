# SPDX-License-Identifier: GPL-3.0-or-later
"""From a wanted state to actions: an engine that notes what it is asked, and a plane that answers over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import FakePlane, RunningAgent, desired, simulated, until, user_data

from paletteops_agent import desired as wire
from paletteops_agent.desired import DesiredError
from paletteops_agent.engine import (
    Cluster,
    EngineError,
    Finding,
    Member,
    Pack,
    PackStatus,
    Report,
    Surroundings,
    silent,
)
from paletteops_agent.engine.simulated.engine import SimulatedEngine
from paletteops_agent.engine.simulated.world import World


class WatchedEngine(SimulatedEngine):
    """The simulated engine, that also notes its calls and fails where ``fail`` says so."""

    def __init__(self, root: Path, folder: Path) -> None:
        super().__init__(Surroundings(root, {"speed": 1000, "directory": str(folder / "world"), "api": False}))
        self.calls: list[str] = []
        self.fail: dict[str, list[EngineError]] = {}
        self.findings: list[Finding] = []
        self.gate: dict[str, threading.Event] = {}

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call in self.gate:
            assert self.gate[call].wait(20)
        if self.fail.get(call):
            raise self.fail[call].pop(0)

    def preflight(self, cluster: Cluster, member: Member) -> list[Finding]:
        return self.findings

    def bootstrap(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        self._note("bootstrap")
        super().bootstrap(cluster, member, report)

    def join(self, cluster: Cluster, member: Member, material: Any, report: Report = silent) -> None:
        self._note("join")
        super().join(cluster, member, material, report)

    def upgrade(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        self._note(f"upgrade {cluster.version}")
        super().upgrade(cluster, member, report)

    def configure(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        self._note("configure")
        super().configure(cluster, member, report)

    def leave(self, force: bool, report: Report = silent) -> None:
        self._note("leave by force" if force else "leave")
        super().leave(force, report)

    def drain(self, node_name: str, timeout: int, report: Report = silent) -> None:
        self._note("drain")
        super().drain(node_name, timeout, report)

    def apply(self, packs: Sequence[Pack], report: Report = silent) -> list[PackStatus]:
        self._note("apply")
        return super().apply(packs, report)


class Host:
    """A host whose engine is watched, with a plane that says what is wanted of it."""

    def __init__(self, folder: Path, plane: FakePlane) -> None:
        self.plane = plane
        self.engine = WatchedEngine(folder / "host-1", folder)
        self.running = RunningAgent(folder / "host-1", user_data(plane.url), simulated(folder), engine=self.engine)

    def observed(self, seconds: float = 20, **facts: Any) -> dict[str, Any]:
        """The report in which these facts are so."""

        def report() -> dict[str, Any]:
            last = self.plane.observed
            return last if all(last.get(name) == value for name, value in facts.items()) else {}

        try:
            return until(report, seconds, facts)
        except AssertionError as error:
            raise AssertionError(f"{error}; reported: {self.plane.observed}") from None

    def done(self, generation: str) -> dict[str, Any]:
        return self.observed(generation=generation)


@pytest.fixture
def host(tmp_path: Path, plane: FakePlane) -> Any:
    found = Host(tmp_path, plane)
    with found.running:
        yield found


def test_a_host_with_nothing_to_do(host: Host) -> None:
    report = host.done("g0")
    assert report["phase"] == "idle"
    assert report["cluster_uid"] is None
    assert report["node"] is None
    assert report["boot_id"]
    assert host.engine.calls == []


def test_prepare_touches_nothing_but_content(host: Host) -> None:
    host.plane.say(desired("g1", "prepare"))
    report = host.done("g1")
    assert (report["phase"], report["cluster_uid"]) == ("prepared", "cluster-1")
    assert host.engine.calls == []


def test_findings_come_all_at_once_and_keep_the_host_as_it_is(host: Host) -> None:
    host.engine.findings = [Finding("swap", "swap is on"), Finding("port", "port 6443 is taken")]
    host.plane.say(desired("g1", "prepare"))
    report = host.observed(phase="failed")
    assert report["error"] == {"reason": "PreflightFailed", "message": "swap: swap is on; port: port 6443 is taken"}
    assert host.engine.calls == []
    host.engine.findings = []
    host.plane.say(desired("g2", "prepare"))
    assert host.done("g2")["error"] is None


def test_bootstrap_and_what_follows_on_a_lead(host: Host) -> None:
    pack = {"profile_uid": "p", "name": "extras", "version": "1", "type": "manifest", "digest": "d1", "manifests": []}
    host.plane.say(desired("g1", "bootstrap"))
    until(lambda: host.plane.observed.get("phase") == "running")
    host.plane.say(desired("g2", "run", lead=True, packs=[pack]))
    report = host.done("g2")
    assert report["node"]["name"] == "host-1"
    assert report["node"]["kubernetes_version"] == "1.35.4"
    assert report["packs"] == [
        {"profile_uid": "p", "name": "extras", "version": "1", "digest": "d1", "state": "Ready", "message": ""}
    ]
    assert report["etcd"] == {"healthy": True, "members": 1}
    assert {one["name"] for one in report["certificates"]} >= {"apiserver"}
    assert '"current-context"' in host.plane.kubeconfig
    assert host.engine.calls.count("bootstrap") == 1

    def told() -> list[str]:
        return [one[3]["packs"][0]["condition"]["type"] for one in host.plane.of("PATCH", "/packs/status")]

    until(lambda: told()[-1:] == ["Ready"], what="the management API is told as well, after the report")


def test_a_failed_bootstrap_is_reported_and_tried_again(host: Host) -> None:
    host.engine.fail["bootstrap"] = [EngineError("EtcdSick", "etcd does not answer")] * 2
    host.plane.say(desired("g1", "bootstrap"))
    until(lambda: host.engine.calls.count("bootstrap") == 3)
    assert host.done("g1")["error"] is None
    # events follow the report; "Entered" is the last of them
    until(lambda: any(event["reason"] == "Entered" for event in host.plane.events))
    assert [event["reason"] for event in host.plane.events if event["severity"] == "Error"] == ["EtcdSick"]


def test_what_a_command_said_is_told_as_plain_text(host: Host) -> None:
    host.engine.fail["bootstrap"] = [EngineError("InitFailed", "\x1b[1mbad\0\nend\x85")]
    host.plane.say(desired("g1", "bootstrap"))
    host.done("g1")
    plain = " [1mbad \nend "
    reports = [body["error"] for _, _, _, body in host.plane.of("PUT", "/observed")]
    assert {"reason": "InitFailed", "message": plain} in reports
    until(lambda: "InitFailed" in [event["reason"] for event in host.plane.events])
    assert plain in [event["message"] for event in host.plane.events]


def test_an_error_that_no_retry_mends_waits_for_something_new(host: Host) -> None:
    host.engine.fail["bootstrap"] = [EngineError("RangeTaken", "pods overlap hosts", retry=False)]
    host.plane.say(desired("g1", "bootstrap"))
    host.observed(error={"reason": "RangeTaken", "message": "pods overlap hosts"}, phase="failed")
    assert host.plane.observed["cluster_uid"] == "cluster-1"
    host.plane.say(desired("g2", "bootstrap"))
    host.done("g2")


def test_a_host_joins_as_soon_as_there_is_material(host: Host, tmp_path: Path) -> None:
    host.plane.say(desired("g1", "join", member={"control_plane": False}))
    host.observed(phase="joining", step="waiting for join material")
    world = World(tmp_path / "world")
    token = "abcdef.0123456789abcdef"
    import hashlib

    with world.change("cluster-1") as shared:
        shared.update(nodes={}, tokens={hashlib.sha256(token.encode()).hexdigest(): 9e9}, packs={}, version="1.35.4")
    host.plane.material = {
        "endpoint": "192.0.2.10:6443",
        "token": token,
        "ca_cert_hashes": ["sha256:00"],
        "certificate_key": None,
        "expires_at": "2030-01-01T00:00:00Z",
    }
    report = host.done("g1")
    assert (report["phase"], report["node"]["name"]) == ("running", "host-1")
    kept = [path.read_text() for path in (tmp_path / "host-1/opt").rglob("*") if path.is_file()]
    assert kept and not any(token in text for text in kept)


def test_running_in_a_cluster_that_it_is_not_in_is_an_error(host: Host) -> None:
    host.plane.say(desired("g1", "run"))
    assert host.observed(phase="failed")["error"]["reason"] == "NotAMember"


def bring_up(host: Host) -> None:
    host.plane.say(desired("g1", "bootstrap"))
    host.done("g1")


def test_an_upgrade(host: Host) -> None:
    bring_up(host)
    ahead = desired("g2", "run")
    ahead["cluster"]["kubernetes"]["next_version"] = "1.36.3"
    host.plane.say(ahead)
    assert host.done("g2")["fetches_ahead"] is False, "nobody need wait for an engine that takes no content"
    assert host.plane.of("GET", "/content") == []
    host.plane.say(desired("g3", "run", version="1.36.3"))
    assert host.done("g3")["node"]["kubernetes_version"] == "1.36.3"
    assert "upgrade 1.36.3" in host.engine.calls


@pytest.mark.parametrize(("version", "reason"), [("1.34.4", "DowngradeRefused"), ("1.37.2", "VersionSkew")])
def test_a_version_that_kubernetes_does_not_allow(host: Host, version: str, reason: str) -> None:
    bring_up(host)
    host.plane.say(desired("g2", "run", version=version))
    until(lambda: (host.plane.observed.get("error") or {}).get("reason") == reason)
    assert host.plane.observed["phase"] == "running"
    assert not any(call.startswith("upgrade") for call in host.engine.calls)


def test_a_failed_upgrade_that_is_taken_back(host: Host) -> None:
    bring_up(host)
    host.engine.fail["upgrade 1.36.3"] = [EngineError("ProbeFailed", "it does not get ready")] * 50
    host.plane.say(desired("g2", "run", version="1.36.3"))
    until(lambda: (host.plane.observed.get("error") or {}).get("reason") == "ProbeFailed")
    host.plane.say(desired("g3", "run"))
    report = host.done("g3")
    assert report["error"] is None
    assert "upgrade 1.35.4" in host.engine.calls, "what was begun is brought back by the engine"
    assert report["node"]["kubernetes_version"] == "1.35.4"


def test_what_was_applied_is_said_together_with_what_came_of_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_up(host)
    reconciler = host.running.agent.reconciler
    states: list[dict[str, Any]] = []

    def changed(tell: Any = reconciler.site.changed) -> None:
        states.append(reconciler.observed())
        tell()

    monkeypatch.setattr(reconciler.site, "changed", changed)
    host.engine.fail["upgrade 1.36.3"] = [EngineError("ProbeFailed", "it does not get ready")] * 50
    host.plane.say(desired("g2", "run", version="1.36.3"))
    until(lambda: (host.plane.observed.get("error") or {}).get("reason") == "ProbeFailed")
    host.plane.say(desired("g3", "run"))
    host.done("g3")
    errors = {(state["generation"], (state["error"] or {}).get("reason")) for state in states}
    assert errors == {("g1", None), ("g1", "ProbeFailed"), ("g3", None)}


def test_a_host_is_looked_after_while_its_upgrade_fails(host: Host) -> None:
    bring_up(host)
    host.engine.fail["upgrade 1.36.3"] = [EngineError("ProbeFailed", "it does not get ready", retry=False)] * 50
    host.plane.say(desired("g2", "run", version="1.36.3"))
    until(lambda: (host.plane.observed.get("error") or {}).get("reason") == "ProbeFailed")
    before = host.engine.calls.count("configure")
    until(lambda: host.engine.calls.count("configure") > before + 3)
    assert host.engine.calls.count("upgrade 1.36.3") < 4
    assert host.plane.observed["phase"] == "running"
    assert host.plane.observed["error"]["reason"] == "ProbeFailed", "it stays until it works"
    assert host.plane.observed["generation"] == "g1"


def test_what_fails_on_a_member_does_not_keep_it_from_reporting(host: Host) -> None:
    bring_up(host)
    host.engine.fail["configure"] = [EngineError("ApiAway", "no answer")] * 3
    host.plane.say(desired("g2", "run", lead=True))
    assert host.done("g2")["error"] is None
    assert not host.engine.fail["configure"]


def test_leaving(host: Host) -> None:
    bring_up(host)
    host.engine.fail["leave"] = [EngineError("ClusterGone", "it does not answer")]
    host.plane.say(desired("g2", "leave"))
    report = host.done("g2")
    assert (report["phase"], report["cluster_uid"], report["node"]) == ("idle", None, None)
    assert host.engine.calls[-2:] == ["leave", "leave by force"]


def test_no_cluster_means_to_leave_it(host: Host) -> None:
    bring_up(host)
    host.plane.say(desired("g2"))
    assert host.done("g2")["cluster_uid"] is None
    assert host.engine.calls[-1] == "leave by force"


def test_another_cluster_means_to_leave_this_one_first(host: Host) -> None:
    bring_up(host)
    other = desired("g2", "prepare")
    other["cluster"]["uid"] = "cluster-2"
    host.plane.say(other)
    report = host.done("g2")
    assert (report["phase"], report["cluster_uid"]) == ("prepared", "cluster-2")
    assert host.engine.calls[-1] == "leave by force"


def test_a_reset_happens_once_and_nothing_else_is_done_meanwhile(host: Host) -> None:
    bring_up(host)
    host.plane.say(desired("g2", "run", reset="r1"))
    report = host.done("g2")
    assert (report["reset_done"], report["cluster_uid"], report["phase"]) == ("r1", None, "idle")
    assert host.engine.calls.count("leave by force") == 1
    host.plane.say(desired("g3", "prepare", reset=None))
    assert host.done("g3")["phase"] == "prepared"
    assert host.engine.calls.count("leave by force") == 1


def test_tasks_of_a_lead(host: Host) -> None:
    bring_up(host)
    tasks = [
        {"id": "t1", "kind": "admit", "member_uid": "host-2", "control_plane": True},
        {"id": "t2", "kind": "drain", "node_name": "host-1", "timeout": 30},
        {"id": "t3", "kind": "uncordon", "node_name": "host-1"},
        {"id": "t4", "kind": "forget", "node_name": "gone", "control_plane": True, "address": "192.0.2.13"},
        {"id": "t5", "kind": "renew-certificates"},
        {"id": "t6", "kind": "uncordon", "node_name": "nobody"},
    ]
    host.plane.say(desired("g2", "run", lead=True, tasks=tasks))
    report = host.done("g2")
    states = {name: entry["state"] for name, entry in report["tasks"].items()}
    assert states == {"t1": "done", "t2": "done", "t3": "done", "t4": "done", "t5": "done", "t6": "failed"}
    assert "NodeUnknown" in report["tasks"]["t6"]["message"]
    material = host.plane.handed_over["host-2"]
    assert set(material) == {"endpoint", "token", "ca_cert_hashes", "certificate_key", "expires_at"}
    assert material["certificate_key"]
    host.plane.say(desired("g3", "run", lead=True))
    assert host.done("g3")["tasks"] == {}


def test_material_is_there_before_its_task_is_done(host: Host) -> None:
    bring_up(host)
    task = {"id": "t1", "kind": "admit", "member_uid": "host-2", "control_plane": False}
    host.plane.say(desired("g2", "run", lead=True, tasks=[task]))
    host.done("g2")
    done = next(
        place
        for place, (method, path, _, body) in enumerate(host.plane.requests)
        if method == "PUT" and path.endswith("/observed") and body["tasks"].get("t1", {}).get("state") == "done"
    )
    given = next(place for place, one in enumerate(host.plane.requests) if "/join/host-2" in one[1])
    assert given < done


def test_a_long_drain_does_not_keep_the_host_from_being_looked_after(host: Host) -> None:
    bring_up(host)
    host.engine.gate["drain"] = threading.Event()
    task = {"id": "t1", "kind": "drain", "node_name": "host-1", "timeout": 300}
    host.plane.say(desired("g2", "run", lead=True, tasks=[task]))
    until(lambda: "drain" in host.engine.calls)
    host.plane.say(desired("g3", "run", lead=True, tasks=[task], version="1.36.3"))
    until(lambda: "g3" in repr(host.running.agent.reconciler.wanted))
    before = host.engine.calls.count("configure")
    until(lambda: host.engine.calls.count("configure") > before + 2)
    assert not any(call.startswith("upgrade") for call in host.engine.calls), "not beside a task"
    host.engine.gate["drain"].set()
    host.done("g3")
    assert "upgrade 1.36.3" in host.engine.calls


def test_heartbeats_go_on_while_the_engine_works(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paletteops_agent.central.HEARTBEAT_SECONDS", 0.05)
    host.engine.gate["bootstrap"] = threading.Event()
    host.plane.say(desired("g1", "bootstrap"))
    until(lambda: "bootstrap" in host.engine.calls)
    before = len(host.plane.heartbeats)
    host.running.agent.central._heartbeat_due = 0.0
    host.running.agent.central.report_wake.set()
    until(lambda: len(host.plane.heartbeats) > before + 3)
    host.engine.gate["bootstrap"].set()
    host.done("g1")


def test_a_desired_state_that_cannot_be_read_is_said_and_the_one_before_holds(host: Host) -> None:
    bring_up(host)
    broken = desired("g2", "run")
    broken["cluster"]["kubernetes"]["version"] = "latest"
    host.plane.say(broken)
    report = host.observed(
        error={"reason": "DesiredStateUnreadable", "message": "desired.cluster.kubernetes.version is 'latest'"}
    )
    assert report["phase"] == "running"


def test_the_plane_goes_away_and_comes_back(host: Host) -> None:
    bring_up(host)
    host.plane.close()
    before = host.engine.calls.count("configure")
    host.running.agent.reconciler.wake.set()
    until(lambda: host.engine.calls.count("configure") > before)
    host.plane.say(desired("g2", "run", version="1.36.3"))
    host.plane.again()
    assert host.done("g2")["node"]["kubernetes_version"] == "1.36.3"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("generation"), "desired.generation is None"),
        (lambda content: content["cluster"].update(step="dance"), "desired.cluster.step is 'dance'; there are prepare"),
        (lambda content: content["cluster"].update(member=None), "desired.cluster.member is no object"),
        (lambda content: content["cluster"]["member"].update(node_name="../x"), "member.node_name is '../x'"),
        (lambda content: content["cluster"]["kubernetes"].update(pack="../x"), "kubernetes.pack is '../x'"),
        (lambda content: content["cluster"]["kubernetes"].update(kubeadm_override="["), "kubeadm_override is neither"),
        (lambda content: content["cluster"].update(tasks=[{"id": "1", "kind": "dance"}]), "of the kind 'dance'"),
        (lambda content: content["cluster"].update(peers="x"), "desired.cluster.peers is no list"),
    ],
)
def test_what_a_desired_state_must_be(change: Any, said: str) -> None:
    content = desired("g1", "run")
    change(content)
    with pytest.raises(DesiredError) as caught:
        wire.read(content)
    assert said in str(caught.value)


def test_vip_skip_leaves_the_address_to_others() -> None:
    cluster = wire.read(desired("g1", "run"), vip_skip=True).cluster
    assert cluster is not None and cluster.endpoint.type == "External"
