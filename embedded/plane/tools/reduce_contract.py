#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reduce the vendor's description of the management API to the structure that the plane serves.

    python tools/reduce_contract.py PALETTE_API_JSON [--check]

Kept, for each operation of the table ``paletteops_plane.contract.served``: path, method, operation id, parameters,
body, the success answer with its headers; and every definition that these reach. Of a schema only what describes
the data is kept (see ``SCHEMA_KEYS``): no prose, no generator hints. The result is a Swagger 2.0 document with the
source in ``x-source`` and, in ``x-shadowed``, the operations that must answer 501 although their paths look like
served ones; sorted, so that the same input gives the same bytes. ``--check`` compares instead of writing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "paletteops_plane"
OUTPUT = PACKAGE / "contract" / "palette-api.json"

SOURCE = {
    "repository": "spectrocloud/palette-sdk-go",
    "commit": "dbd0431",
    "path": "api/spec/palette.json",
    "licence": "Apache-2.0",
    "kept": "structure of the served operations: paths, parameters, field names, types, enums, required, bounds",
}

SCHEMA_KEYS = (
    "$ref",
    "type",
    "format",
    "enum",
    "required",
    "default",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "pattern",
    "collectionFormat",
    "x-nullable",
)
PARAMETER_KEYS = ("name", "in", *SCHEMA_KEYS)

#: Definitions that no operation names but that every answer may use.
ALWAYS = ("v1Error",)


def served_operations() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("served", PACKAGE / "contract" / "served.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    served: dict[str, str] = module.SERVED
    return served


def reduce_schema(schema: dict[str, Any]) -> dict[str, Any]:
    reduced: dict[str, Any] = {key: schema[key] for key in SCHEMA_KEYS if key in schema}
    if "properties" in schema:
        reduced["type"] = "object"
        reduced["properties"] = {name: reduce_schema(value) for name, value in schema["properties"].items()}
    if "items" in schema:
        reduced["items"] = reduce_schema(schema["items"])
    extra = schema.get("additionalProperties")
    if extra is not None:
        reduced["additionalProperties"] = reduce_schema(extra) if isinstance(extra, dict) else extra
    if "allOf" in schema:
        reduced["allOf"] = [reduce_schema(part) for part in schema["allOf"]]
    return reduced


def reduce_parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    reduced = {key: parameter[key] for key in PARAMETER_KEYS if key in parameter}
    if "schema" in parameter:
        reduced["schema"] = reduce_schema(parameter["schema"])
    if "items" in parameter:
        reduced["items"] = reduce_schema(parameter["items"])
    return reduced


def reduce_operation(item: dict[str, Any], method: str) -> dict[str, Any]:
    operation = item[method]
    own = operation.get("parameters", [])
    own_keys = {(parameter["name"], parameter["in"]) for parameter in own}
    shared = [p for p in item.get("parameters", []) if (p["name"], p["in"]) not in own_keys]
    responses: dict[str, Any] = {}
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            continue  # the plane's own table of errors stands for the few that the vendor names
        reduced: dict[str, Any] = {"description": HTTPStatus(int(status)).phrase}
        if "schema" in response:
            reduced["schema"] = reduce_schema(response["schema"])
        if "headers" in response:
            reduced["headers"] = {name: reduce_schema(value) for name, value in response["headers"].items()}
        responses[status] = reduced
    result: dict[str, Any] = {
        "operationId": operation["operationId"],
        "parameters": [reduce_parameter(parameter) for parameter in [*shared, *own]],
        "responses": responses,
    }
    for key in ("produces", "consumes"):
        if key in operation:
            result[key] = operation[key]
    return result


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"].rsplit("/", 1)[1]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(references(child) for child in value.values()))
    if isinstance(value, list):
        return set().union(*(references(child) for child in value))
    return set()


def shadowed_operations(description: dict[str, Any], served: dict[str, str]) -> list[str]:
    """Operations that are not served but whose paths a served one with parameters would take for its own."""
    patterns = [
        (name.split(" ")[0], re.compile(re.sub(r"\\{[^/]+?\\}", "[^/]+", re.escape(name.split(" ")[1]))))
        for name in served
    ]
    names = [f"{method.upper()} {path}" for path, item in description["paths"].items() for method in item]
    return sorted(
        name
        for name in names
        if name not in served
        and any(name.split(" ")[0] == method and pattern.fullmatch(name.split(" ")[1]) for method, pattern in patterns)
    )


def reduce_description(description: dict[str, Any], served: dict[str, str]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for served_operation in served:
        method, path = served_operation.split(" ", 1)
        if method.lower() not in description["paths"].get(path, {}):
            raise SystemExit(f"the description has no operation {served_operation}")
        paths.setdefault(path, {})[method.lower()] = reduce_operation(description["paths"][path], method.lower())
    definitions: dict[str, Any] = {}
    wanted = references(paths) | set(ALWAYS)
    while wanted:
        name = wanted.pop()
        definitions[name] = reduce_schema(description["definitions"][name])
        wanted |= references(definitions[name]) - definitions.keys()
    return {
        "swagger": "2.0",
        "info": description["info"],
        "x-source": SOURCE,
        "x-shadowed": shadowed_operations(description, served),
        "consumes": description["consumes"],
        "produces": description["produces"],
        "paths": paths,
        "definitions": definitions,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Reduce the vendor's API description to what the plane serves.")
    parser.add_argument("description", type=Path, help="the vendor's description, Swagger 2.0 JSON")
    parser.add_argument("--check", action="store_true", help="compare with the data file instead of writing it")
    arguments = parser.parse_args()
    reduced = reduce_description(json.loads(arguments.description.read_text("utf-8")), served_operations())
    text = json.dumps(reduced, indent=1, sort_keys=True) + "\n"
    if arguments.check:
        same = OUTPUT.read_text("utf-8") == text
        print("the data file is up to date" if same else "the data file differs: run without --check")
        return 0 if same else 1
    OUTPUT.write_text(text, "utf-8")
    print(f"{len(reduced['definitions'])} definitions, {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
