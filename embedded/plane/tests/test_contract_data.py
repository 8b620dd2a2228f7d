# SPDX-License-Identifier: GPL-3.0-or-later
"""The tool that reduces the vendor's description, and the models that are made of what it writes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import TypeAdapter

from paletteops_plane.contract import CONTRACT, SERVED, without_nulls
from paletteops_plane.contract.models import Model, Models
from paletteops_plane.errors import ApiError

TOOL = Path(__file__).parent.parent / "tools" / "reduce_contract.py"

DESCRIPTION: dict[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "t", "version": "v1"},
    "consumes": [],
    "produces": [],
    "paths": {
        "/v1/things/{uid}": {
            "parameters": [{"name": "uid", "in": "path", "type": "string", "required": True, "description": "prose"}],
            "get": {
                "operationId": "thingGet",
                "summary": "prose",
                "responses": {
                    "200": {"description": "prose", "schema": {"$ref": "#/definitions/v1Thing"}},
                    "400": {"description": "prose"},
                },
            },
        },
        "/v1/things/special": {"get": {"operationId": "special", "responses": {"204": {"description": ""}}}},
        "/v1/others/{uid}": {"get": {"operationId": "other", "responses": {"204": {"description": ""}}}},
    },
    "definitions": {
        "v1Error": {"properties": {"code": {"type": "string"}}},
        "v1Thing": {
            "description": "prose",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "description": "prose", "x-go-name": "Name"},
                "description": {"type": "string"},
                "children": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/definitions/v1Thing"}},
            },
        },
        "v1Unreached": {"type": "object"},
    },
}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reduce_contract", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_served_and_reached_is_kept_and_prose_is_not(tool: ModuleType) -> None:
    reduced = tool.reduce_description(DESCRIPTION, {"GET /v1/things/{uid}": "any"})
    assert "prose" not in json.dumps(reduced)
    assert set(reduced["paths"]) == {"/v1/things/{uid}"}
    assert set(reduced["definitions"]) == {"v1Error", "v1Thing"}
    thing = reduced["definitions"]["v1Thing"]
    # A field that is called like a keyword of prose stays a field.
    assert thing["properties"]["description"] == {"type": "string"}
    assert (thing["required"], thing["properties"]["name"]) == (["name"], {"type": "string"})
    operation = reduced["paths"]["/v1/things/{uid}"]["get"]
    assert operation["parameters"] == [{"name": "uid", "in": "path", "type": "string", "required": True}]
    assert set(operation["responses"]) == {"200"}
    assert reduced["x-shadowed"] == ["GET /v1/things/special"]


def test_an_operation_that_the_vendor_lacks_is_an_error(tool: ModuleType) -> None:
    with pytest.raises(SystemExit, match="/v1/nonsense"):
        tool.reduce_description(DESCRIPTION, {"GET /v1/nonsense": "any"})


def test_the_data_file_is_what_the_tool_would_write_of_itself(tool: ModuleType) -> None:
    """The reduction is its own fixed point, but for what is only known from the whole description."""
    again = tool.reduce_description(CONTRACT.description, SERVED)
    again["x-shadowed"] = CONTRACT.description["x-shadowed"]
    text = json.dumps(again, indent=1, sort_keys=True) + "\n"
    assert tool.OUTPUT.read_text("utf-8") == text


def test_the_data_file_names_its_source() -> None:
    source = CONTRACT.description["x-source"]
    assert (source["repository"], source["commit"]) == ("spectrocloud/palette-sdk-go", "dbd0431")


def test_every_model_can_be_made() -> None:
    for name in CONTRACT.description["definitions"]:
        assert isinstance(CONTRACT.model(name).adapter, TypeAdapter)


def model(schema: dict[str, Any], **definitions: Any) -> Model:
    return Model(Models(definitions), schema)


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "integer", "format": "int32"}, [0, -(2**31)], [1.0, "1", True, 2**31]),
        ({"type": "integer", "format": "int8"}, [127], [128]),
        ({"type": "number"}, [1, 1.5], ["1", True]),
        ({"type": "boolean"}, [True], [0, "true"]),
        ({"type": "string", "minLength": 1, "maxLength": 2}, ["a"], ["", "abc", 1]),
        ({"type": "string", "pattern": "^a+$"}, ["aa"], ["b"]),
        ({"type": "string", "enum": ["a", "b"]}, ["a"], ["c", ""]),
        ({"type": "integer", "minimum": 1, "maximum": 3}, [1, 3], [0, 4]),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, [2], [1]),
        (
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            [["a", "b"], []],
            [["a", "a"], ["a", 1], "a"],
        ),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, [["a"]], [[]]),
        ({"type": "object", "additionalProperties": {"type": "string"}}, [{"a": "b"}], [{"a": 1}, []]),
        ({"type": "object"}, [{"a": [1]}], ["a"]),
        (
            {"type": "string", "format": "date-time"},
            ["2026-01-31T12:00:00Z", "0001-01-01T00:00:00.000Z"],
            ["2026-01-31", "x"],
        ),
    ],
)
def test_values_are_checked_as_the_vendors_server_decodes_them(schema: Any, right: list[Any], wrong: list[Any]) -> None:
    checked = model(schema)
    for value in right:
        assert checked.accept(value) == value
    for value in wrong:
        with pytest.raises(ApiError) as refused:
            checked.accept(value)
        assert refused.value.status == 400


def test_a_definition_may_hold_itself() -> None:
    node = {"properties": {"value": {"type": "integer"}, "next": {"$ref": "#/definitions/SelfHolding"}}}
    checked = model({"$ref": "#/definitions/SelfHolding"}, SelfHolding=node)
    assert checked.accept({"next": {"next": {"value": 1, "stray": 2}}}) == {"next": {"next": {"value": 1}}}
    with pytest.raises(ApiError, match=r"body\.next\.next\.value"):
        checked.accept({"next": {"next": {"value": "1"}}})


def test_an_answer_is_held_to_its_fields_where_a_body_is_not() -> None:
    checked = model({"properties": {"a": {"type": "string"}}})
    assert checked.accept({"a": "x", "b": 1}) == {"a": "x"}
    assert "answer.b" in checked.violations({"a": "x", "b": 1})
    assert checked.violations({"a": "x"}) == ""


def test_nulls_are_left_out_at_any_depth() -> None:
    assert without_nulls({"a": None, "b": [{"c": None, "d": 1}], "e": {}}) == {"b": [{"d": 1}], "e": {}}
