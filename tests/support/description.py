# SPDX-License-Identifier: GPL-3.0-or-later
"""The description of the management API, as tests read it: apart from the plane's own reading of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT4

REPOSITORY = Path(__file__).resolve().parents[2]
REDUCED = REPOSITORY / "embedded" / "plane" / "src" / "paletteops_plane" / "contract" / "palette-api.json"
VENDORS = REPOSITORY.parent / "shared" / "specs" / "palette-api-4.8.json"

Schema = dict[str, Any]

_BASE = "urn:description"
_ERROR: Schema = {"$ref": "#/definitions/v1Error"}
_INTEGERS = {"int8": 7, "int32": 31, "int64": 63}


@dataclass(frozen=True)
class Operation:
    """One operation of a Swagger 2.0 description."""

    method: str
    path: str
    data: dict[str, Any]
    parameters: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def identity(self) -> str:
        return str(self.data["operationId"])

    @property
    def body(self) -> Schema | None:
        return next((item["schema"] for item in self.parameters if item["in"] == "body"), None)

    @property
    def success(self) -> tuple[int, Schema | None]:
        """The first declared success: its status, and the schema of its body."""
        status = min(int(key) for key in self.data["responses"] if int(key) < 400)
        return status, self.data["responses"][str(status)].get("schema")

    @property
    def is_file(self) -> bool:
        schema = self.success[1] or {}
        return schema.get("type") == "file" or schema.get("format") == "binary"


class Description:
    """A Swagger 2.0 description and checks of values against it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.operations: dict[str, Operation] = {}
        for path, item in document["paths"].items():
            shared = item.get("parameters", [])
            for method, data in item.items():
                if method == "parameters":
                    continue
                own = data.get("parameters", [])
                taken = {(parameter["name"], parameter["in"]) for parameter in own}
                parameters = (*(p for p in shared if (p["name"], p["in"]) not in taken), *own)
                operation = Operation(method.upper(), path, data, parameters)
                self.operations[operation.name] = operation
        strict = {name: _strict(schema) for name, schema in document["definitions"].items()}
        self._registry: Registry[Any] = Registry().with_resource(
            _BASE, DRAFT4.create_resource({"id": _BASE, "definitions": strict})
        )
        self._formats = FormatChecker(())
        self._formats.checks("date-time")(_is_point_in_time)
        # By the identity of their schemas, which are held here so that no other takes its place.
        self._validators: dict[int, tuple[Schema, Draft4Validator]] = {}

    @classmethod
    def load(cls, path: Path) -> Description:
        return cls(json.loads(path.read_text("utf-8")))

    def resolve(self, schema: Schema) -> Schema:
        """The schema itself where it is a reference."""
        while "$ref" in schema:
            schema = self.document["definitions"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def find(self, method: str, path: str) -> Operation | None:
        """The operation that a request meets; a literal segment goes before a parameter."""
        segments = path.strip("/").split("/")
        best: tuple[int, Operation] | None = None
        for operation in self.operations.values():
            template = operation.path.strip("/").split("/")
            if operation.method != method or len(template) != len(segments):
                continue
            pairs = list(zip(template, segments, strict=True))
            if all(wanted == got or wanted.startswith("{") for wanted, got in pairs):
                literal = sum(wanted == got for wanted, got in pairs)
                if best is None or literal > best[0]:
                    best = (literal, operation)
        return best[1] if best else None

    def violations(self, schema: Schema, value: Any) -> list[str]:
        """What in the value breaks the schema; a field that the schema lacks counts too."""
        if id(schema) not in self._validators:
            made = Draft4Validator(_strict(schema), registry=self._registry, format_checker=self._formats)
            self._validators[id(schema)] = (schema, made)
        validator = self._validators[id(schema)][1]
        errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
        return [f"{'.'.join(map(str, error.absolute_path)) or 'body'}: {error.message[:200]}" for error in errors]

    def answer_violations(self, method: str, path: str, status: int, content_type: str, content: bytes) -> list[str]:
        """What in an answer breaks the description. Errors are not described, but all have the body v1Error."""
        if status >= 400:
            return self._error_violations(content_type, content)
        operation = self.find(method, path)
        if operation is None:
            return [f"{method} {path} is not described, yet it was answered with {status}"]
        declared = set(operation.data["responses"])
        if str(status) not in declared:
            return [f"{operation.name} answered {status}, declared are {sorted(declared)}"]
        schema = operation.data["responses"][str(status)].get("schema")
        if schema is None:
            return [f"{operation.name} answered a body with {status}"] if content else []
        if operation.is_file:
            wanted = operation.data.get("produces", ["application/json"])[0]
            return (
                [] if content_type.startswith(wanted) else [f"{operation.name} answered {content_type}, not {wanted}"]
            )
        if not content_type.startswith("application/json"):
            return [f"{operation.name} answered {content_type!r}, not JSON"]
        return [f"{operation.name}: {text}" for text in self.violations(schema, json.loads(content))]

    def _error_violations(self, content_type: str, content: bytes) -> list[str]:
        if not content_type.startswith("application/json"):
            return [f"an error came as {content_type!r}, not as JSON"]
        value = json.loads(content)
        found = self.violations(_ERROR, value)
        for field in ("code", "message", "ref"):
            if not isinstance(value, dict) or not value.get(field):
                found.append(f"an error without {field}: {str(value)[:200]}")
        return found

    def field_schemas(self, schema: Schema, path: str) -> Iterator[Schema]:
        """The schemas that a dotted path with ``[]`` for elements leads to; none when there is no such field."""
        schema = self.resolve(schema)
        if not path:
            yield schema
            return
        match = re.match(r"(\[\]|[^.\[]+)\.?(.*)", path)
        assert match is not None, path
        head, rest = match.groups()
        for part in schema.get("allOf", ()):
            yield from self.field_schemas(part, path)
        if head == "[]":
            if "items" in schema:
                yield from self.field_schemas(schema["items"], rest)
        elif head in schema.get("properties", {}):
            yield from self.field_schemas(schema["properties"][head], rest)
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from self.field_schemas(schema["additionalProperties"], rest)


def _is_point_in_time(value: Any) -> bool:
    """Whether a text is a date and time as RFC 3339 has it, with its zone. What is no text is not judged here."""
    if not isinstance(value, str):
        return True
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _strict(schema: Schema) -> Schema:
    """The schema with references made absolute, integers in their range, and nothing beyond the named fields."""
    made: Schema = {}
    for key, value in schema.items():
        if key == "$ref":
            made[key] = _BASE + value
        elif key in ("properties", "definitions"):
            made[key] = {name: _strict(child) for name, child in value.items()}
        elif key == "items" or (key == "additionalProperties" and isinstance(value, dict)):
            made[key] = _strict(value)
        elif key == "allOf":
            made[key] = [_strict(child) for child in value]
        elif not key.startswith("x-"):
            made[key] = value
    if "properties" in made and "additionalProperties" not in made:
        made["additionalProperties"] = False
    bits = _INTEGERS.get(str(schema.get("format")))
    if bits is not None and schema.get("type") == "integer":
        made.setdefault("minimum", -(2**bits))
        made.setdefault("maximum", 2**bits - 1)
    return made
