# SPDX-License-Identifier: GPL-3.0-or-later
"""The reduced description against the vendor's, and the plane's own OpenAPI document against the reduced one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.api import Api
from support.description import REPOSITORY, VENDORS, Description, Operation, Schema

#: What of a schema must be the same everywhere, beside its structure.
FACTS = ("type", "format", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern")
#: What of a parameter must be the same everywhere.
PARAMETER_FACTS = ("type", "format", "enum", "default", "minimum", "maximum", "pattern")


def parameters_of(operation: Operation) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (item["in"], item["name"]): {key: item[key] for key in PARAMETER_FACTS if key in item}
        | {"required": item.get("required", False)}
        for item in operation.parameters
        if item["in"] not in ("body", "formData")
    }


def differences(
    wanted: Schema, got: Schema, wanted_root: Description, got_root: Any, where: str, seen: set[tuple[str, str]]
) -> Iterator[str]:
    """Where two schemas differ in what they say about data; prose and hints for generators do not count."""
    pair = (wanted.get("$ref", ""), got.get("$ref", ""))
    if all(pair):
        if pair in seen:
            return
        seen.add(pair)
    wanted, got = wanted_root.resolve(wanted), got_root.resolve(got)
    wanted, got = _typed(wanted), _typed(got)
    for fact in FACTS:
        mine, theirs = wanted.get(fact), got.get(fact)
        if fact == "enum" and theirs is None and "const" in got:
            theirs = [got["const"]]
        if fact == "enum" and mine and theirs:
            mine, theirs = sorted(mine, key=str), sorted(theirs, key=str)
        if mine != theirs:
            yield f"{where}: {fact} is {theirs!r}, described as {mine!r}"
    for part in ("exclusiveMinimum", "exclusiveMaximum"):
        if bool(wanted.get(part)) != bool(got.get(part)):
            yield f"{where}: {part} differs"
    mine, theirs = wanted.get("properties", {}), got.get("properties", {})
    # The vendor's description requires a few fields that it does not have; nothing can be said of those.
    required, required_there = (
        set(wanted.get("required", ())) & mine.keys(),
        set(got.get("required", ())) & theirs.keys(),
    )
    if required != required_there:
        yield f"{where}: required is {sorted(required_there)}, described as {sorted(required)}"
    for name in sorted(mine.keys() ^ theirs.keys()):
        yield f"{where}.{name}: is {'lacking' if name in mine else 'not described'}"
    for name in sorted(mine.keys() & theirs.keys()):
        yield from differences(mine[name], theirs[name], wanted_root, got_root, f"{where}.{name}", seen)
    if ("items" in wanted) != ("items" in got):
        yield f"{where}: items differ"
    elif "items" in wanted:
        yield from differences(wanted["items"], got["items"], wanted_root, got_root, f"{where}[]", seen)
    mine, theirs = wanted.get("additionalProperties"), got.get("additionalProperties")
    if isinstance(mine, dict) != isinstance(theirs, dict):
        yield f"{where}: the values of the map differ: {theirs!r}, described as {mine!r}"
    elif isinstance(mine, dict) and isinstance(theirs, dict):
        yield from differences(mine, theirs, wanted_root, got_root, f"{where}{{}}", seen)


def _typed(schema: Schema) -> Schema:
    """A schema in the words of Swagger 2.0: OpenAPI 3.1 gives exclusive bounds as numbers of their own.

    What has named fields, or values of one schema, is an object, whether the description says so or not.
    """
    for bound in ("minimum", "maximum"):
        exclusive = "exclusive" + bound.capitalize()
        if isinstance(schema.get(exclusive), int | float) and not isinstance(schema[exclusive], bool):
            schema = {**schema, bound: schema[exclusive], exclusive: True}
    if "type" not in schema and ("properties" in schema or isinstance(schema.get("additionalProperties"), dict)):
        return {**schema, "type": "object"}
    return schema


def test_the_reduced_description_says_what_the_vendors_says(description: Description, vendors: Description) -> None:
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for name, operation in description.operations.items():
        original = vendors.operations.get(name)
        if original is None:
            found.append(f"{name}: the vendor has no such operation")
            continue
        if parameters_of(operation) != parameters_of(original):
            found.append(f"{name}: parameters differ")
        if operation.identity != original.identity:
            found.append(f"{name}: operation id {operation.identity}, not {original.identity}")
        for key in ("consumes", "produces"):
            if operation.data.get(key) != original.data.get(key):
                found.append(f"{name}: {key} differs")
        declared = {status for status in original.data["responses"] if int(status) < 400}
        if set(operation.data["responses"]) != declared:
            found.append(f"{name}: answers {sorted(operation.data['responses'])}, not {sorted(declared)}")
        mine, theirs = operation.body, original.body
        if (mine is None) != (theirs is None):
            found.append(f"{name}: body differs")
        elif mine is not None and theirs is not None:
            found += differences(theirs, mine, vendors, description, f"{name} body", seen)
        for status in declared & set(operation.data["responses"]):
            theirs = original.data["responses"][status].get("schema")
            mine = operation.data["responses"][status].get("schema")
            if (mine is None) != (theirs is None):
                found.append(f"{name}: answer {status} differs")
            elif mine is not None and theirs is not None:
                found += differences(theirs, mine, vendors, description, f"{name} answer", seen)
    assert not found, "\n".join(found[:40])


def test_the_reduced_description_holds_no_prose(description: Description) -> None:
    def texts(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key, child in value.items():
                # "description" as the name of a property is data.
                if key in ("description", "summary", "title", "example") and isinstance(child, str):
                    yield f"{path}.{key}: {child}"
                yield from texts(child, f"{path}.{key}")
        elif isinstance(value, list):
            for child in value:
                yield from texts(child, f"{path}[]")

    phrases = {"OK", "Created", "Accepted", "No Content"}
    prose = [text for text in texts(description.document["paths"], "paths") if text.split(": ", 1)[1] not in phrases]
    prose += list(texts(description.document["definitions"], "definitions"))
    assert not prose, "\n".join(prose[:20])


def test_the_reduced_description_is_what_the_script_writes(vendors: Description) -> None:
    script = REPOSITORY / "embedded" / "plane" / "tools" / "reduce_contract.py"
    done = subprocess.run(
        [sys.executable, str(script), str(VENDORS), "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reduced_description_names_its_source(description: Description) -> None:
    source = description.document["x-source"]
    assert source["commit"] == "dbd0431"
    assert source["repository"] and source["path"] and source["licence"]


class Served:
    """The plane's own OpenAPI 3.1 document, read as a description."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.operations = {
            f"{method.upper()} {path}": operation
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }

    def resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return schema


