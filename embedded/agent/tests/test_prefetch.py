# SPDX-License-Identifier: GPL-3.0-or-later
"""A member gets the content of what it is to run next while it serves, from a plane that is slow or wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bundles import Keys, Maker
from stock import Contents, StockedEngine
from support import FakePlane, Json, RunningAgent, desired, simulated, until, user_data

from paletteops_agent.config import Configuration, Trust
from paletteops_agent.desired import DesiredError, read
from paletteops_agent.engine import EngineError, Surroundings

OLD, NEW, NEWER = "1.35.4", "1.36.3", "1.36.4"
ADMIT = {"id": "t1", "kind": "admit", "member_uid": "host-2", "control_plane": False}
DRAIN = {"id": "t2", "kind": "drain", "node_name": "host-1", "timeout": 300}


def wanted(generation: str, after: str | None = None, step: str = "run", **parts: Any) -> Json:
    content = desired(generation, step, lead=True, **parts)
    content["cluster"]["kubernetes"]["next_version"] = after
    return content


class Host:
    """A member with one version, and a plane that has bundles of others."""

    def __init__(self, folder: Path, plane: FakePlane) -> None:
        self.plane = plane
        self.maker = Maker(folder / "made", Keys(folder / "keys"), NEW)
        self.contents = Contents(
            plane, self.maker.make(), **{NEWER: Maker(folder / "m", self.maker.keys, NEWER).make()}
        )
        root, options = folder / "host-1", simulated(folder, api=False).options
        self.folder = root / "opt/spectrocloud/content"
        self.engine = StockedEngine(Surroundings(root, options))
        self.engine.put(OLD)
        configuration = Configuration("simulated", Trust(self.maker.keys.public), options)
        self.running = RunningAgent(root, user_data(plane.url), configuration, engine=self.engine)

    def done(self, generation: str) -> Json:
        until(lambda: self.plane.observed.get("generation") == generation, what=self.plane.observed)
        return self.plane.observed

    def hang(self) -> threading.Event:
        """The plane has the next request for content, and answers when this is set."""
        self.contents.gate = threading.Event()
        return self.contents.gate

    def asked(self, version: str = NEW) -> int:
        return len(self.plane.of("GET", f"version={version}&"))

    def failed(self, reason: str) -> Json:
        until(lambda: (self.plane.observed.get("error") or {}).get("reason") == reason, what=self.plane.observed)
        return self.plane.observed

    def kept(self) -> list[Path]:
        """What lies where content is downloaded and unpacked."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def configured_again(self) -> None:
        before = self.engine.calls.count("configure")
        until(lambda: self.engine.calls.count("configure") > before + 1)

    def versions(self) -> list[str]:
        return [item["version"] for item in self.plane.observed["content"]]


@pytest.fixture
def host(tmp_path: Path, plane: FakePlane) -> Iterator[Host]:
    found = Host(tmp_path, plane)
    with found.running:
        plane.say(desired("g1", "bootstrap"))
        found.done("g1")
        yield found


def test_work_goes_on_while_content_comes(host: Host) -> None:
    gate = host.hang()
    host.plane.say(wanted("g2", NEW, tasks=[ADMIT]))
    until(lambda: host.asked() == 1 and "host-2" in host.plane.handed_over)
    until(lambda: host.plane.observed["tasks"].get("t1", {}).get("state") == "done")
    until(lambda: host.plane.observed["step"] == f"fetching edge-k8s {NEW}")
    host.configured_again()
    report = host.plane.observed
    assert (report["phase"], report["error"], report["generation"]) == ("running", None, "g1")
    assert host.versions() == [OLD] and report["fetches_ahead"] is True
    gate.set()
    report = host.done("g2")
    assert host.versions() == [OLD, NEW], "both are held"
    assert (report["phase"], report["node"]["kubernetes_version"], report["step"]) == ("running", OLD, "")
    assert host.kept() == []
    until(lambda: "ContentReady" in [event["reason"] for event in host.plane.events])
    host.plane.say(wanted("g3", version=NEW))
    assert host.done("g3")["node"]["kubernetes_version"] == NEW
    assert host.asked() == 1 and host.engine.calls.count(f"payload {NEW}") == 1


def test_content_of_the_version_to_run_at_once_also_comes_beside_the_work(host: Host) -> None:
    gate = host.hang()
    host.plane.say(wanted("g2", version=NEW))
    until(lambda: host.asked() == 1)
    host.configured_again()
    assert not any(call.startswith("upgrade") for call in host.engine.calls)
    gate.set()
    assert host.done("g2")["node"]["kubernetes_version"] == NEW


def test_a_bundle_that_is_not_trusted_leaves_a_running_member_until_it_is_replaced(host: Host, tmp_path: Path) -> None:
    good = host.contents.data
    host.contents.data = Maker(tmp_path / "forged", Keys(tmp_path / "others"), NEW).make().read_bytes()
    host.plane.say(wanted("g2", NEW))
    report = host.failed("SignatureWrong")
    assert (report["phase"], report["generation"]) == ("running", "g1")
    assert report["error"]["message"].startswith(f"edge-k8s-{NEW}-")
    first = len(host.plane.requests)
    tries = host.asked()
    until(lambda: host.asked() >= tries + 2)
    host.configured_again()
    said = [body["error"] for method, path, _, body in host.plane.requests[first:] if path.endswith("/observed")]
    assert all(error and error["reason"] == "SignatureWrong" for error in said), "it stands while it is tried again"
    assert host.versions() == [OLD] and host.plane.observed["node"]["ready"]
    host.contents.data, host.contents.tag = good, '"two"'
    report = host.done("g2")
    assert report["error"] is None and host.versions() == [OLD, NEW] and host.kept() == []
    host.plane.say(wanted("g3", version=NEW))
    assert host.done("g3")["node"]["kubernetes_version"] == NEW
    errors = [event["reason"] for event in host.plane.events if event["severity"] == "Error"]
    assert errors == ["SignatureWrong"], "it is told once"


