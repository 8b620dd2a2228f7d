# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows of the vendor's clients: sound as data, and replayed against the plane."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.api import Api
from support.description import VENDORS, Description, Operation, Schema
from support.flows import FLOW_KEYS, STEP_KEYS, Replay, as_list, flows, steps
from support.plane import RunningPlane

RESOURCES = {
    "project", "cloud_account_aws", "cloud_account_vsphere", "cluster_profile", "cluster_aws", "cluster_vsphere",
    "cluster_edge_native", "kubeconfig", "registries", "packs", "pcg", "registration_token", "edge_host",
}  # fmt: skip


@pytest.fixture(scope="module")
def described(description: Description) -> Description:
    """The fullest description at hand: the vendor's, else what the plane serves of it."""
    return Description.load(VENDORS) if VENDORS.exists() else description


def test_each_resource_has_flows() -> None:
    there = {name.split(".")[0] for name in flows()}
    assert there >= RESOURCES
    for resource in RESOURCES - {"kubeconfig", "packs", "pcg"}:
        done = {
            flow["operation"] for name, flow in flows().items() if name.startswith((f"{resource}.", "cluster_common."))
        }
        assert done >= {"create", "read", "update", "delete"}, resource


@pytest.mark.parametrize("name", flows())
def test_flow_is_sound(name: str, described: Description) -> None:
    flow = flows()[name]
    assert flow.keys() <= FLOW_KEYS
    assert flow["operation"] in ("create", "read", "update", "delete", "find")
    assert flow["client"] in ("sdk", "terraform", "agent")
    assert set(flow.get("given", ())) <= flows().keys()
    for call in flow["calls"]:
        assert call.get("flow", name) in flows()
    sources = [*flow["source"], *(step["source"] for step in steps(flow["calls"]) if "source" in step)]
    assert sources
    for source in sources:
        assert re.fullmatch(r"(sdk|terraform):[\w/]+\.go#\w+|agent:[\w/]+\.md#\w+", source), source
    for step in steps(flow["calls"]):
        where = f"{name}: {step['method']} {step['path']}"
        assert step.keys() <= STEP_KEYS, where
        assert step["scope"] in ("project", "tenant"), where
        operation = described.operations.get(f"{step['method']} {step['path']}")
        if operation is None:
            beyond_data = step.get("later") and not VENDORS.exists()
            assert step.get("lacking") or beyond_data, f"{where} is not described and not marked so"
            continue
        assert not step.get("lacking"), f"{where} is described"
        for problem in problems(step, operation, described):
            raise AssertionError(f"{where}: {problem}")


def problems(step: dict[str, Any], operation: Operation, described: Description) -> Iterator[str]:
    placeholders = set(re.findall(r"{(\w+)}", step["path"]))
    if placeholders != set(step.get("with", {})):
        yield f"parameters {placeholders}, given {set(step.get('with', {}))}"
    queries = {item["name"] for item in operation.parameters if item["in"] == "query"}
    if not set(step.get("query", {})) <= queries:
        yield f"queries {set(step['query'])}, described {queries}"
    for status in as_list(step["status"]):
        if status < 400 and str(status) not in operation.data["responses"]:
            yield f"status {status} is not described"
        if status >= 400 and "error" not in step:
            yield "an error without the code that the client looks for"
    if ("body" in step) and operation.body is None:
        yield "no body is described"
    elif "body" in step and operation.body is not None:
        yield from undescribed(step["body"], operation.body, described, "body")
    schema = operation.success[1]
    reads = [item if isinstance(item, str) else item["field"] for item in step.get("reads", ())]
    for field in [
        *reads,
        *step.get("absent", ()),
        *([step["poll"]["field"]] if "field" in step.get("poll", {}) else []),
    ]:
        if schema is None or not list(described.field_schemas(schema, field)):
            yield f"the answer has no field {field}"
    for field in step.get("unsent", ()):
        if operation.body is not None and list(described.field_schemas(operation.body, field)):
            yield f"{field} is described, so it could be sent"


def undescribed(value: Any, schema: Schema, described: Description, where: str) -> Iterator[str]:
    schema = described.resolve(schema)
    if isinstance(value, list) and "items" in schema:
        for item in value:
            yield from undescribed(item, schema["items"], described, f"{where}[]")
    elif isinstance(value, dict) and "properties" in schema:
        for key, child in value.items():
            if key not in schema["properties"]:
                yield f"{where}.{key} is not described"
            else:
                yield from undescribed(child, schema["properties"][key], described, f"{where}.{key}")


@pytest.mark.parametrize("name", flows())
def test_flow_replays(name: str, plane: RunningPlane, api: Api) -> None:
    with plane.controls() as controls:
        Replay(api, controls).run(name)
