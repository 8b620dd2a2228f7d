# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every operation: credentials, scopes, bodies, errors, limits, projects, keys."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Api, InProcess

from paletteops_plane import limits
from paletteops_plane.app import create_app
from paletteops_plane.contract import CONTRACT, SERVED
from paletteops_plane.errors import CODES, STATUSES, ApiError
from paletteops_plane.limits import Limiter
from paletteops_plane.plane import Plane, Settings, beside
from paletteops_plane.resources import load
from paletteops_plane.routing import HANDLERS, operation

PROJECTS = "/v1/projects"


def named(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}}


# Credentials


def test_every_operation_but_the_public_ones_needs_credentials(client: InProcess) -> None:
    load()
    for name in HANDLERS:
        method, path = name.split(" ")
        response = client.request(method, path.replace("{", "").replace("}", ""))
        if SERVED[name] != "public":
            assert (response.status_code, response.json()["code"]) == (401, "Unauthenticated"), name


@pytest.mark.parametrize("header", ["ApiKey", "Authorization"])
def test_unknown_credentials_are_refused(client: InProcess, header: str) -> None:
    response = client.request("GET", "/v1/users/info", headers={header: "nonsense"})
    assert response.status_code == 401
    assert response.json()["code"] == {"ApiKey": "ApiKeyUnknown", "Authorization": "TokenInvalid"}[header]


def test_a_key_expires_by_the_planes_clock(tenant: Api, plane: Plane) -> None:
    expiry = plane.clock.now() + timedelta(hours=1)
    body = {**named("short"), "spec": {"expiry": expiry.isoformat()}}
    other = Api(tenant.client, tenant.ok("POST", "/v1/apiKeys", body)["apiKey"])
    other.ok("GET", "/v1/users/info")
    plane.clock.advance(3601)
    other.refused(401, "ApiKeyExpired", "GET", "/v1/users/info")


def test_a_key_can_be_switched_off_and_deleted(tenant: Api) -> None:
    made = tenant.ok("POST", "/v1/apiKeys", named("spare"))
    other = Api(tenant.client, made["apiKey"])
    path = f"/v1/apiKeys/{made['uid']}"
    tenant.ok("PUT", f"{path}/state", {"isActive": False})
    other.refused(401, "ApiKeyInactive", "GET", "/v1/users/info")
    tenant.ok("PATCH", path, {"isActive": True})
    other.ok("GET", "/v1/users/info")
    tenant.ok("DELETE", path)
    other.refused(401, "ApiKeyUnknown", "GET", "/v1/users/info")


def test_a_key_is_shown_once_and_stored_as_a_digest(tenant: Api, plane: Plane, settings: Settings) -> None:
    made = tenant.ok("POST", "/v1/apiKeys", named("spare"))
    tenant.refused(409, "ResourceAlreadyExists", "POST", "/v1/apiKeys", named("spare"))
    assert made["apiKey"] not in tenant.call("GET", "/v1/apiKeys").text
    stored = settings.data.read_bytes() + beside(settings.data, "-wal").read_bytes()
    assert made["uid"].encode() in stored
    assert made["apiKey"].encode() not in stored
    assert tenant.key.encode() not in stored


def test_signing_in_gives_a_token_for_fifteen_minutes(client: InProcess, plane: Plane, settings: Settings) -> None:
    sign_in = json.loads(beside(settings.data, ".admin").read_text())
    token = client.request("POST", "/v1/auth/authenticate", json=sign_in).json()["Authorization"]
    plane.clock.advance(14 * 60)
    for text in (token, f"Bearer {token}"):
        assert client.request("GET", "/v1/users/info", headers={"Authorization": text}).status_code == 200
    fresh = client.request("GET", f"/v1/auth/refresh/{token}").json()["Authorization"]
    plane.clock.advance(2 * 60)
    response = client.request("GET", "/v1/users/info", headers={"Authorization": token})
    assert (response.status_code, response.json()["code"]) == (401, "TokenExpired")
    assert client.request("GET", "/v1/users/info", headers={"Authorization": fresh}).status_code == 200


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"emailId": "nobody@localhost"}, {"org": "other"}])
def test_a_wrong_sign_in_says_the_same_whatever_is_wrong(client: InProcess, settings: Settings, change: Any) -> None:
    sign_in = json.loads(beside(settings.data, ".admin").read_text())
    response = client.request("POST", "/v1/auth/authenticate", json={**sign_in, **change})
    assert (response.status_code, response.json()["code"]) == (401, "LoginFailed")
    assert response.json()["message"] == "the email address or the password is wrong"


