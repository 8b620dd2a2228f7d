# SPDX-License-Identifier: GPL-3.0-or-later
"""Dealings with a plane: registration and its answers lost, credentials, reports, content."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bundles import Keys, Maker
from stock import Contents, StockedEngine
from support import FakePlane, RunningAgent, desired, refusal, simulated, until, user_data

from paletteops_agent import content, hostinfo, identity
from paletteops_agent.config import Configuration, Trust
from paletteops_agent.paths import Paths
from paletteops_agent.plane_client import make_plane
from paletteops_agent.service import Agent
from paletteops_agent.site import SiteError
from paletteops_agent.userdata import parse


def agent_of(folder: Path, plane: FakePlane, configuration: Configuration | None = None, **site: Any) -> Agent:
    return Agent(
        Paths(folder / "host-1"),
        parse(user_data(plane.url, **site)),
        configuration or simulated(folder),
        durable=False,
    )


def test_what_is_sent_to_register(tmp_path: Path, plane: FakePlane) -> None:
    agent = agent_of(tmp_path, plane, token="secret-token", tags={"site": 17, "edge": True}, projectName="retail")
    assert agent.poll() == 0.0
    _, path, headers, body = plane.requests[0]
    assert path == "/v1/edgehosts/register"
    assert headers["edgehosttoken"] == "secret-token"
    assert headers["projectname"] == "retail"
    assert "projectuid" not in headers
    assert len(headers["edgehostclaim"]) >= 32
    assert body["metadata"] == {"name": "host-1", "uid": "host-1", "labels": {"site": "17", "edge": "true"}}
    assert body["spec"]["device"]["archType"] == hostinfo.architecture()
    assert body["spec"]["device"]["hostType"] == "agent-mode"
    assert body["spec"]["host"]["hostUid"] == "host-1"
    assert body["status"]["health"]["agentVersion"]
    agent.report()
    assert plane.requests[-1][2]["authorization"] == "EdgeHost host-1:credential-1"


def test_a_token_that_ends_with_a_newline(tmp_path: Path, plane: FakePlane) -> None:
    assert agent_of(tmp_path, plane, token="secret-token\n").poll() == 0.0
    assert plane.requests[0][2]["edgehosttoken"] == "secret-token"


@pytest.mark.parametrize("name", ["Łódź", "Köln", "東京 1"])
def test_a_project_of_any_script(name: str, tmp_path: Path, plane: FakePlane) -> None:
    assert agent_of(tmp_path, plane, projectName=name).poll() == 0.0
    # the server of the tests reads headers as Latin-1
    assert plane.requests[0][2]["projectname"].encode("latin-1").decode() == name


@pytest.mark.parametrize("credential", ["", "a b", "a\nb", "ü", None])
def test_a_credential_that_no_header_can_hold_is_none(
    credential: Any, tmp_path: Path, plane: FakePlane, caplog: pytest.LogCaptureFixture
) -> None:
    content = {"spec": {"host": {"hostAuthToken": credential}}}
    plane.answers = lambda *_: (200, {}, json.dumps(content).encode())
    agent = agent_of(tmp_path, plane)
    assert agent.poll() > 0
    assert not agent.central.registered.is_set() and "holds no credential" in caplog.text


def test_an_address_that_no_resolver_takes(tmp_path: Path, plane: FakePlane, caplog: pytest.LogCaptureFixture) -> None:
    data = parse(user_data(f"http://{'a' * 64}.example"))
    agent = Agent(Paths(tmp_path / "host-1"), data, simulated(tmp_path), durable=False)
    assert agent.poll() > 0
    assert "cannot register with" in caplog.text


def test_the_claim_is_on_the_disk_before_it_is_shown(tmp_path: Path, plane: FakePlane) -> None:
    kept = []

    def look(method: str, path: str, headers: Any, body: Any) -> None:
        if path == "/v1/edgehosts/register":
            state = json.loads((tmp_path / "host-1/opt/spectrocloud/state/identity.json").read_text())
            kept.append((state["claim"], headers["edgehostclaim"]))

    plane.answers = look
    agent_of(tmp_path, plane).poll()
    assert kept[0][0] == kept[0][1] != ""


def test_after_a_lost_answer_the_same_claim_is_shown_again(tmp_path: Path, plane: FakePlane) -> None:
    plane.answers = lambda *_: (200, {"Content-Length": "1000", "Connection": "close"}, b"{")
    assert agent_of(tmp_path, plane).poll() > 0
    plane.answers = lambda *_: None
    agent = agent_of(tmp_path, plane)
    assert agent.poll() == 0.0
    claims = [headers["edgehostclaim"] for _, _, headers, _ in plane.of("POST", "/register")]
    assert len(claims) == 2 and len(set(claims)) == 1
    assert agent.identity.credential == "credential-1"


def test_files_with_secrets_are_for_their_owner_alone(tmp_path: Path, plane: FakePlane) -> None:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    state = tmp_path / "host-1/opt/spectrocloud/state"
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "identity.json").stat().st_mode & 0o777 == 0o600
    assert "credential-1" not in repr(agent.identity)


def test_a_registration_is_kept_over_restarts(tmp_path: Path, plane: FakePlane) -> None:
    agent_of(tmp_path, plane).poll()
    agent = agent_of(tmp_path, plane)
    assert agent.central.registered.is_set()
    agent.report()
    assert plane.registrations == 1


@pytest.mark.parametrize(
    ("status", "code", "way_out"),
    [
        (401, "InvalidRegistrationToken", "check stylus.site.edgeHostToken"),
        (401, "ExpiredRegistrationToken", "another expiry"),
        (401, "InactiveRegistrationToken", "activate the token"),
        (409, "AlreadyRegisteredEdgeHostDevice", "delete the record of this host"),
        (400, "ProjectUidIsEmpty", "ProjectUidIsEmpty: no"),
    ],
)
def test_a_refused_registration_says_why_once_and_is_tried_again(
    status: int, code: str, way_out: str, tmp_path: Path, plane: FakePlane, caplog: pytest.LogCaptureFixture
) -> None:
    plane.answers = lambda *_: refusal(status, code)
    agent = agent_of(tmp_path, plane, token="secret-token")
    assert agent.poll() > 0
    assert agent.poll() > 0
    said = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(said) == 1 and code in said[0] and way_out in said[0]
    assert "secret-token" not in caplog.text
    plane.answers = lambda *_: None
    assert agent.poll() == 0.0


def test_something_else_than_a_plane(tmp_path: Path, plane: FakePlane, caplog: pytest.LogCaptureFixture) -> None:
    plane.answers = lambda *_: (200, {}, b"<html>")
    assert agent_of(tmp_path, plane).poll() > 0
    assert "is this address a management plane's" in caplog.text


def refuse_all(method: str, path: str, headers: Any, body: Any) -> Any:
    if path == "/v1/edgehosts/register":
        return None
    return refusal(401, "UnknownEdgeHost")


def test_a_host_whose_record_is_gone_does_not_register_by_itself(tmp_path: Path, plane: FakePlane) -> None:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    plane.answers = refuse_all
    agent.poll()
    assert not agent.central.registered.is_set()
    agent.poll()
    again = agent_of(tmp_path, plane)
    again.poll()
    assert plane.registrations == 1
    plane.answers = lambda *_: None
    other = agent_of(tmp_path, plane, token="another-token")
    assert other.poll() == 0.0
    claims = {headers["edgehostclaim"] for _, _, headers, _ in plane.of("POST", "/register")}
    assert plane.registrations == 2 and len(claims) == 2


def test_a_member_does_not_go_over_to_another_plane(
    tmp_path: Path, plane: FakePlane, caplog: pytest.LogCaptureFixture
) -> None:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    agent.journal.note(member=True, cluster_uid="cluster-1")
    plane.answers = refuse_all
    agent.poll()
    other = agent_of(tmp_path, plane, token="another-token")
    assert other.poll() > 0
    assert "does not register with another one before it has left" in caplog.text
    assert plane.registrations == 1


def test_another_machine_with_the_same_disk(tmp_path: Path, plane: FakePlane) -> None:
    machine = tmp_path / "host-1/etc/machine-id"
    machine.parent.mkdir(parents=True)
    machine.write_text("a" * 32)
    agent_of(tmp_path, plane)
    machine.write_text("b" * 32)
    with pytest.raises(identity.IdentityError, match="is that of another machine"):
        agent_of(tmp_path, plane)


def test_another_name_for_a_registered_host(tmp_path: Path, plane: FakePlane) -> None:
    agent_of(tmp_path, plane).poll()
    with pytest.raises(identity.IdentityError, match="'host-2', but this host is registered as 'host-1'"):
        agent_of(tmp_path, plane, uid="host-2")


def test_a_wrong_clock_is_said(tmp_path: Path, plane: FakePlane, caplog: pytest.LogCaptureFixture) -> None:
    def answer(method: str, path: str, headers: Any, body: Any) -> Any:
        if path != "/v1/edgehosts/register":
            return None
        body["spec"]["host"]["hostAuthToken"] = "c"
        return 200, {"Date": "Thu, 01 Jan 2015 00:00:00 GMT"}, json.dumps(body).encode()

    plane.answers = answer
    agent = agent_of(tmp_path, plane)
    agent.poll()
    agent.report()
    assert "set up time synchronisation" in caplog.text


def test_polls_tell_what_is_known_and_back_off_when_the_plane_fails(tmp_path: Path, plane: FakePlane) -> None:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    assert agent.poll() == 0.0
    plane.answers = lambda *_: refusal(500, "Internal")
    waits = [agent.poll() for _ in range(4)]
    assert all(waits)
    assert plane.of("GET", "desired")[1][1].endswith("desired?known=g0&wait=280")


def test_a_plane_that_sends_its_hosts_away_is_not_asked_in_a_loop(tmp_path: Path, plane: FakePlane) -> None:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    plane.answers = lambda *_: (204, {}, b"")
    assert agent.poll() > 0


def test_what_the_management_api_tells_a_host(
    tmp_path: Path, plane: FakePlane, caplog: pytest.LogCaptureFixture
) -> None:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    plane.config["tunnelConfig"]["remoteSsh"] = "enabled"
    plane.say(desired("g1", "prepare"))
    agent.poll()
    kept = agent.paths.cluster_definition
    assert kept.read_text() == "the definition" and kept.stat().st_mode & 0o777 == 0o600
    assert caplog.text.count("remote SSH is enabled for this host") == 1
    plane.say(desired("g2"))
    agent.poll()
    assert not kept.exists()
    plane.answers = lambda method, path, headers, body: refusal(500, "Internal") if "/v1/edgehosts/" in path else None
    plane.say(desired("g3", "prepare"))
    assert agent.poll() == 0.0, "a failure there is no failure"


def test_a_clock_that_jumps(tmp_path: Path, plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    agent.report()
    for jump in (-1e9, 1e9):
        monkeypatch.setattr("time.time", lambda jump=jump: 1.7e9 + jump)
        assert 40 < agent.report() <= 66
        assert agent.poll() >= 0.0
    assert len(plane.heartbeats) == 1


def test_events_wait_for_the_plane(tmp_path: Path, plane: FakePlane) -> None:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    plane.answers = lambda *_: refusal(503, "Away")
    for number in range(300):
        agent.central.event("Something", f"number {number}")
    agent.report()
    plane.answers = lambda *_: None
    while len(plane.events) < 200:
        agent.report()
    assert [event["message"] for event in plane.events] == [f"number {number}" for number in range(100, 300)]
    assert set(plane.events[0]) == {"at", "reason", "message", "severity"}


def test_an_unchanged_state_is_not_sent_again(tmp_path: Path, plane: FakePlane) -> None:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    pause = agent.report()
    assert 50 < pause <= 66
    agent.report()
    assert len(plane.of("PUT", "observed")) == 1
    assert len(plane.heartbeats) == 1
    assert plane.heartbeats[0]["state"] == "healthy"


def test_the_limit_of_calls_is_respected(tmp_path: Path, plane: FakePlane) -> None:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    plane.answers = lambda *_: refusal(429, "TooManyRequests", **{"Retry-After": "9"})
    assert agent.report() >= 9


# --- content ---


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


@pytest.fixture
def bundle(tmp_path: Path, keys: Keys) -> Path:
    (tmp_path / "made").mkdir()
    maker = Maker(tmp_path / "made", keys)
    maker.members["images/large.tar"] = (os.urandom(1 << 20), "0644")
    return maker.make()


@pytest.fixture
def registered(tmp_path: Path, plane: FakePlane) -> Iterator[Agent]:
    agent = agent_of(tmp_path, plane)
    agent.poll()
    yield agent


def fetch(agent: Agent) -> Path:
    return agent.central.bundle("edge-k8s", "1.35.4", lambda step: None)


def test_content_is_downloaded(registered: Agent, plane: FakePlane, bundle: Path) -> None:
    contents = Contents(plane, bundle)
    path = fetch(registered)
    assert path.read_bytes() == contents.data
    asked = plane.of("GET", "content")[0][1]
    assert asked.endswith(f"content?pack=edge-k8s&version=1.35.4&architecture={hostinfo.architecture()}")
    assert fetch(registered) == path, "whole already"
    registered.central.used(path, True)
    assert os.listdir(path.parent) == []


def test_a_download_goes_on_where_it_was_cut_off(registered: Agent, plane: FakePlane, bundle: Path) -> None:
    contents = Contents(plane, bundle)
    contents.cut = [300_000, 200_000]
    for _ in range(2):
        with pytest.raises(SiteError, match="did not come whole"):
            fetch(registered)
    assert fetch(registered).read_bytes() == contents.data
    assert contents.ranges == ["", "bytes=300000-", "bytes=500000-"]


def test_a_file_that_changed_meanwhile_is_downloaded_anew(registered: Agent, plane: FakePlane, bundle: Path) -> None:
    contents = Contents(plane, bundle)
    contents.cut = [300_000]
    with pytest.raises(SiteError):
        fetch(registered)
    contents.tag, contents.data = '"two"', contents.data[::-1]
    assert fetch(registered).read_bytes() == contents.data


def test_content_that_there_is_not(registered: Agent, plane: FakePlane) -> None:
    plane.answers = lambda *_: refusal(404, "ResourceNotFound", "no content bundle edge-k8s 1.35.4: there is none")
    with pytest.raises(SiteError) as caught:
        fetch(registered)
    assert caught.value.reason == "ContentMissing"
    assert "there is none" in caught.value.message


def test_content_is_brought_before_anything_else(tmp_path: Path, plane: FakePlane, bundle: Path, keys: Keys) -> None:
    from paletteops_agent.engine import Surroundings

    contents = Contents(plane, bundle)
    good, contents.data = contents.data, contents.data[: len(contents.data) // 2]
    options = simulated(tmp_path).options
    engine = StockedEngine(Surroundings(tmp_path / "host-1", options))
    configuration = Configuration("simulated", Trust(keys.public), options)
    with RunningAgent(tmp_path / "host-1", user_data(plane.url), configuration, engine=engine):
        plane.say(desired("g1", "prepare"))
        until(lambda: (plane.observed.get("error") or {}).get("reason") == "BundleTruncated")
        assert plane.observed["phase"] == "failed"
        contents.data, contents.tag = good, '"good"'
        until(lambda: plane.observed.get("phase") == "prepared")
    assert plane.observed["content"] == [{"pack": "edge-k8s", "version": "1.35.4"}]
    kept = [path for path in (tmp_path / "host-1/opt/spectrocloud/content").rglob("*") if path.is_file()]
    assert kept == [], "what was taken over goes"


def test_content_that_came_with_the_image(tmp_path: Path, plane: FakePlane, bundle: Path, keys: Keys) -> None:
    from paletteops_agent.engine import Surroundings

    options = simulated(tmp_path).options
    engine = StockedEngine(Surroundings(tmp_path / "host-1", options))
    content.unpack(bundle, tmp_path / "host-1/opt/spectrocloud/content", Trust(keys.public), hostinfo.architecture())
    configuration = Configuration("simulated", Trust(keys.public), options)
    with RunningAgent(tmp_path / "host-1", user_data(plane.url), configuration, engine=engine):
        plane.say(desired("g1", "prepare"))
        until(lambda: plane.observed.get("phase") == "prepared")
    assert plane.of("GET", "content") == []


# --- logs, proxies ---


def test_logs_hold_no_secrets(registered: Agent, tmp_path: Path) -> None:
    import tarfile

    registered.collect_logs(tmp_path / "logs.tar.gz")
    with tarfile.open(tmp_path / "logs.tar.gz") as archive:
        texts = {name: archive.extractfile(name).read().decode() for name in archive.getnames()}  # type: ignore[union-attr]
    assert "host-1" in texts["facts.json"]
    for text in texts.values():
        assert "credential-1" not in text
        assert registered.identity.claim not in text


def test_proxies_of_user_data_come_before_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://environment.example:1")
    monkeypatch.setenv("NO_PROXY", "other.example")
    data = parse(user_data("plane.example", network={"httpsProxy": "http://file.example:1"}))
    assert make_plane(data).proxy == "http://file.example:1"
    assert make_plane(parse(user_data("plane.example"))).proxy == "http://environment.example:1"
    monkeypatch.setenv("NO_PROXY", "plane.example")
    assert make_plane(parse(user_data("plane.example"))).proxy == ""


def test_two_agents_on_one_root(tmp_path: Path) -> None:
    from paletteops_agent.service import AlreadyRunning, only_one

    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with only_one(Paths(tmp_path)):
            held.set()
            done.wait(10)

    threading.Thread(target=hold, daemon=True).start()
    assert held.wait(10)
    with pytest.raises(AlreadyRunning, match="another agent runs on"), only_one(Paths(tmp_path)):
        pass
    done.set()
