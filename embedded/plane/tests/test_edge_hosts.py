# SPDX-License-Identifier: GPL-3.0-or-later
"""Registration tokens, edge hosts, their credentials: who gets in, who does not, what is shown of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from agents import REGISTER, Agent, device, make_token
from conftest import NOW, Api, InProcess

from paletteops_plane.clock import rfc3339
from paletteops_plane.host_access import HOST_OPERATIONS
from paletteops_plane.limits import Limiter
from paletteops_plane.plane import Plane

TOKENS = "/v1/edgehosts/tokens"
HOSTS = "/v1/edgehosts"
SEARCH = "/v1/dashboard/edgehosts/search"


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.fixture
def token(tenant: Api, project: Api) -> str:
    return make_token(tenant, project.project)[1]


@pytest.fixture
def agent(client: InProcess, token: str) -> Agent:
    """A host that is registered and has sent a heartbeat."""
    made = Agent(client, "edge-a", token)
    assert made.register().status_code == 200
    made.beat()
    return made


# Registration tokens


def test_a_token_is_read_after_it_was_made_by_uid_and_in_the_list(tenant: Api, project: Api) -> None:
    expiry = "2026-04-01T00:00:00.000Z"
    uid, secret = make_token(tenant, project.project, expiry=expiry)
    shown = tenant.ok("GET", f"{TOKENS}/{uid}")
    assert shown["spec"] == {
        "token": secret,
        "expiry": expiry,
        "defaultProject": {"name": "Default", "uid": project.project},
    }
    assert shown["status"] == {"isActive": True}
    assert tenant.ok("GET", TOKENS)["items"] == [shown]
    assert len(secret) >= 32


def test_an_update_of_a_token_keeps_the_token_itself(tenant: Api, project: Api) -> None:
    uid, secret = make_token(tenant, project.project, expiry="2026-04-01T00:00:00.000Z")
    body = {
        "metadata": {"name": "new", "uid": uid, "annotations": {"description": "d"}},
        "spec": {"expiry": "2026-05-01T00:00:00.000Z"},
    }
    tenant.ok("PUT", f"{TOKENS}/{uid}", body)
    shown = tenant.ok("GET", f"{TOKENS}/{uid}")
    assert (shown["metadata"]["name"], shown["metadata"]["annotations"]["description"]) == ("new", "d")
    assert shown["spec"] == {"token": secret, "expiry": "2026-05-01T00:00:00.000Z", "defaultProject": {}}


def test_tokens_are_the_tenants(project: Api) -> None:
    for method, path in (("GET", TOKENS), ("POST", TOKENS), ("GET", f"{TOKENS}/x"), ("DELETE", f"{TOKENS}/x")):
        project.refused(400, "ProjectUidIsNotEmpty", method, path, {} if method == "POST" else None)


def test_what_a_token_cannot_be(tenant: Api) -> None:
    uid, _ = make_token(tenant)
    for spec, field in (
        ({"expiry": "2026-02-01T00:00:00.000Z"}, "body.spec.expiry"),
        ({"defaultProjectUid": "0" * 24}, "body.spec.defaultProjectUid"),
    ):
        for method, path, name in (("POST", TOKENS, "other"), ("PUT", f"{TOKENS}/{uid}", "t")):
            error = tenant.refused(422, "InvalidValue", method, path, {"metadata": {"name": name}, "spec": spec})
            assert error["details"]["field"] == field
    tenant.refused(422, "InvalidValue", "POST", TOKENS, {"metadata": {}, "spec": {}})
    tenant.refused(409, "ResourceAlreadyExists", "POST", TOKENS, {"metadata": {"name": "t"}, "spec": {}})
    assert len(tenant.ok("GET", TOKENS)["items"]) == 1


def test_an_expired_token_can_be_changed_without_a_new_expiry(tenant: Api, plane: Plane) -> None:
    expiry = rfc3339(NOW + timedelta(hours=1))
    uid, _ = make_token(tenant, expiry=expiry)
    plane.clock.advance(7200)
    tenant.ok("PUT", f"{TOKENS}/{uid}", {"metadata": {"name": "t2"}, "spec": {"expiry": expiry}})
    assert tenant.ok("GET", f"{TOKENS}/{uid}")["spec"]["expiry"] == expiry


def test_the_zero_time_of_the_vendors_clients_is_no_expiry(tenant: Api) -> None:
    uid, _ = make_token(tenant, expiry="0001-01-01T00:00:00.000Z")
    assert "expiry" not in tenant.ok("GET", f"{TOKENS}/{uid}")["spec"]


@pytest.mark.parametrize(
    ("spoil", "refusal"),
    [
        ("none", "InvalidRegistrationToken"),
        ("wrong", "InvalidRegistrationToken"),
        ("deleted", "InvalidRegistrationToken"),
        ("inactive", "InactiveRegistrationToken"),
        ("expired", "ExpiredRegistrationToken"),
    ],
)
def test_a_token_that_does_not_hold_registers_nobody(
    client: InProcess, tenant: Api, project: Api, plane: Plane, spoil: str, refusal: str
) -> None:
    uid, secret = make_token(tenant, project.project, expiry=rfc3339(NOW + timedelta(hours=1)))
    if spoil == "inactive":
        tenant.ok("PUT", f"{TOKENS}/{uid}/state", {"isActive": False})
    elif spoil == "expired":
        plane.clock.advance(3600)
    elif spoil == "deleted":
        tenant.ok("DELETE", f"{TOKENS}/{uid}")
    shown = {"none": "", "wrong": secret[:-1]}.get(spoil, secret)
    response = Agent(client, "edge-a", shown).register()
    assert code(response) == (401, refusal)
    assert secret not in response.text
    assert tenant.ok("GET", f"{HOSTS}/metadata")["edgeHosts"] == []


def test_a_token_that_is_switched_on_again_holds_again(client: InProcess, tenant: Api, project: Api) -> None:
    uid, secret = make_token(tenant, project.project)
    tenant.ok("PUT", f"{TOKENS}/{uid}/state", {"isActive": False})
    agent = Agent(client, "edge-a", secret)
    assert agent.register().status_code == 401
    tenant.ok("PUT", f"{TOKENS}/{uid}/state", {"isActive": True})
    assert agent.register().status_code == 200


def test_hosts_stay_when_their_token_goes(agent: Agent, tenant: Api) -> None:
    uid = tenant.ok("GET", TOKENS)["items"][0]["metadata"]["uid"]
    tenant.ok("DELETE", f"{TOKENS}/{uid}")
    agent.beat()


# Registration


def test_a_host_gets_a_credential_that_no_other_answer_shows(
    agent: Agent, project: Api, tenant: Api, plane: Plane
) -> None:
    answers = [
        project.call("GET", f"{HOSTS}/edge-a"),
        project.call("POST", SEARCH, {}),
        project.call("GET", f"{HOSTS}/metadata"),
        agent.v1("GET", ""),
        agent.own("GET", "desired"),
        tenant.call("GET", TOKENS),
    ]
    assert all(answer.status_code == 200 for answer in answers)
    assert not any(agent.credential in answer.text or agent.claim in answer.text for answer in answers)
    stored = plane.store.get("edgehost", "edge-a")
    assert stored is not None and agent.credential not in str(stored) and agent.claim not in str(stored)


def test_what_is_shown_of_a_host(agent: Agent, project: Api) -> None:
    shown = project.ok("GET", f"{HOSTS}/edge-a")
    assert shown["metadata"]["name"] == "name-of-edge-a"
    assert shown["metadata"]["labels"] == {"site": "north"}
    assert shown["spec"]["device"] == {
        "archType": "amd64",
        "hostType": "agent-mode",
        "hostState": "registration",
        "cpu": {"cores": 4},
    }
    assert shown["spec"]["host"]["hostUid"] == "edge-a" and "hostAuthToken" not in shown["spec"]["host"]
    assert shown["status"] == {
        "state": "ready",
        "health": {"state": "healthy", "agentVersion": "1.0.0", "message": ""},
        "inUseClusters": [],
    }


def test_a_host_is_without_health_until_its_first_heartbeat(client: InProcess, token: str, project: Api) -> None:
    agent = Agent(client, "edge-a", token)
    agent.register()
    assert project.ok("GET", f"{HOSTS}/edge-a")["status"]["health"] == {"agentVersion": "1.0.0"}


def test_secrets_that_a_host_sends_of_itself_are_not_kept(client: InProcess, token: str, plane: Plane) -> None:
    body = device("edge-a", hostAuthToken="canary", hostIdentity={"sshSecret": {"privateKey": "canary"}})
    body["status"]["serviceAuthToken"] = "canary"
    body["status"]["tunnelStatus"] = {"ssh": {"user": {"credentials": {"password": "canary"}}}}
    assert Agent(client, "edge-a", token).register(body).status_code == 200
    assert "canary" not in str(plane.store.get("edgehost", "edge-a"))


def test_the_project_of_a_host(client: InProcess, tenant: Api, project: Api) -> None:
    other = tenant.ok("POST", "/v1/projects", {"metadata": {"name": "other"}})["uid"]
    bound, free = make_token(tenant, project.project, "bound")[1], make_token(tenant, name="free")[1]
    for number, (token, headers, wanted) in enumerate(
        [
            (bound, {}, project.project),
            (bound, {"ProjectUid": other}, other),
            (free, {"ProjectName": "other"}, other),
            (free, {"ProjectUid": project.project}, project.project),
        ]
    ):
        agent = Agent(client, f"edge-{number}", token)
        assert agent.register(**headers).status_code == 200
        found = Api(client, tenant.key, wanted).ok("GET", f"{HOSTS}/{agent.uid}")
        assert found["metadata"]["annotations"] == {"scope": "project"}
    agent = Agent(client, "edge-x", free)
    assert code(agent.register()) == (400, "ProjectUidIsEmpty")
    assert code(agent.register(ProjectUid="0" * 24)) == (403, "OperationForbidden")
    assert code(agent.register(ProjectName="none")) == (403, "OperationForbidden")


@pytest.mark.parametrize(("name", "encoding"), [("Łódź", "utf-8"), ("Köln", "utf-8"), ("Köln", "latin-1")])
def test_a_project_is_named_in_any_script(client: InProcess, tenant: Api, name: str, encoding: str) -> None:
    uid = tenant.ok("POST", "/v1/projects", {"metadata": {"name": name}})["uid"]
    agent = Agent(client, "edge-a", make_token(tenant)[1])
    headers = {b"EdgeHostToken": agent.token.encode(), b"ProjectName": name.encode(encoding)}
    assert client.request("POST", REGISTER, headers=headers, json=device("edge-a")).status_code == 200
    assert Api(client, tenant.key, uid).call("GET", f"{HOSTS}/edge-a").status_code == 200


@pytest.mark.parametrize(
    "uid", ["", "-a", "a" * 129, "a/b", "a b", "..", "ä", "a:b", "tokens", "Register", "metadata", "tags", "a\n"]
)
def test_a_uid_that_is_none_is_refused(client: InProcess, token: str, project: Api, uid: str) -> None:
    response = Agent(client, uid, token).register(device(uid))
    assert code(response) == (422, "InvalidValue")
    assert response.json()["details"]["field"] == "body.spec.host.hostUid"
    error = project.refused(422, "InvalidValue", "POST", HOSTS, {"metadata": {"uid": uid}, "spec": {}})
    assert error["details"]["field"] == "body.metadata.uid"


def test_the_longest_uid_is_taken(client: InProcess, token: str) -> None:
    assert Agent(client, "a" * 128, token).register().status_code == 200


def test_a_uid_of_something_else_in_the_plane_is_refused(client: InProcess, token: str, project: Api) -> None:
    assert code(Agent(client, project.project, token).register()) == (409, "AlreadyRegisteredEdgeHostDevice")
    assert project.ok("POST", SEARCH, {})["items"] == []


def test_what_a_registration_lacks_or_contradicts(client: InProcess, token: str, project: Api) -> None:
    without_host, no_address, two_uids, other_type = (device("edge-a") for _ in range(4))
    del without_host["spec"]["host"]
    no_address["spec"]["host"]["hostAddress"] = "somewhere"
    two_uids["metadata"]["uid"] = "edge-b"
    other_type["spec"]["type"] = "vsphere"
    for body, field in (
        (without_host, "body.spec.host"),
        (no_address, "body.spec.host.hostAddress"),
        (two_uids, "body.metadata.uid"),
        (other_type, "body.spec.type"),
    ):
        response = Agent(client, "edge-a", token).register(body)
        assert (*code(response), response.json()["details"]["field"]) == (422, "InvalidValue", field)
    assert project.ok("POST", SEARCH, {})["items"] == []


def test_hosts_may_share_a_name(client: InProcess, token: str, project: Api) -> None:
    for uid in ("edge-a", "edge-b"):
        body = device(uid)
        body["metadata"]["name"] = "localhost"
        assert Agent(client, uid, token).register(body).status_code == 200
    assert len(project.ok("POST", SEARCH, {})["items"]) == 2


# A second host, a removed one, one that registers again


def test_a_registered_host_is_refused_until_its_record_is_deleted(agent: Agent, project: Api, token: str) -> None:
    again = Agent(agent.client, "edge-a", token, claim="of another installation")
    assert code(again.register()) == (409, "AlreadyRegisteredEdgeHostDevice")
    agent.beat()
    project.ok("DELETE", f"{HOSTS}/edge-a")
    assert again.register().status_code == 200
    again.beat()
    assert code(agent.v1("PATCH", "/health", {})) == (401, "UnknownEdgeHost")
    assert code(agent.own("GET", "desired")) == (401, "UnknownEdgeHost")


def test_the_same_claim_gets_another_credential_while_the_first_was_never_used(client: InProcess, token: str) -> None:
    agent = Agent(client, "edge-a", token)
    agent.register()
    lost = agent.credential
    assert code(Agent(client, "edge-a", token, claim="other").register()) == (409, "AlreadyRegisteredEdgeHostDevice")
    assert agent.register().status_code == 200
    assert agent.credential != lost
    held, agent.credential = agent.credential, lost
    assert agent.v1("GET", "").status_code == 401
    agent.credential = held
    agent.beat()
    assert code(agent.register()) == (409, "AlreadyRegisteredEdgeHostDevice")


def test_without_a_claim_there_is_no_second_credential(client: InProcess, token: str) -> None:
    agent = Agent(client, "edge-a", token)
    for expected in (200, 409, 409):
        response = client.request("POST", REGISTER, headers={"EdgeHostToken": token}, json=device("edge-a"))
        assert response.status_code == expected
    assert agent.register(EdgeHostClaim="").status_code == 409


def test_the_credential_of_a_deleted_record_is_dead_at_once(agent: Agent, project: Api) -> None:
    project.ok("DELETE", f"{HOSTS}/edge-a")
    for response in (agent.v1("PATCH", "/health", {}), agent.own("PUT", "observed", {"phase": "idle"})):
        assert code(response) == (401, "UnknownEdgeHost")
    project.refused(404, "ResourceNotFound", "GET", f"{HOSTS}/edge-a")


def test_a_credential_holds_for_its_own_host_alone(agent: Agent, client: InProcess, token: str) -> None:
    second = Agent(client, "edge-b", token)
    second.register()
    for method, path in (
        ("GET", "/v1/edgehosts/edge-a"),
        ("GET", "/v1/edgehosts/edge-a/config"),
        ("PATCH", "/v1/edgehosts/edge-a/health"),
        ("GET", "/embedded/v1/hosts/edge-a/desired"),
        ("GET", "/embedded/v1/hosts/edge-a/join"),
        ("PUT", "/embedded/v1/hosts/edge-a/observed"),
        ("PUT", "/embedded/v1/hosts/edge-a/kubeconfig"),
        ("GET", "/embedded/v1/hosts/edge-a/content?pack=p&version=1&architecture=amd64"),
        ("PUT", "/embedded/v1/hosts/edge-a/logs/x"),
    ):
        body: Any = {} if method in ("PATCH", "PUT") else None
        assert code(second.call(method, path, body)) == (403, "OperationForbidden"), path
        stolen = {"Authorization": f"EdgeHost edge-a:{second.credential}"}
        assert code(second.call(method, path, body, headers=stolen)) == (401, "UnknownEdgeHost"), path


def test_hosts_call_nothing_else_of_the_management_api(agent: Agent, plane: Plane) -> None:
    from paletteops_plane.contract import CONTRACT
    from paletteops_plane.routing import HANDLERS

    for operation in CONTRACT.operations.values():
        if operation.scope == "public" or operation.name in HOST_OPERATIONS or operation.name not in HANDLERS:
            continue
        path = operation.path
        for parameter in operation.data["parameters"]:
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", agent.uid)
        response = agent.call(operation.method, path, {} if operation.body is not None else None)
        assert code(response) == (403, "OperationForbidden"), operation.name


def test_an_api_key_is_no_credential_of_a_host(agent: Agent, tenant: Api) -> None:
    response = tenant.call("GET", "/embedded/v1/hosts/edge-a/desired")
    assert code(response) == (401, "Unauthenticated")


@pytest.mark.parametrize("sent", ["EdgeHost", "EdgeHost ", "EdgeHost edge-a", "EdgeHost :x", "EdgeHost edge-a:"])
def test_a_credential_of_another_form_is_refused(agent: Agent, sent: str) -> None:
    for path in ("/v1/edgehosts/edge-a", "/embedded/v1/hosts/edge-a/desired"):
        assert code(agent.call("GET", path, headers={"Authorization": sent})) == (401, "UnknownEdgeHost")


# Hosts that are registered ahead


def test_a_host_that_was_registered_ahead_is_paired_by_its_registration(
    client: InProcess, token: str, project: Api
) -> None:
    body = {
        "metadata": {"uid": "edge-a", "name": "edge-a", "labels": {"site": "south", "rack": "1"}},
        "spec": {"archType": "amd64"},
    }
    assert project.ok("POST", HOSTS, body) == {"uid": "edge-a"}
    shown = project.ok("GET", f"{HOSTS}/edge-a")
    assert shown["status"] == {"state": "unpaired", "health": {}, "inUseClusters": []}
    agent = Agent(client, "edge-a", token)
    assert agent.register().status_code == 200
    shown = project.ok("GET", f"{HOSTS}/edge-a")
    assert shown["status"]["state"] == "ready"
    assert shown["metadata"]["labels"] == {"site": "south", "rack": "1"}
    assert shown["metadata"]["name"] == "name-of-edge-a"


def test_a_pairing_key_must_be_shown(client: InProcess, token: str, project: Api, plane: Plane) -> None:
    spec = {"hostPairingKey": "pair-canary"}
    project.ok("POST", HOSTS, {"metadata": {"uid": "edge-a", "name": "gate"}, "spec": spec})
    assert "pair-canary" not in str(plane.store.get("edgehost", "edge-a"))
    agent = Agent(client, "edge-a", token)
    for wrong in ({}, {"hostPairingKey": "other"}):
        response = agent.register(device("edge-a", **wrong))
        assert code(response) == (403, "InvalidPairingKey")
        assert "pair-canary" not in response.text
    assert agent.register(device("edge-a", hostPairingKey="pair-canary")).status_code == 200
    assert project.ok("GET", f"{HOSTS}/edge-a")["metadata"]["name"] == "gate"


def test_the_pairing_key_can_be_changed_until_the_host_is_paired(client: InProcess, token: str, project: Api) -> None:
    project.ok("POST", HOSTS, {"metadata": {"uid": "edge-a"}, "spec": {"hostPairingKey": "one"}})
    project.ok("PATCH", f"{HOSTS}/edge-a/hostPairingKey", {"hostPairingKey": "two"})
    agent = Agent(client, "edge-a", token)
    assert agent.register(device("edge-a", hostPairingKey="one")).status_code == 403
    assert agent.register(device("edge-a", hostPairingKey="two")).status_code == 200
    project.refused(409, "ResourceStateConflict", "PATCH", f"{HOSTS}/edge-a/hostPairingKey", {"hostPairingKey": "x"})


def test_a_host_registered_ahead_elsewhere_or_for_another_architecture_is_refused(
    client: InProcess, tenant: Api, token: str, project: Api
) -> None:
    other = tenant.ok("POST", "/v1/projects", {"metadata": {"name": "other"}})["uid"]
    elsewhere = Api(client, tenant.key, other)
    elsewhere.ok("POST", HOSTS, {"metadata": {"uid": "edge-a"}, "spec": {}})
    project.ok("POST", HOSTS, {"metadata": {"uid": "edge-b"}, "spec": {"archType": "arm64"}})
    assert code(Agent(client, "edge-a", token).register()) == (409, "AlreadyRegisteredEdgeHostDevice")
    assert code(Agent(client, "edge-b", token).register()) == (422, "InvalidValue")
    project.refused(409, "AlreadyRegisteredEdgeHostDevice", "POST", HOSTS, {"metadata": {"uid": "edge-a"}, "spec": {}})


def test_a_host_that_waits_for_a_hand_is_not_registered_by_itself(client: InProcess, token: str, project: Api) -> None:
    agent, body = Agent(client, "edge-a", token), device("edge-a", disableAutoRegister=True)
    assert code(agent.register(body)) == (409, "EdgeHostDeviceNotRegistered")
    project.ok("POST", HOSTS, {"metadata": {"uid": "edge-a"}, "spec": {}})
    assert agent.register(body).status_code == 200


def test_hosts_are_registered_ahead_in_a_project(tenant: Api) -> None:
    tenant.refused(400, "ProjectUidIsEmpty", "POST", HOSTS, {"metadata": {"uid": "edge-a"}, "spec": {}})


def test_no_remote_shell_can_be_switched_on(agent: Agent, project: Api) -> None:
    off = {"remoteSsh": "disabled", "remoteSshTempUser": "disabled"}
    project.ok("PATCH", f"{HOSTS}/edge-a/tunnelConfig", off)
    assert project.ok("GET", f"{HOSTS}/edge-a")["spec"]["tunnelConfig"] == off
    project.refused(422, "InvalidValue", "PATCH", f"{HOSTS}/edge-a/tunnelConfig", {**off, "remoteSsh": "enabled"})
    body: dict[str, Any] = {"metadata": {"uid": "b"}, "spec": {"tunnelConfig": {**off, "remoteSsh": "enabled"}}}
    project.refused(422, "InvalidValue", "POST", HOSTS, body)


# Changes, reset, deletion


@pytest.mark.parametrize("path", ["", "/meta"])
def test_name_and_tags_change_and_what_is_not_sent_is_gone(agent: Agent, project: Api, path: str) -> None:
    project.ok(
        "PUT", f"{HOSTS}/edge-a{path}", {"metadata": {"name": "n", "uid": "edge-a", "labels": {"a": "spectro__tag"}}}
    )
    metadata = project.ok("GET", f"{HOSTS}/edge-a")["metadata"]
    assert (metadata["name"], metadata["labels"]) == ("n", {"a": "spectro__tag"})
    project.ok("PUT", f"{HOSTS}/edge-a{path}", {"metadata": {"name": "n", "uid": "edge-a"}})
    assert "labels" not in project.ok("GET", f"{HOSTS}/edge-a")["metadata"]
    project.refused(422, "InvalidValue", "PUT", f"{HOSTS}/edge-a{path}", {"metadata": {"name": "n", "uid": "other"}})
    agent.beat()


def test_an_update_without_metadata_changes_nothing(agent: Agent, project: Api) -> None:
    project.ok("PUT", f"{HOSTS}/edge-a/meta", {})
    assert project.ok("GET", f"{HOSTS}/edge-a")["metadata"]["labels"] == {"site": "north"}


def test_a_reset_is_the_same_request_until_the_host_has_done_it(agent: Agent, project: Api) -> None:
    assert agent.desired()["reset"] is None
    project.ok("PUT", f"{HOSTS}/edge-a/reset")
    asked = agent.desired()
    project.ok("PUT", f"{HOSTS}/edge-a/reset")
    assert asked["reset"] and agent.desired() == asked
    agent.report(reset_done="another one")
    assert agent.desired()["reset"] == asked["reset"]
    agent.report(reset_done=asked["reset"])
    assert agent.desired()["reset"] is None


def test_a_host_that_has_not_registered_cannot_be_reset(project: Api) -> None:
    project.ok("POST", HOSTS, {"metadata": {"uid": "edge-a"}, "spec": {}})
    project.refused(409, "EdgeHostDeviceNotRegistered", "PUT", f"{HOSTS}/edge-a/reset")


def test_a_host_in_use_is_neither_deleted_nor_reset(agent: Agent, project: Api, plane: Plane) -> None:
    cluster = use(plane, "edge-a", project.project)
    for method, path in (("DELETE", ""), ("PUT", "/reset"), ("DELETE", "/cluster/associate")):
        error = project.refused(409, "ResourceInUse", method, f"{HOSTS}/edge-a{path}")
        assert error["details"]["cluster"] == {"uid": cluster, "name": "c"}
    project.ok("PATCH", f"{HOSTS}/edge-a/cluster/associate", {"clusterUid": cluster})
    project.refused(409, "ResourceStateConflict", "PATCH", f"{HOSTS}/edge-a/cluster/associate", {"clusterUid": "other"})
    assert agent.v1("GET", "/config").json()["clusterUids"] == [cluster]
    plane.store.delete(cluster)
    project.ok("DELETE", f"{HOSTS}/edge-a")


def use(plane: Plane, uid: str, project: str) -> str:
    """Let a host be in use by a cluster of which nothing but its name is there."""
    from paletteops_plane.store import Document

    cluster = Document(
        kind="cluster",
        name="c",
        project=project,
        body={"metadata": {"name": "c"}, "status": {}, "spec": {"cloudConfigRef": {"uid": "none"}}},
    )
    host = plane.store.get("edgehost", uid)
    assert host is not None
    plane.store.add(cluster)
    host.body["_cluster"] = {"uid": cluster.uid, "name": "c"}
    plane.store.save(host)
    return cluster.uid


def test_a_host_in_no_cluster_has_no_definition(agent: Agent, project: Api) -> None:
    project.refused(404, "ResourceNotFound", "GET", f"{HOSTS}/edge-a/spc/download")
    assert agent.v1("GET", "/config").json() == {
        "clusterUids": [],
        "tunnelConfig": {"remoteSsh": "disabled", "remoteSshTempUser": "disabled"},
    }


def test_a_project_with_hosts_is_not_deleted(agent: Agent, tenant: Api, project: Api) -> None:
    tenant.refused(409, "ResourceInUse", "DELETE", f"/v1/projects/{project.project}")


# Health


def test_a_host_is_unhealthy_when_its_heartbeats_stay_away(agent: Agent, project: Api, plane: Plane) -> None:
    plane.started = NOW.timestamp() - 3600

    def health() -> dict[str, Any]:
        found: dict[str, Any] = project.ok("GET", f"{HOSTS}/edge-a")["status"]["health"]
        return found

    plane.clock.advance(180)
    assert health()["state"] == "healthy"
    plane.clock.advance(1)
    assert health()["state"] == "unhealthy"
    assert "2026-03-01T12:00:00.000Z" in health()["message"]
    assert found(project, state("healthState", "unhealthy")) == ["edge-a"]
    agent.beat()
    assert health()["state"] == "healthy"
    agent.beat(state="unhealthy", message="disk is full")
    assert (health()["state"], health()["message"]) == ("unhealthy", "disk is full")


def test_the_time_for_which_the_plane_was_away_does_not_count(agent: Agent, project: Api, plane: Plane) -> None:
    plane.clock.advance(3600)
    plane.started = plane.clock.now().timestamp() - 170
    assert project.ok("GET", f"{HOSTS}/edge-a")["status"]["health"]["state"] == "healthy"
    plane.clock.advance(11)
    assert project.ok("GET", f"{HOSTS}/edge-a")["status"]["health"]["state"] == "unhealthy"


# Search


def state(name: str, *values: str) -> dict[str, Any]:
    return {
        "property": name,
        "type": "string",
        "condition": {"string": {"operator": "eq", "match": {"conjunction": "or", "values": list(values)}}},
    }


def found(api: Api, *filters: dict[str, Any]) -> list[str]:
    body = {"filter": {"conjunction": "and", "filterGroups": [{"conjunction": "and", "filters": list(filters)}]}}
    return [item["metadata"]["uid"] for item in api.ok("POST", SEARCH, body)["items"]]


def test_hosts_are_found_by_what_is_known_of_them(
    client: InProcess, agent: Agent, token: str, project: Api, tenant: Api
) -> None:
    project.ok(
        "POST",
        HOSTS,
        {"metadata": {"uid": "edge-b", "labels": {"rack": "spectro__tag"}}, "spec": {"archType": "arm64"}},
    )
    assert found(project) == ["edge-a", "edge-b"]
    for filters, wanted in (
        ([state("name", "name-of-edge-a")], ["edge-a"]),
        ([state("tags", "site:north")], ["edge-a"]),
        ([state("tags", "rack")], ["edge-b"]),
        ([state("state", "unpaired")], ["edge-b"]),
        ([state("state", "ready"), state("healthState", "healthy")], ["edge-a"]),
        ([state("architecture", "arm64")], ["edge-b"]),
        ([state("hostType", "agent-mode")], ["edge-a"]),
        ([state("uid", "edge-a", "edge-b")], ["edge-a", "edge-b"]),
        ([state("clusterName", "c")], []),
    ):
        assert found(project, *filters) == wanted, filters
    assert project.ok("GET", f"{HOSTS}/tags") == {"tags": ["rack", "site:north"]}
    assert found(tenant) == ["edge-a", "edge-b"]
    other = tenant.ok("POST", "/v1/projects", {"metadata": {"name": "other"}})["uid"]
    assert found(Api(client, tenant.key, other)) == []


def test_hosts_in_use_are_not_among_the_unused(agent: Agent, project: Api, plane: Plane) -> None:
    project.ok("POST", HOSTS, {"metadata": {"uid": "edge-b"}, "spec": {}})
    use(plane, "edge-a", project.project)
    listed = project.ok("GET", f"{HOSTS}/metadata?quickFilter=unusedEdgeHosts&type=edge-native")["edgeHosts"]
    assert [item["uid"] for item in listed] == ["edge-b"]
    assert project.ok("GET", f"{HOSTS}/metadata?type=vsphere")["edgeHosts"] == []
    assert found(project, state("clusterName", "c")) == ["edge-a"]


def test_the_schema_names_what_can_be_searched_by(project: Api) -> None:
    properties = project.ok("GET", f"{SEARCH}/schema")["schema"]["properties"]
    assert {"name", "tags", "state", "healthState", "architecture"} <= {item["name"] for item in properties}


# Limits


def test_limits_count_by_the_credential_so_that_a_site_may_be_behind_one_address(
    client: InProcess, plane: Plane, token: str, tenant: Api
) -> None:
    agents = [Agent(client, f"edge-{number}", token) for number in range(2)]
    for agent in agents:
        agent.register()
    plane.limiter = Limiter(lambda: 0.0)
    for agent in agents:
        statuses = [agent.v1("PATCH", "/health", {}).status_code for _ in range(51)]
        assert statuses == [204] * 50 + [429]
    assert tenant.call("GET", f"{HOSTS}/metadata").status_code == 200
    statuses = [agents[0].own("GET", "desired").status_code for _ in range(51)]
    assert statuses == [200] * 50 + [429]
    assert agents[1].own("GET", "desired").status_code == 200


def test_who_guesses_credentials_counts_by_address(client: InProcess, plane: Plane, agent: Agent) -> None:
    plane.limiter = Limiter(lambda: 0.0)
    statuses = []
    for number in range(51):
        agent.credential = f"guess-{number}"
        statuses.append(agent.v1("PATCH", "/health", {}).status_code)
    assert statuses == [401] * 50 + [429]