def test_files_with_secrets_are_their_owners_alone(plane: Plane, settings: Settings) -> None:
    for path in (
        settings.data,
        beside(settings.data, ".key"),
        beside(settings.data, ".admin"),
        beside(settings.data, "-wal"),
    ):
        assert path.stat().st_mode & 0o077 == 0, path


# Scopes


def test_the_tenants_operations_refuse_a_project(project: Api) -> None:
    for method, path in (("GET", "/v1/apiKeys"), ("POST", PROJECTS), ("GET", f"{PROJECTS}/{'0' * 24}")):
        project.refused(400, "ProjectUidIsNotEmpty", method, path)


def test_a_projects_operations_refuse_the_tenant(tenant: Api) -> None:
    names = [name for name, scope in SERVED.items() if scope == "project" and name in HANDLERS]
    for name in names:
        tenant.refused(400, "ProjectUidIsEmpty", *name.split(" "))


def test_an_unknown_project_is_not_taken_for_an_absent_object(tenant: Api) -> None:
    lost = Api(tenant.client, tenant.key, "0" * 24)
    lost.refused(403, "OperationForbidden", "GET", f"/v1/clusterprofiles/{'1' * 24}")


# What is not served


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/edgehosts"),
        ("POST", "/v1/workspaces"),
        ("PUT", "/v1/dashboard/projects/metadata"),
        ("DELETE", "/v1/users/info"),
        ("OPTIONS", "/v1/projects"),
        ("GET", "/v1/"),
        # Literal paths of the vendor's that look like an object of a served kind.
        ("GET", "/v1/projects/alerts"),
        ("GET", "/v1/clusterprofiles/macros"),
        ("GET", "/v1/clusterprofiles/x/packs/resolvedValues"),
    ],
)
def test_what_is_not_served_is_answered_with_501(client: InProcess, method: str, path: str) -> None:
    response = client.request(method, path)
    assert (response.status_code, response.json()["code"]) == (501, "NotServed")
    assert f"{method} {path}" in response.json()["message"]


def test_other_paths_are_not_found_in_the_apis_own_words(client: InProcess) -> None:
    response = client.request("GET", "/elsewhere")
    assert (response.status_code, response.json()["code"]) == (404, "PathNotFound")


def test_a_handler_for_what_the_contract_lacks_is_an_error() -> None:
    with pytest.raises(LookupError):
        operation("GET /v1/nonsense")(lambda call: None)
    with pytest.raises(LookupError):
        operation("GET /v1/health/ping")(lambda call: None)


def test_every_answerable_status_stands_in_the_errors_table() -> None:
    assert set(STATUSES) == {400, 401, 403, 404, 408, 409, 422, 429, 501}
    assert set(CODES.values()) - set(STATUSES) == {500, 503}


# Bodies and answers


@pytest.mark.parametrize("content", ["{", "", "[1]", '"text"', '{"metadata": {"name": NaN}}', "\xff"])
def test_a_body_that_is_no_json_object_is_refused(tenant: Api, content: str) -> None:
    response = tenant.call("POST", PROJECTS, content=content.encode("latin-1"))
    assert response.status_code in (400, 422)
    assert response.json()["code"] in ("InvalidRequest", "InvalidValue")


