# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that nobody wrote by hand: whatever comes, no answer is a failure of the plane or outside of its schema.

Two sources: schemathesis makes requests from the description, right and wrong ones, and the bodies of the flows are
changed at random. Both are derandomised: the same code sends the same requests.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from support.api import Api
from support.description import REDUCED, Description, Operation
from support.flows import Replay, fill, flows
from support.plane import RunningPlane
from support.traffic import TEST_AGENT

OPERATIONS = Description.load(REDUCED).operations

#: What stands for the parameters of a path: flows that make the objects, and their names. The first that fits counts.
OBJECTS: list[tuple[str, list[str], dict[str, str]]] = [
    ("/v1/apiKeys/", [], {"uid": "${key_uid}"}),
    ("/v1/projects/", ["project.create"], {"uid": "${new_project_uid}"}),
    ("/v1/cloudaccounts/aws/", ["cloud_account_aws.create"], {"uid": "${account_uid}"}),
    ("/v1/cloudaccounts/vsphere/", ["cloud_account_vsphere.create"], {"uid": "${account_uid}"}),
    ("/v1/overlords/", ["pcg.find"], {"uid": "${pcg_uid}"}),
    ("/v1/registries/", ["registries.find_any"], {"uid": "${registry_uid}"}),
    (
        "/v1/packs/",
        ["packs.find_latest"],
        {"uid": "${pack_uid}", "packName": "kubernetes", "registryUid": "${registry_uid}"},
    ),
    (
        "/v1/clusterprofiles/",
        ["cluster_profile.create_addon"],
        {"uid": "${addon_uid}", "packName": "settings-${unique}", "manifestUid": "${manifest_uid}"},
    ),
    ("/v1/dashboard/clusterprofiles/", ["cluster_profile.create_addon"], {"uid": "${addon_uid}"}),
    (
        "/v1/cloudconfigs/vsphere/",
        ["cluster_vsphere.nodes"],
        {"configUid": "${config_uid}", "machinePoolName": "workers", "machineUid": "${machine_uid}"},
    ),
    (
        "/v1/cloudconfigs/",
        ["cluster_aws.nodes"],
        {
            "cloudType": "aws",
            "configUid": "${config_uid}",
            "machinePoolName": "workers",
            "machineUid": "${machine_uid}",
        },
    ),
    (
        "/v1/spectroclusters/",
        ["cluster_aws.create"],
        {"uid": "${cluster_uid}", "profileUid": "${infra_uid}", "packName": "kubernetes"},
    ),
    ("/v1/dashboard/spectroclusters/", ["cluster_aws.create"], {"uid": "${cluster_uid}"}),
    ("/v1/events/", ["cluster_aws.create"], {"objectKind": "spectrocluster", "objectUid": "${cluster_uid}"}),
    ("/v1/", ["project.find"], {}),
]

#: Operations of the tenant; all others are called in a project, and now and then without.
TENANTS = ("/v1/projects", "/v1/apiKeys", "/v1/auth", "/v1/health", "/v1/dashboard/projects")

MODES = {"right": GenerationMode.POSITIVE, "wrong": GenerationMode.NEGATIVE}

#: Requests for each operation. Making one takes longer than answering it, so these figures are what bounds the time.
EXAMPLES = {"right": 5, "wrong": 4, "changed": 20}

#: A broken rule is shown as it was found; looking for a smaller one would take longer than all the rest.
BOUNDED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """A plane of its own, since these tests leave much behind."""
    with RunningPlane(tmp_path_factory.mktemp("generated"), speed=100_000.0, limits=False) as running:
        yield running


@pytest.fixture(scope="module")
def api(plane: RunningPlane, description: Description) -> Iterator[Api]:
    client = Api(plane, description)
    yield client
    client.close()


@pytest.fixture(scope="module")
def controls(plane: RunningPlane) -> Iterator[httpx.Client]:
    with plane.controls() as client:
        yield client


