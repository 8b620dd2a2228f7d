# SPDX-License-Identifier: GPL-3.0-or-later
"""What agents call under ``/embedded/v1/hosts/``: waiting, join material, content, logs, events."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import io
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from agents import MATERIAL, Agent, device, kubeconfig, make_token
from clusters import profile
from conftest import Api, InProcess

from paletteops_plane.app import create_app
from paletteops_plane.errors import ApiError
from paletteops_plane.hosts_api import CALLS
from paletteops_plane.kubernetes import published
from paletteops_plane.plane import Plane, Settings
from paletteops_plane.provisioner import engine

HOSTS = "/v1/edgehosts"
#: Seconds within which an answer counts as one at once.
AT_ONCE = 5.0


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.fixture
def agents(client: InProcess, tenant: Api, project: Api) -> list[Agent]:
    """Three hosts that are registered and have sent a heartbeat."""
    token = make_token(tenant, project.project)[1]
    made = [Agent(client, f"edge-{letter}", token) for letter in "abc"]
    for agent in made:
        assert agent.register().status_code == 200
        agent.beat()
    return made


def make_cluster(project: Api, *workers: str) -> str:
    """A cluster with the host edge-a as its control plane."""
    packs = [{"name": name, "tag": tag} for name, tag in PACKS]
    body = {
        "metadata": {"name": "edge"},
        "spec": {"template": {"type": "cluster", "cloudType": "edge-native", "packs": packs}},
    }
    pools = [pool("cp", "edge-a", control_plane=True)]
    pools += [pool("w", *workers)] if workers else []
    spec = {
        "cloudConfig": {"controlPlaneEndpoint": {"type": "VIP", "host": "192.0.2.254"}},
        "machinepoolconfig": pools,
        "profiles": [{"uid": profile(project, body)}],
    }
    uid: str = project.ok("POST", "/v1/spectroclusters/edge-native", {"metadata": {"name": "shop"}, "spec": spec})[
        "uid"
    ]
    return uid


PACKS = (("edge-native-byoi", "2.1.x"), ("edge-k8s", "1.36.x"), ("cni-bridge", "1.9.x"))


def pool(name: str, *hosts: str, control_plane: bool = False) -> dict[str, Any]:
    label = "control-plane" if control_plane else "worker"
    return {
        "cloudConfig": {"edgeHosts": [{"hostUid": uid} for uid in hosts]},
        "poolConfig": {"name": name, "size": len(hosts), "isControlPlane": control_plane, "labels": [label]},
    }


def joining(agents: list[Agent], project: Api) -> str:
    """A cluster of edge-a whose worker edge-b finds join material."""
    uid = make_cluster(project, "edge-b")
    first, second = agents[:2]
    for _ in range(6):
        first.follow()
        state = second.desired()
        if state["cluster"]["step"] == "join":
            return uid
        second.follow()
    raise AssertionError(f"edge-b was not told to join: {state}")


# Waiting


def ask(agent: Agent, known: str, wait: float) -> Any:
    path = f"/embedded/v1/hosts/{agent.uid}/desired?known={known}&wait={wait}"
    return agent.client.client.request("GET", path, headers=agent.headers)


def in_turn(agent: Agent, *steps: Any) -> Any:
    """Run asynchronous steps on the loop of the client."""
    return agent.client.runner.run(*steps)


async def soon(task: asyncio.Task[httpx.Response]) -> httpx.Response:
    return await asyncio.wait_for(task, AT_ONCE)


def test_what_is_not_known_is_answered_at_once(agents: list[Agent]) -> None:
    state = agents[0].desired()
    assert state == {"generation": state["generation"], "reset": None, "logs": None, "cluster": None}
    assert agents[0].desired(known="another") == state
    response = agents[0].own("GET", f"desired?known={state['generation']}")
    assert (response.status_code, response.content) == (204, b"")


def test_without_a_change_the_answer_comes_when_the_wait_is_over(agents: list[Agent]) -> None:
    known = agents[0].desired()["generation"]
    began = time.monotonic()
    assert agents[0].own("GET", f"desired?known={known}&wait=0.2").status_code == 204
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("wait", ["-1", "301", "long"])
def test_a_wait_that_cannot_be_is_refused(agents: list[Agent], wait: str) -> None:
    assert code(agents[0].own("GET", f"desired?known=x&wait={wait}")) == (422, "InvalidValue")


def test_a_change_is_answered_at_once_while_others_go_on_waiting(agents: list[Agent], project: Api) -> None:
    known = agents[0].desired()["generation"]

    async def scene() -> None:
        polls = [asyncio.ensure_future(ask(agent, known, 60)) for agent in agents[:2]]
        await asyncio.sleep(0.1)
        assert not any(poll.done() for poll in polls)
        headers = {"ApiKey": project.key, "ProjectUid": project.project}
        asked = await project.client.client.request("PUT", f"{HOSTS}/edge-a/reset", headers=headers)
        assert asked.status_code == 204
        assert (await soon(polls[0])).json()["reset"]
        assert not polls[1].done()
        polls[1].cancel()

    in_turn(agents[0], scene())


def test_the_newest_request_of_a_host_takes_the_place_of_the_one_before(agents: list[Agent]) -> None:
    known = agents[0].desired()["generation"]

    async def scene() -> None:
        first = asyncio.ensure_future(ask(agents[0], known, 60))
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(ask(agents[0], known, 60))
        assert (await soon(first)).status_code == 204
        assert not second.done()
        second.cancel()

    in_turn(agents[0], scene())


def test_a_host_that_waits_is_refused_when_its_record_is_deleted(agents: list[Agent], project: Api) -> None:
    known = agents[0].desired()["generation"]

    async def scene() -> None:
        poll = asyncio.ensure_future(ask(agents[0], known, 60))
        await asyncio.sleep(0.1)
        headers = {"ApiKey": project.key, "ProjectUid": project.project}
        await project.client.client.request("DELETE", f"{HOSTS}/edge-a", headers=headers)
        assert code(await soon(poll)) == (401, "UnknownEdgeHost")

    in_turn(agents[0], scene())


def test_who_waits_is_answered_when_the_plane_ends(agents: list[Agent], plane: Plane) -> None:
    known = agents[0].desired()["generation"]

    async def scene() -> None:
        poll = asyncio.ensure_future(ask(agents[0], known, 60))
        await asyncio.sleep(0.1)
        for end in plane.ending:
            end()
        assert (await soon(poll)).status_code == 204
        assert (await soon(asyncio.ensure_future(ask(agents[0], known, 60)))).status_code == 204

    in_turn(agents[0], scene())


def test_a_report_of_one_host_is_news_for_another_at_once(agents: list[Agent], project: Api) -> None:
    uid = make_cluster(project, "edge-b")
    first, second = agents[:2]
    second.follow()
    known = second.desired()["generation"]

    async def scene() -> None:
        poll = asyncio.ensure_future(ask(second, known, 60))
        await asyncio.sleep(0.1)
        assert not poll.done()
        report = {"phase": "prepared", "cluster_uid": uid}
        path = "/embedded/v1/hosts/edge-a/observed"
        await first.client.client.request("PUT", path, headers=first.headers, json=report)
        peers = (await soon(poll)).json()["cluster"]["peers"]
        assert [peer["uid"] for peer in peers] == ["edge-a"]

    in_turn(second, scene())


# Reports


def test_a_report_of_another_form_is_refused_by_name(agents: list[Agent]) -> None:
    for report, field in (
        ({}, "phase"),
        ({"phase": "odd"}, "phase"),
        ({"phase": "idle", "tasks": {"t": {"state": "odd"}}}, "tasks.t.state"),
        ({"phase": "idle", "node": {"ready": "yes"}}, "node.name"),
    ):
        response = agents[0].own("PUT", "observed", report)
        assert code(response) == (422, "InvalidValue")
        assert field in response.json()["message"]


def test_a_body_that_is_too_large_is_refused(agents: list[Agent]) -> None:
    report = {"phase": "idle", "step": "x" * (1024 * 1024)}
    assert code(agents[0].own("PUT", "observed", report)) == (400, "InvalidRequest")


def test_what_happens_on_a_host_is_an_event_of_it(agents: list[Agent], project: Api) -> None:
    told = [
        {"at": "2026-03-01T11:59:00Z", "reason": "ContentImported", "message": "edge-k8s 1.36.3", "severity": "Normal"}
    ]
    assert agents[0].own("POST", "events", told).status_code == 204
    events = project.ok("GET", "/v1/events/components/edgehost/edge-a")["items"]
    assert [event["reason"] for event in events] == ["ContentImported", "Registered"]
    assert code(agents[0].own("POST", "events", [{**told[0], "severity": "Odd"}])) == (422, "InvalidValue")
    assert code(agents[0].own("POST", "events", told * 101)) == (422, "InvalidValue")
    for moment in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert code(agents[0].own("POST", "events", [{**told[0], "at": moment}])) == (422, "InvalidValue")


def test_of_many_events_the_newest_ones_are_kept(
    agents: list[Agent], project: Api, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_EVENTS", 30)
    uid = joining(agents, project)
    for start in range(0, 100, 50):
        told = [
            {"at": "2026-03-01T11:59:00Z", "reason": "Told", "message": str(number)}
            for number in range(start, start + 50)
        ]
        assert agents[0].own("POST", "events", told).status_code == 204
    for kind, owner in (("edgehost", "edge-a"), ("spectrocluster", uid)):
        events = project.ok("GET", f"/v1/events/components/{kind}/{owner}?limit=50")["items"]
        assert [event["message"].rpartition(" ")[2] for event in events] == [str(n) for n in range(99, 69, -1)]
    others = project.ok("GET", "/v1/events/components/edgehost/edge-b")["items"]
    assert [event["reason"] for event in others] == ["Registered"]
    # What the plane tells of a cluster itself goes by the same rule.
    project.ok("DELETE", f"/v1/spectroclusters/{uid}")
    assert len(plane.store.list("event", parent=uid)) == 30


def test_what_a_host_says_does_nothing_in_a_terminal(client: InProcess, tenant: Api, project: Api) -> None:
    bad = "\x1b]0;t\x07 \x9b31m\r\nnext\u202e\x00\x7f"
    agent = Agent(client, "edge-a", make_token(tenant, project.project)[1])
    body = device("edge-a", macAddress=bad)
    body["metadata"] |= {"name": f"n{bad}", "labels": {f"k{bad}": bad}}
    body["status"]["health"]["agentVersion"] = bad
    assert agent.register(body).status_code == 200
    uid = make_cluster(project)
    agent.follow()
    agent.report(
        phase="failed",
        cluster_uid=uid,
        step=bad,
        error={"reason": f"Bad{bad}", "message": bad},
        node={"name": bad, "ready": False},
        packs=[{"name": bad, "state": "Error", "message": bad}],
        later={bad: [bad]},
    )
    assert agent.own("POST", "events", [{"at": "2026-03-01T11:59:00Z", "reason": bad, "message": bad}]).is_success
    agent.beat(message=bad)
    packs = [{"name": bad, "type": "manifest", "version": bad, "condition": {"reason": "error", "message": bad}}]
    assert agent.v1("PATCH", "/packs/status", {"packs": packs}).status_code == 204
    for path in (
        f"{HOSTS}/edge-a",
        f"/v1/spectroclusters/{uid}",
        f"/v1/events/components/spectrocluster/{uid}",
        "/v1/events/components/edgehost/edge-a",
    ):
        shown = json.dumps(project.ok("GET", path), ensure_ascii=False)
        assert "next" in shown and shown.isprintable()
        assert "\\" not in shown, "JSON writes control characters with one"


# Join material


def test_join_material_comes_to_the_member_once(agents: list[Agent], project: Api) -> None:
    joining(agents, project)
    response = agents[1].own("GET", "join")
    assert response.json() == MATERIAL
    assert response.headers["cache-control"] == "no-store"
    assert code(agents[1].own("GET", "join")) == (404, "ResourceNotFound")


def test_join_material_is_for_that_member_alone(agents: list[Agent], project: Api) -> None:
    joining(agents, project)
    for other in (agents[0], agents[2]):
        assert code(other.own("GET", "join")) == (404, "ResourceNotFound")
        assert code(other.call("GET", "/embedded/v1/hosts/edge-b/join")) == (403, "OperationForbidden")
    assert agents[1].own("GET", "join").status_code == 200


def test_only_the_control_plane_gives_join_material_and_only_for_who_joins(agents: list[Agent], project: Api) -> None:
    joining(agents, project)
    for giver, member in ((agents[2], "edge-b"), (agents[1], "edge-b"), (agents[0], "edge-c"), (agents[0], "none")):
        assert code(giver.own("PUT", f"join/{member}", MATERIAL)) == (403, "OperationForbidden")
    while agents[1].desired()["cluster"]["step"] != "run":
        agents[1].follow()
        agents[0].follow()
    assert code(agents[0].own("PUT", "join/edge-b", MATERIAL)) == (403, "OperationForbidden")
    assert code(agents[1].own("GET", "join")) == (404, "ResourceNotFound")


def test_join_material_ends_after_fifteen_minutes_or_when_it_expires(
    agents: list[Agent], project: Api, plane: Plane
) -> None:
    joining(agents, project)
    for lifetime, expires in ((15 * 60, "2030-01-01T00:00:00Z"), (60, None)):
        now = plane.clock.now()
        ends = expires or now.replace(minute=now.minute + 1).isoformat()
        assert agents[0].own("PUT", "join/edge-b", {**MATERIAL, "expires_at": ends}).status_code == 204
        plane.clock.advance(lifetime)
        response = agents[1].own("GET", "join")
        assert code(response) == (404, "ResourceNotFound")
        joining_again(agents)
    past = {**MATERIAL, "expires_at": "2026-03-01T00:00:00Z"}
    assert code(agents[0].own("PUT", "join/edge-b", past)) == (422, "InvalidValue")


def joining_again(agents: list[Agent]) -> None:
    """The lead was asked for other material, and gives it."""
    agents[0].beat()
    agents[1].beat()
    for _ in range(4):
        if agents[1].desired()["cluster"]["step"] == "join":
            return
        agents[1].follow()
        agents[0].follow()
    raise AssertionError("edge-b does not join")


def test_material_that_was_lost_is_asked_for_again(agents: list[Agent], project: Api, plane: Plane) -> None:
    joining(agents, project)
    plane.join_material.forget("edge-b")
    assert code(agents[1].own("GET", "join")) == (404, "ResourceNotFound")
    joining_again(agents)
    assert agents[1].own("GET", "join").status_code == 200


def test_a_host_that_took_the_place_of_a_member_gets_nothing(agents: list[Agent], project: Api, plane: Plane) -> None:
    joining(agents, project)
    # Its record cannot be deleted while the cluster uses it; were it replaced all the same, this must hold.
    host = plane.store.get("edgehost", "edge-b")
    assert host is not None
    plane.store.delete("edge-b")
    second = Agent(agents[1].client, "edge-b", agents[1].token, claim="other")
    assert second.register().status_code == 200
    assert code(second.own("GET", "join")) == (404, "ResourceNotFound")
    assert code(agents[1].own("GET", "join")) == (401, "UnknownEdgeHost")


def test_join_material_is_neither_stored_nor_shown(agents: list[Agent], project: Api, plane: Plane) -> None:
    uid = joining(agents, project)
    secret = MATERIAL["token"]
    written = b"".join(path.read_bytes() for path in plane.settings.data.parent.glob("plane.sqlite*"))
    assert str(secret).encode() not in written
    assert str(secret) not in repr(plane.join_material.__dict__)
    for path in (f"/v1/spectroclusters/{uid}", f"{HOSTS}/edge-a", f"{HOSTS}/edge-b"):
        assert str(secret) not in project.call("GET", path).text
    wrong = {**MATERIAL, "ca_cert_hashes": []}
    assert str(secret) not in agents[0].own("PUT", "join/edge-b", wrong).text


def test_the_kubeconfig_comes_from_the_control_plane_alone(agents: list[Agent], project: Api) -> None:
    uid = joining(agents, project)
    for agent in agents[1:]:
        assert code(agent.own("PUT", "kubeconfig", {"content": "kind: Foreign"})) == (403, "OperationForbidden")
    assert project.call("GET", f"/v1/spectroclusters/{uid}/assets/adminKubeconfig").text == PUBLISHED


#: What the hosts of the tests publish; their cluster's endpoint is in it.
PUBLISHED = kubeconfig("https://192.0.2.254:6443")


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("    client-key-data: a2V5\n", "    exec: {apiVersion: v1, command: /bin/sh}\n", "users.0.user.exec"),
        ("    client-key-data: a2V5\n", "    auth-provider: {name: gcp}\n", "users.0.user.auth-provider"),
        ("    client-key-data: a2V5\n", "    client-key: /etc/shadow\n", "users.0.user.client-key"),
        ("    client-key-data: a2V5\n", "    tokenFile: /etc/shadow\n", "users.0.user.tokenFile"),
        ("    client-key-data: a2V5\n", '    token: "a\\e"\n', "users.0.user.token"),
        ("a2V5", "'%%%'", "users.0.user.client-key-data"),
        ("    server:", "    proxy-url: http://192.0.2.9\n    server:", "clusters.0.cluster.proxy-url"),
        ("    server:", "    insecure-skip-tls-verify: true\n    server:", "insecure-skip-tls-verify"),
        ("certificate-authority-data: Y2E=", "certificate-authority: /etc/ca", "certificate-authority"),
        ("https://192.0.2.254:6443", "https://192.0.2.253:6443", "https://192.0.2.254:6443"),
        ("https://192.0.2.254:6443", "https://192.0.2.254:443", "https://192.0.2.254:6443"),
        ("https://192.0.2.254:6443", "http://192.0.2.254:6443", "https://192.0.2.254:6443"),
        ("https://192.0.2.254:6443", "https://192.0.2.254:6443@198.51.100.1", "https://192.0.2.254:6443"),
        ("https://192.0.2.254:6443", "https://a@127.0.0.1:6443/path", "https://192.0.2.254:6443"),
        ("https://192.0.2.254:6443", "'https://['", "https://192.0.2.254:6443"),
        ("preferences: {}", "extensions: []", "extensions"),
        ("kind: Config", "kind: Other", "kind"),
        ("name: kubernetes-admin\n", 'name: "\\e[31m"\n', "users.0.name"),
        (PUBLISHED, "kind: Config\n", "clusters"),
        (PUBLISHED, "\x00\x1b[31m not yaml: [", "the whole"),
        (PUBLISHED, "[" * 100_000, "the whole"),
        (PUBLISHED, "- a list", "the whole"),
    ],
)
def test_a_kubeconfig_that_users_may_not_get_is_refused(
    agents: list[Agent], project: Api, before: str, after: str, named: str
) -> None:
    uid = joining(agents, project)
    assert before in PUBLISHED
    response = agents[0].own("PUT", "kubeconfig", {"content": PUBLISHED.replace(before, after)})
    assert code(response) == (422, "InvalidValue")
    assert named in response.json()["message"] and "\x1b" not in response.json()["message"]
    assert project.call("GET", f"/v1/spectroclusters/{uid}/assets/adminKubeconfig").text == PUBLISHED


def test_a_simulated_kubernetes_is_on_the_machine_of_who_tries_it(agents: list[Agent], project: Api) -> None:
    uid = joining(agents, project)
    content: dict[str, Any] = yaml.safe_load(kubeconfig("http://127.0.0.1:40123"))
    content["users"][0]["user"] = {"token": "a-token"}
    assert agents[0].own("PUT", "kubeconfig", {"content": json.dumps(content)}).status_code == 204
    assert project.call("GET", f"/v1/spectroclusters/{uid}/assets/kubeconfig").json() == content


def test_an_endpoint_of_ipv6_stands_in_brackets() -> None:
    text = kubeconfig("https://[2001:db8::10]:6443")
    assert published.checked(text, "2001:db8::10", 6443) == text
    with pytest.raises(ApiError, match=r"https://\[2001:db8::11\]:6443"):
        published.checked(text, "2001:db8::11", 6443)


def test_users_get_of_a_kubeconfig_what_the_plane_read_in_it(agents: list[Agent], project: Api) -> None:
    """Readers of YAML do not agree about a key that is there twice."""
    uid = joining(agents, project)
    twice = PUBLISHED.replace("  user:\n", "  user: {exec: {command: /bin/sh}}\n  user:\n")
    assert agents[0].own("PUT", "kubeconfig", {"content": twice}).status_code == 204
    assert project.call("GET", f"/v1/spectroclusters/{uid}/assets/kubeconfig").text == PUBLISHED


def test_a_restart_loses_no_host_and_no_member(
    agents: list[Agent], project: Api, plane: Plane, settings: Settings
) -> None:
    joining(agents, project)
    plane.close()
    again = Plane.open(settings)
    client = InProcess(create_app(again))
    try:
        for agent in agents:
            agent.client = client
            agent.beat()
        assert code(agents[1].own("GET", "join")) == (404, "ResourceNotFound")
        joining_again(agents)
        assert agents[1].own("GET", "join").status_code == 200
    finally:
        client.close()
        again.close()


# Content


@pytest.fixture
def bundles(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    folder = tmp_path / "content"
    folder.mkdir()
    (folder / "edge-k8s-1.36.3-amd64.tar.zst").write_bytes(bytes(range(256)) * 8)
    (folder / "edge-k8s-1.35.4-rc.1-arm64.tar.zst").write_bytes(b"other")
    (folder / "notes.txt").write_text("no bundle")
    (tmp_path / "secret-1.0-amd64.tar.zst").write_text("outside")
    yield dataclasses.replace(settings, content=folder)


@pytest.fixture
def fetching(bundles: Settings, plane: Plane, agents: list[Agent]) -> Agent:
    plane.settings = bundles
    return agents[0]


def get(agent: Agent, pack: str, version: str, architecture: str, **headers: str) -> httpx.Response:
    query = {"pack": pack, "version": version, "architecture": architecture}
    return agent.own("GET", "content", params=query, headers=headers)


def test_a_bundle_is_served_whole_and_in_parts(fetching: Agent) -> None:
    whole = get(fetching, "edge-k8s", "1.36.3", "amd64")
    assert whole.content == bytes(range(256)) * 8
    tag = whole.headers["etag"]
    part = get(fetching, "edge-k8s", "1.36.3", "amd64", Range="bytes=2040-", **{"If-Range": tag})
    assert (part.status_code, part.content) == (206, bytes(range(248, 256)))
    assert part.headers["content-range"] == "bytes 2040-2047/2048"
    changed = get(fetching, "edge-k8s", "1.36.3", "amd64", Range="bytes=2040-", **{"If-Range": '"other"'})
    assert (changed.status_code, len(changed.content)) == (200, 2048)
    assert get(fetching, "edge-k8s", "1.36.3", "amd64", Range="bytes=5000-").status_code == 416
    assert get(fetching, "edge-k8s", "1.35.4-rc.1", "arm64").content == b"other"


@pytest.mark.parametrize(
    ("pack", "version", "architecture"),
    [("edge-k8s", "1.36.3", "arm64"), ("other", "1.0", "amd64"), ("../secret", "1.0", "amd64"), ("", "", "")],
)
def test_a_bundle_that_is_not_there_is_answered_with_what_is(
    fetching: Agent, pack: str, version: str, architecture: str
) -> None:
    response = get(fetching, pack, version, architecture)
    assert code(response) == (404, "ResourceNotFound")
    assert response.json()["details"]["available"] == [
        {"pack": "edge-k8s", "version": "1.35.4-rc.1", "architecture": "arm64"},
        {"pack": "edge-k8s", "version": "1.36.3", "architecture": "amd64"},
    ]


def test_without_a_folder_the_way_out_is_named(agents: list[Agent]) -> None:
    response = get(agents[0], "edge-k8s", "1.36.3", "amd64")
    assert code(response) == (404, "ResourceNotFound")
    assert "--content" in response.json()["message"]


# Logs


def archive(text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("agent.log")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def unpacked(packed: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        return {member.name: stream.read() for member in tar if (stream := tar.extractfile(member))}


def test_logs_of_the_hosts_of_a_cluster(agents: list[Agent], project: Api, plane: Plane) -> None:
    uid = joining(agents, project)
    path = f"/v1/spectroclusters/{uid}/features/logFetcher"
    request = project.ok("POST", path, {})["uid"]
    download = f"/v1/spectroclusters/features/logFetcher/{request}/download"
    assert project.ok("GET", path)["status"]["state"] == "InProgress"
    project.refused(404, "ResourceNotFound", "GET", download)
    for agent in agents[:2]:
        assert agent.desired()["logs"] == request
        assert agent.own("PUT", f"logs/{request}", content=archive(agent.uid)).status_code == 204
        assert agent.desired()["logs"] is None
    assert project.ok("GET", path)["status"]["state"] == "Completed"
    assert set(unpacked(project.call("GET", download).content)) == {"edge-a.tar.gz", "edge-b.tar.gz"}
    one = project.call("GET", f"{download}?fileName=edge-b.tar.gz").content
    assert unpacked(one) == {"agent.log": b"edge-b"}
    project.refused(404, "ResourceNotFound", "GET", f"{download}?fileName=../plane.sqlite")
    folder = plane.settings.data.with_name("plane.sqlite.logs")
    assert folder.stat().st_mode & 0o077 == 0


def test_logs_that_nobody_asked_for_are_refused(agents: list[Agent], project: Api, plane: Plane) -> None:
    uid = joining(agents, project)
    request = project.ok("POST", f"/v1/spectroclusters/{uid}/features/logFetcher", {})["uid"]
    good = archive("x")
    assert code(agents[2].own("PUT", f"logs/{request}", content=good)) == (404, "ResourceNotFound")
    assert code(agents[0].own("PUT", "logs/other", content=good)) == (404, "ResourceNotFound")
    assert code(agents[0].own("PUT", f"logs/{request}", content=b"plain text")) == (400, "InvalidRequest")
    folder = plane.settings.data.with_name("plane.sqlite.logs")
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert agents[0].own("PUT", f"logs/{request}", content=gzip.compress(b"")).status_code == 204
    assert code(agents[0].own("PUT", f"logs/{request}", content=good)) == (404, "ResourceNotFound")


# The description


def test_the_description_holds_what_agents_call(tenant: Api) -> None:
    paths = tenant.ok("GET", "/embedded/v1/openapi.json")["paths"]
    described = [
        f"{method.upper()} {path.removeprefix('/hosts/{uid}/')}"
        for path, item in paths.items()
        if path.startswith("/hosts/")
        for method in item
    ]
    assert sorted(described) == sorted(CALLS)


def test_what_is_no_json_or_no_path_is_answered_as_everything_else(agents: list[Agent]) -> None:
    response = agents[0].own("PUT", "observed", content=b"{", headers={"Content-Type": "application/json"})
    assert code(response) == (400, "InvalidRequest")
    assert code(agents[0].own("GET", "nothing")) == (404, "PathNotFound")
    assert code(agents[0].own("DELETE", "desired")) == (404, "PathNotFound")