def test_each_wrong_field_is_named_with_its_value(tenant: Api) -> None:
    error = tenant.refused(400, "InvalidRequest", "POST", PROJECTS, named(7, labels={"a": True}))  # type: ignore[arg-type]
    fields = {item["field"]: item["value"] for item in error["details"]["fields"]}
    assert fields == {"body.metadata.name": "7", "body.metadata.labels.a": "True"}


def test_unknown_fields_and_nulls_are_as_if_they_were_not_there(tenant: Api) -> None:
    body = named("p", labels=None, annotations={"x": "1", "y": None}, nonsense=1)
    body["metadata"]["creationTimestamp"] = "0001-01-01T00:00:00.000Z"
    uid = tenant.ok("POST", PROJECTS, {**body, "more": []})["uid"]
    metadata = tenant.ok("GET", f"{PROJECTS}/{uid}")["metadata"]
    assert "labels" not in metadata and metadata["annotations"] == {"x": "1"}
    assert metadata["creationTimestamp"] == "2026-03-01T12:00:00.000Z"


@pytest.mark.parametrize("query", ["limit=many", "limit=-1", "offset=-1", "limit=9999999999999999999999"])
def test_a_wrong_parameter_is_named(tenant: Api, query: str) -> None:
    error = tenant.refused(400, "InvalidRequest", "POST", f"/v1/dashboard/projects?{query}", {})
    assert query.split("=")[0] in error["message"]