def test_a_bundle_that_the_engine_refuses_is_fetched_anew(host: Host) -> None:
    host.engine.refusals = [EngineError("BundleIncomplete", "it lacks kubelet"), EngineError("ContainerdFailed", "no")]
    host.plane.say(wanted("g2", NEW))
    assert host.failed("BundleIncomplete")["phase"] == "running"
    assert host.failed("ContainerdFailed")["phase"] == "running"
    assert host.done("g2")["error"] is None
    assert host.asked() == 2, "not for what is no fault of the bundle"
    assert host.versions() == [OLD, NEW] and host.kept() == []


@pytest.mark.parametrize(("version", "reason"), [("1.34.4", "DowngradeRefused"), ("1.37.2", "VersionSkew")])
def test_a_version_that_cannot_come_next_is_refused_before_it_is_fetched(host: Host, version: str, reason: str) -> None:
    host.plane.say(wanted("g2", version))
    assert host.failed(reason)["phase"] == "running"
    assert host.asked(version) == 0
    host.plane.say(wanted("g3"))
    assert host.done("g3")["error"] is None


def given_up(host: Host) -> None:
    """The thread of a fetch that is not wanted any more has ended, and the reconciler has seen that."""
    payloads = host.running.agent.reconciler._payloads
    until(lambda: payloads._fetch is None, what="the fetch's end")


def test_a_version_that_is_wanted_no_more_while_it_is_fetched_is_not_taken_over(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    gate = host.hang()
    host.plane.say(wanted("g2", NEW))
    until(lambda: host.asked() == 1)
    host.plane.say(wanted("g3"))
    assert host.done("g3")["step"] == "", "it does not wait for the thread"
    gate.set()
    given_up(host)
    assert f"edge-k8s {NEW} is not fetched any further" in caplog.text, "it ends at the first piece"
    host.configured_again()
    assert host.versions() == [OLD] and f"payload {NEW}" not in host.engine.calls
    assert not host.folder.joinpath(f"edge-k8s-{NEW}-{host.maker.arch}").exists()
    host.plane.say(wanted("g4", NEW))
    host.done("g4")
    assert host.versions() == [OLD, NEW] and host.kept() == []


def test_another_version_comes_in_the_place_of_the_one_that_is_fetched(host: Host) -> None:
    gate = host.hang()
    host.plane.say(wanted("g2", NEW))
    until(lambda: host.asked() == 1)
    host.plane.say(wanted("g3", NEWER))
    until(lambda: host.running.agent.reconciler._payloads._wanted == ("edge-k8s", NEWER))
    assert host.asked(NEWER) == 0, "one fetch at a time"
    gate.set()
    host.done("g3")
    assert host.versions() == [OLD, NEWER] and f"payload {NEW}" not in host.engine.calls
    assert host.kept() == [], "what came of the other one is gone"


def test_what_was_fetched_in_vain_is_removed(host: Host) -> None:
    host.engine.gate = threading.Event()
    unpacked = host.folder / f"edge-k8s-{NEW}-{host.maker.arch}" / "bundle.json"
    host.plane.say(wanted("g2", tasks=[DRAIN]))
    until(lambda: "drain" in host.engine.calls)
    host.plane.say(wanted("g3", NEW, tasks=[DRAIN]))
    until(unpacked.exists)
    host.configured_again()
    assert f"payload {NEW}" not in host.engine.calls, "not beside a task"
    host.plane.say(wanted("g4", tasks=[DRAIN]))
    until(lambda: not unpacked.exists())
    host.engine.gate.set()
    host.done("g4")
    assert host.versions() == [OLD] and host.kept() == []


def test_a_host_that_leaves_gives_up_and_may_join_again_with_that_version(host: Host) -> None:
    gate = host.hang()
    host.plane.say(wanted("g2", NEW))
    until(lambda: host.asked() == 1)
    host.plane.say(wanted("g3", step="leave"))
    assert host.done("g3")["phase"] == "idle"
    host.plane.say(wanted("g4", step="prepare", version=NEW))
    until(lambda: host.plane.observed["cluster_uid"] == "cluster-1")
    assert host.asked() == 1, "not two writers of one file"
    gate.set()
    assert host.done("g4")["phase"] == "prepared"
    assert host.versions() == [OLD, NEW] and host.kept() == []


def test_an_agent_that_ends_does_not_wait_for_content(host: Host) -> None:
    host.hang()
    host.plane.say(wanted("g2", NEW))
    until(lambda: host.asked() == 1)
    host.running.agent.stop()
    until(lambda: not host.running.agent.reconciler._payloads.busy, 5)
    assert host.engine.versions() == [OLD]


@pytest.mark.parametrize(("given", "found"), [(None, ""), ("v1.36.3", NEW)])
def test_the_next_version_on_the_wire(given: str | None, found: str) -> None:
    cluster = read(wanted("g1", given)).cluster
    assert cluster is not None and cluster.next_version == found


def test_a_next_version_that_is_none() -> None:
    with pytest.raises(DesiredError, match="next_version is 'latest'"):
        read(wanted("g1", "latest"))