@pytest.fixture(scope="module")
def schema(description: Description) -> Any:
    return schemathesis.openapi.from_dict(copy.deepcopy(description.document))


class Sender:
    """Sends requests as they were made up, and holds the answers against the description."""

    def __init__(self, plane: RunningPlane, description: Description) -> None:
        self._plane, self._description = plane, description
        self._session = requests.Session()
        self._session.trust_env = False

    def send(self, case: Any, project: str) -> None:
        headers = {"ApiKey": self._plane.key, "User-Agent": TEST_AGENT} | ({"ProjectUid": project} if project else {})
        response = case.call(base_url=self._plane.url, headers=headers, session=self._session)
        kind = response.headers.get("content-type", [""])[0]
        problems = failures(
            self._description, case.method, case.formatted_path, response.status_code, kind, response.content
        )
        assert not problems, f"{problems}\n{case.as_curl_command()}"


def failures(description: Description, method: str, path: str, status: int, kind: str, content: bytes) -> list[str]:
    """Why an answer may not be: a failure of the plane, or outside of its schema."""
    found = description.answer_violations(method, path, status, kind, content)
    if status >= 500:
        found.insert(0, f"answered {status}: {content[:500]!r}")
    return found[:3]


def failures_of(description: Description, response: httpx.Response) -> list[str]:
    """As ``failures``, of an answer to a request of httpx."""
    request, kind = response.request, response.headers.get("content-type", "")
    return failures(description, request.method, request.url.path, response.status_code, kind, response.content)


class Objects:
    """Objects for the parameters of paths; used again until an operation may have deleted them."""

    def __init__(self, api: Api, controls: httpx.Client) -> None:
        self._api, self._controls = api, controls
        self._made: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    def names_and_parameters(self, operation: Operation) -> tuple[dict[str, Any], dict[str, Any]]:
        """All names that the flows saved, and the values of the path's parameters."""
        start, givens, parameters = next(item for item in OBJECTS if operation.path.startswith(item[0]))
        if start not in self._made:
            replay = Replay(self._api, self._controls)
            replay.prepare([*givens, "project.find"])
            if start == "/v1/apiKeys/":
                body = {"metadata": {"name": replay.names["unique"]}, "spec": {}}
                replay.names["key_uid"] = self._api.expect(201, "POST", "/v1/apiKeys", body=body)["uid"]
            self._made[start] = replay.names, fill(parameters, replay.names)
        return self._made.pop(start) if operation.method == "DELETE" else self._made[start]


@pytest.fixture(scope="module")
def objects(api: Api, controls: httpx.Client) -> Objects:
    return Objects(api, controls)


def has_input(operation: Operation) -> bool:
    return any(item["in"] != "path" for item in operation.parameters)


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name in OPERATIONS for mode in MODES if mode == "right" or has_input(OPERATIONS[name])],
)
def test_request_from_the_description(
    name: str, mode: str, schema: Any, plane: RunningPlane, objects: Objects, description: Description
) -> None:
    operation = OPERATIONS[name]
    names, parameters = objects.names_and_parameters(operation)
    sender = Sender(plane, description)
    cases = schema[operation.path][operation.method].as_strategy(generation_mode=MODES[mode])
    tenants = operation.path.startswith(TENANTS)

    @settings(BOUNDED, max_examples=EXAMPLES[mode] if has_input(operation) else 2)
    @given(case=cases, real=st.sampled_from([True, True, False]), own=st.sampled_from([True, True, True, False]))
    def run(case: Any, real: bool, own: bool) -> None:
        if real:
            case.path_parameters.update(
                {key: value for key, value in parameters.items() if key in case.path_parameters}
            )
        sender.send(case, names["project_uid"] if own != tenants else "")

    run()


def effort(name: str) -> int:
    """How many flows a flow builds on."""
    return sum(1 + effort(given) for given in flows()[name].get("given", ()))