def test_an_answer_that_breaks_the_contract_is_a_loud_failure(
    tenant: Api, plane: Plane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(HANDLERS, "GET /v1/users/info", lambda call: {"orgName": 1, "stray": True})
    other = InProcess(create_app(plane))
    with caplog.at_level(logging.ERROR):
        response = other.request("GET", "/v1/users/info", headers={"ApiKey": tenant.key})
    other.close()
    assert response.status_code == 500
    assert "answer.orgName" in caplog.text and "answer.stray" in caplog.text


def test_a_handler_that_fails_leaves_nothing_behind(
    tenant: Api, plane: Plane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = HANDLERS["POST /v1/projects"]

    def fail(call: Any) -> None:
        original(call)
        raise ZeroDivisionError

    monkeypatch.setitem(HANDLERS, "POST /v1/projects", fail)
    other = InProcess(create_app(plane))
    response = other.request("POST", PROJECTS, headers={"ApiKey": tenant.key}, json=named("p"))
    other.close()
    assert (response.status_code, response.json()["code"]) == (500, "InternalError")
    assert plane.store.by_name("project", "p") is None


def test_the_description_of_the_application_lists_what_is_served(client: InProcess) -> None:
    described = client.request("GET", "/openapi.json").json()
    found = {f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item}
    assert found == set(HANDLERS)
    for name in HANDLERS:
        method, path = name.split(" ")
        responses = described["paths"][path][method.lower()]["responses"]
        assert set(responses) == {str(status) for status in [*STATUSES, CONTRACT.operations[name].status]}


# Projects


def test_a_project_is_made_read_changed_and_deleted(tenant: Api) -> None:
    body = named("shop", labels={"a": "1", "plain": "spectro__tag"}, annotations={"description": "d", "other": "x"})
    uid = tenant.ok("POST", PROJECTS, body)["uid"]
    assert len(uid) == 24 and int(uid, 16)
    body["metadata"] = {"name": "shop2", "uid": uid, "annotations": {"description": "e"}}
    tenant.ok("PUT", f"{PROJECTS}/{uid}", body)
    metadata = tenant.ok("GET", f"{PROJECTS}/{uid}")["metadata"]
    assert (metadata["name"], metadata["annotations"]) == ("shop2", {"description": "e", "other": "x"})
    assert "labels" not in metadata
    assert tenant.ok("DELETE", f"{PROJECTS}/{uid}/validate")["clusters"]["count"] == 0
    tenant.ok("DELETE", f"{PROJECTS}/{uid}")
    tenant.refused(404, "ResourceNotFound", "GET", f"{PROJECTS}/{uid}")


def test_a_projects_name_is_taken_once(tenant: Api) -> None:
    uid = tenant.ok("POST", PROJECTS, named("one"))["uid"]
    error = tenant.refused(409, "ResourceAlreadyExists", "POST", PROJECTS, named("one"))
    assert error["details"]["uid"] == uid
    other = tenant.ok("POST", PROJECTS, named("two"))["uid"]
    tenant.refused(409, "ResourceAlreadyExists", "PUT", f"{PROJECTS}/{other}", named("one"))
    tenant.refused(422, "InvalidValue", "POST", PROJECTS, named("  "))


def test_a_project_that_holds_something_is_not_deleted(tenant: Api) -> None:
    uid = tenant.ok("POST", PROJECTS, named("full"))["uid"]
    inside = Api(tenant.client, tenant.key, uid)
    account = {**named("a"), "spec": {"accessKey": "A", "secretKey": "B"}}
    kept = inside.ok("POST", "/v1/cloudaccounts/aws", account)["uid"]
    tenant.refused(409, "ResourceInUse", "DELETE", f"{PROJECTS}/{uid}")
    inside.ok("DELETE", f"/v1/cloudaccounts/aws/{kept}")
    tenant.ok("DELETE", f"{PROJECTS}/{uid}")


def test_projects_are_listed_whole_and_searched_in_pages(tenant: Api) -> None:
    for number in range(60):
        tenant.ok("POST", PROJECTS, named(f"p{number:02}"))
    assert len(tenant.ok("GET", "/v1/dashboard/projects/metadata")["items"]) == 61
    assert len(tenant.ok("GET", "/v1/dashboard/projects/metadata?name=p07")["items"]) == 1
    body: dict[str, Any] = {"filter": {"name": {"beginsWith": "P"}}, "sort": [{"field": "name", "order": "desc"}]}
    names: list[str] = []
    mark = ""
    while True:
        answer = tenant.ok("POST", f"/v1/dashboard/projects?continue={mark}", body)
        names += [item["metadata"]["name"] for item in answer["items"]]
        mark = answer["listmeta"]["continue"]
        if not mark:
            break
    assert names == [f"p{number:02}" for number in reversed(range(60))]


# Limits


class Monotonic:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("prefix", "rate"), [("projects", 10), ("dashboard", 10), ("clusterprofiles", 50)])
def test_a_burst_of_five_times_the_rate_then_the_rate(prefix: str, rate: int) -> None:
    time = Monotonic()
    limiter = Limiter(time)

    def admitted(count: int, address: str = "a") -> int:
        done = 0
        for _ in range(count):
            try:
                limiter.admit(address, f"/v1/{prefix}/x")
                done += 1
            except ApiError as error:
                assert error.status == 429 and int(error.headers["Retry-After"]) >= 1
        return done

    assert admitted(rate * 6) == rate * 5
    time.now = 1.0
    assert admitted(rate * 6) == rate
    time.now = 1000.0
    assert admitted(rate * 6) == rate * 5
    assert admitted(rate * 6, "b") == rate * 5


def test_prefixes_do_not_share_a_limit_and_only_the_api_has_one() -> None:
    limiter = Limiter(Monotonic())
    for _ in range(50):
        limiter.admit("a", "/v1/projects")
    limiter.admit("a", "/v1/packs")
    for _ in range(1000):
        limiter.admit("a", "/openapi.json")


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[InProcess]:
    plane = Plane.open(Settings(data=tmp_path / "limited.sqlite"))
    client = InProcess(create_app(plane))
    yield client
    client.close()
    plane.close()


def test_the_limits_are_on_by_default_and_come_before_the_credentials(limited: InProcess) -> None:
    burst = limits.DEFAULT_RATE * limits.BURST_FACTOR
    statuses = [limited.request("GET", "/v1/users/info").status_code for _ in range(burst + 5)]
    assert statuses[:burst] == [401] * burst
    response = limited.request("GET", "/v1/users/info")
    assert (response.status_code, response.json()["code"]) == (429, "TooManyRequests")
    assert response.headers["retry-after"] == "1"