@pytest.fixture(scope="module")
def served(api: Api) -> Served:
    # Not under /v1, so the answer is not held against the description itself.
    response = api._client.get("/openapi.json")
    assert response.status_code == 200
    return Served(response.json())


def test_the_plane_serves_the_operations_of_the_description(served: Served, description: Description) -> None:
    lacking = sorted(description.operations.keys() - served.operations.keys())
    beyond = sorted(served.operations.keys() - description.operations.keys())
    assert not lacking and not beyond, f"lacking: {lacking}\nnot described: {beyond}"


def test_routes_prints_what_is_served(served: Served) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "paletteops_plane", "--routes"], capture_output=True, text=True, timeout=60, check=True
    )
    printed = {" ".join(line.split()[:2]) for line in done.stdout.splitlines()}
    of_agents = {name for name in printed if " /embedded/v1/hosts/" in name}
    assert of_agents and printed - of_agents == served.operations.keys()


def test_the_planes_own_description_is_the_reduced_one(served: Served, description: Description) -> None:
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for name, operation in description.operations.items():
        mine = served.operations.get(name)
        if mine is None:
            continue  # the test above says so
        parameters = {
            (item["in"], item["name"]): {key: item["schema"][key] for key in PARAMETER_FACTS if key in item["schema"]}
            | {"required": item["required"]}
            for item in mine.get("parameters", [])
            if item["in"] != "header"  # the scope, which the vendor's description leaves out
        }
        if parameters != parameters_of(operation):
            found.append(f"{name}: parameters are {parameters}, described as {parameters_of(operation)}")
        if (operation.body is None) != ("requestBody" not in mine):
            found.append(f"{name}: body differs")
        elif operation.body is not None:
            body = mine["requestBody"]["content"]["application/json"]["schema"]
            found += differences(operation.body, body, description, served, f"{name} body", seen)
        status, schema = operation.success
        declared = {key for key in mine["responses"] if int(key) < 400}
        if declared != {str(status)}:
            found.append(f"{name}: answers {declared}, described as {status}")
            continue
        content = mine["responses"][str(status)].get("content", {})
        kind = operation.data.get("produces", ["application/json"])[0] if schema is not None else None
        if list(content) != ([kind] if kind else []):
            found.append(f"{name}: answers {list(content)}, described as {kind}")
        elif schema is not None and kind is not None:
            found += differences(schema, content[kind]["schema"], description, served, f"{name} answer", seen)
    assert not found, f"{len(found)} differences\n" + "\n".join(found[:40])