def bodies() -> dict[str, tuple[str, int]]:
    """Where in the flows there is a body for each operation: ``METHOD /path`` to flow and index of a call."""
    found: dict[str, tuple[str, int]] = {}
    for name in sorted(flows(), key=effort):
        for index, step in enumerate(flows()[name]["calls"]):
            operation = f"{step.get('method')} {step.get('path')}"
            if "body" in step and operation in OPERATIONS:
                found.setdefault(operation, (name, index))
    return found


ODD: list[Any] = [
    None, True, 0, -1, 2**31, 2**63, 1.5, "", " ", "x" * 5000, "\u0000", "ü\u202e", "../..", "{{.spectro.var.x}}",
    "0001-01-01", [], {}, [None], [[]], {"": ""}, {"uid": "000000000000000000000000"},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to everything in a document that can be changed."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


def changed(document: Any, path: tuple[Any, ...], how: str, odd: Any) -> Any:
    made = copy.deepcopy(document)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    if how == "lose":
        del holder[path[-1]]
    elif how == "replace":
        holder[path[-1]] = odd
    elif how == "wrap":
        holder[path[-1]] = [holder[path[-1]]]
    elif isinstance(holder, list):
        holder.append(copy.deepcopy(holder[path[-1]]))
    else:
        holder[f"{path[-1]}2"] = odd
    return made


@pytest.mark.parametrize("name", bodies())
def test_changed_body_of_a_flow(
    name: str, plane: RunningPlane, api: Api, controls: httpx.Client, description: Description
) -> None:
    flow, index = bodies()[name]
    replay = Replay(api, controls)
    replay.run_until(flow, index)
    step = flows()[flow]["calls"][index]
    replay.names.update(fill(step.get("set", {}), replay.names))
    body = fill(step["body"], replay.names)
    path = step["path"]
    for key, value in fill(step.get("with", {}), replay.names).items():
        path = path.replace("{" + key + "}", str(value))
    project = replay.names.get("project_uid", "") if step["scope"] == "project" else ""
    statuses: set[int] = set()

    with plane.client(project, headers={"User-Agent": TEST_AGENT}) as client:

        @settings(BOUNDED, max_examples=EXAMPLES["changed"])
        @given(
            place=st.sampled_from(list(places(body))),
            how=st.sampled_from(["lose", "replace", "replace", "replace", "wrap", "repeat"]),
            odd=st.sampled_from(ODD),
        )
        def run(place: tuple[Any, ...], how: str, odd: Any) -> None:
            sent = changed(body, place, how, odd)
            response = client.request(step["method"], path, params=fill(step.get("query"), replay.names), json=sent)
            statuses.add(response.status_code)
            problems = failures_of(description, response)
            assert not problems, f"{problems}\n{name} {place} {how} {odd!r}: {sent}"

        run()
    # Of so many changed bodies some must have been refused: they were looked at.
    assert statuses & {400, 404, 409, 422}, statuses


def test_bodies_that_are_not_even_close(plane: RunningPlane, api: Api, description: Description) -> None:
    contents = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"0",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b"[" * 5000,
        b'{"a":' * 3000,
        b"NaN",
        b"[1e999]",
    ]
    taking = [
        operation for operation in OPERATIONS.values() if operation.body is not None and "{" not in operation.path
    ]
    with plane.client(headers={"User-Agent": TEST_AGENT, "Content-Type": "application/json"}) as client:
        project = api.expect(200, "GET", "/v1/dashboard/projects/metadata")["items"][0]["metadata"]["uid"]
        for operation in taking:
            headers = {} if operation.path.startswith(TENANTS) else {"ProjectUid": project}
            for content in contents:
                response = client.request(operation.method, operation.path, content=content, headers=headers)
                problems = failures_of(description, response)
                assert not problems, f"{problems}\n{operation.name} {content[:40]!r}"
