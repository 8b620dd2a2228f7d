# SPDX-License-Identifier: GPL-3.0-or-later
"""Models made from the definitions of the reduced description.

A definition with properties becomes a ``TypedDict``, one with an enumeration a named ``Literal``. They live as
attributes of one module object, so that definitions may refer to each other, and to themselves, by name.
Numbers, strings and booleans are checked strictly, as the vendor's server decodes them: ``"3"`` is no integer.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
from datetime import datetime
from types import ModuleType
from typing import Annotated, Any, ForwardRef, Literal, NotRequired, Required, TypeAlias

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, WithJsonSchema
from typing_extensions import TypeAliasType, TypedDict

from paletteops_plane.errors import ApiError

Json: TypeAlias = Any

_NAMESPACE = ModuleType("paletteops_plane.contract.definitions")
sys.modules[_NAMESPACE.__name__] = _NAMESPACE


def _date_time(value: str) -> str:
    try:
        datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError("expected a date and time such as 2026-01-31T12:00:00Z") from None
    if "T" not in value:
        raise ValueError("expected a date and time such as 2026-01-31T12:00:00Z")
    return value


DateTime = Annotated[str, AfterValidator(_date_time), WithJsonSchema({"type": "string", "format": "date-time"})]

_INTEGER_RANGES = {
    "int8": (-(2**7), 2**7 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}


def _all_different(values: list[Json]) -> list[Json]:
    # Compared as texts: a list of every cluster has thousands of items, too many to compare each with each.
    seen: set[str] = set()
    for number, value in enumerate(values):
        text = json.dumps(value, sort_keys=True)
        if text in seen:
            raise ValueError(f"item {number} is there twice")
        seen.add(text)
    return values


def _in_range(low: int, high: int) -> AfterValidator:
    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"is outside of {low}..{high}")
        return value

    return AfterValidator(check)


def _annotate(base: Any, schema: dict[str, Json]) -> Any:
    """The type with the schema's format, bounds and pattern."""
    kind, form = schema.get("type"), schema.get("format")
    extras: list[Any] = []
    json_schema: dict[str, Json] = {}
    if form:
        json_schema["format"] = form
    if kind in ("integer", "number") and form in _INTEGER_RANGES:
        extras.append(_in_range(*_INTEGER_RANGES[form]))
    bounds: dict[str, Json] = {}
    for key, keyword_name in (("minimum", "ge"), ("maximum", "le")):
        if key in schema:
            exclusive = schema.get("exclusive" + key.capitalize())
            bounds[{"ge": "gt", "le": "lt"}[keyword_name] if exclusive else keyword_name] = schema[key]
    for key, keyword_name in (("minLength", "min_length"), ("maxLength", "max_length")):
        if key in schema:
            bounds[keyword_name] = schema[key]
    for key, keyword_name in (("minItems", "min_length"), ("maxItems", "max_length")):
        if key in schema:
            bounds[keyword_name] = schema[key]
    if schema.get("uniqueItems"):
        extras.append(AfterValidator(_all_different))
        json_schema["uniqueItems"] = True
    if "pattern" in schema:
        pattern = re.compile(schema["pattern"])

        def matches(value: str) -> str:
            if not pattern.search(value):
                raise ValueError(f"does not match {pattern.pattern}")
            return value

        extras.append(AfterValidator(matches))
        json_schema["pattern"] = schema["pattern"]
    if not (extras or bounds or json_schema):
        return base
    return Annotated[(base, Field(json_schema_extra=json_schema or None, **bounds), *extras)]


class Models:
    """All models of one description."""

    def __init__(self, definitions: dict[str, dict[str, Json]]) -> None:
        self._definitions = definitions

    def type_of(self, schema: dict[str, Json], name: str = "body") -> Any:
        """The type of a schema; ``name`` is what a structure without a name of its own is called."""
        if "$ref" in schema:
            return self.named(schema["$ref"].rsplit("/", 1)[1])
        if "enum" in schema:
            return Literal[tuple(schema["enum"])]
        kind = schema.get("type")
        if kind == "array":
            return _annotate(list[self.type_of(schema["items"], name)], schema)  # type: ignore[misc]
        if kind == "object" or kind is None:
            if "properties" in schema:
                return self._typed_dict(name, schema)
            extra = schema.get("additionalProperties")
            if isinstance(extra, dict):
                return dict[str, self.type_of(extra, name)]  # type: ignore[misc]
            return dict[str, Any] if kind == "object" else Any
        if kind == "string":
            return DateTime if schema.get("format") == "date-time" else _annotate(str, schema)
        return _annotate({"integer": int, "number": float, "boolean": bool}[kind], schema)

    def named(self, name: str) -> Any:
        """The model of a definition, made on first use; a reference to one that is being made stays a name."""
        attribute = _attribute(name)
        made = getattr(_NAMESPACE, attribute, None)
        if made is None:
            definition = self._definitions[name]
            setattr(_NAMESPACE, attribute, ForwardRef(attribute, module=_NAMESPACE.__name__))
            if "properties" in definition:
                made = self._typed_dict(name, definition)
            else:
                made = TypeAliasType(name, self.type_of(definition, name))  # type: ignore[misc]
            setattr(_NAMESPACE, attribute, made)
        return made

    def _typed_dict(self, name: str, schema: dict[str, Json]) -> Any:
        required = set(schema.get("required", ()))
        fields = {}
        for field, field_schema in schema["properties"].items():
            field_type = self.type_of(field_schema, f"{name}.{field}")
            fields[field] = Required[field_type] if field in required else NotRequired[field_type]
        made = TypedDict(name, fields)  # type: ignore[misc]
        made.__module__ = _NAMESPACE.__name__
        return made


def _attribute(name: str) -> str:
    attribute = re.sub(r"\W", "_", name)
    return attribute + "_" if keyword.iskeyword(attribute) else attribute


class Model:
    """Checks values against one schema of the description."""

    def __init__(self, models: Models, schema: dict[str, Json], name: str = "body") -> None:
        self.schema = schema
        self._models = models
        self._name = name
        self._adapter: TypeAdapter[Any] | None = None

    @property
    def adapter(self) -> TypeAdapter[Any]:
        if self._adapter is None:
            self._adapter = TypeAdapter(self._models.type_of(self.schema, self._name))
        return self._adapter

    def accept(self, value: Json, where: str = "body") -> Json:
        """The value with unknown fields left out; an ``ApiError`` that names each wrong field and its value."""
        try:
            return self.adapter.validate_python(value, strict=True)
        except ValidationError as error:
            raise ApiError("InvalidRequest", *_describe(error, where)) from None

    def violations(self, value: Json) -> str:
        """What breaks the schema, unknown fields included; empty when nothing does."""
        try:
            self.adapter.validate_python(value, strict=True, extra="forbid")
        except ValidationError as error:
            return _describe(error, "answer")[0]
        return ""


def _describe(error: ValidationError, where: str) -> tuple[str, dict[str, Json]]:
    fields = []
    for problem in error.errors(include_url=False):
        path = where
        for part in problem["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}"
        fields.append(
            {
                "field": path,
                "problem": problem["msg"].removeprefix("Value error, "),
                "value": _shown(problem.get("input"), path),
            }
        )
    text = "; ".join(
        f"{item['field']}: {item['problem']}" + (f" (got {item['value']})" if item["value"] else "")
        for item in fields[:5]
    )
    return text, {"fields": fields[:20]}


def _shown(value: Json, path: str) -> str:
    """A value as an error may show it: short, and nothing where the field may hold a secret or a whole document."""
    if isinstance(value, (dict, list)) or is_secret_name(path.rsplit(".", 1)[-1]):
        return ""
    return repr(value)[:80]


#: Names of fields that hold a secret, or free text in which one may stand.
_SECRET = re.compile(
    r"(secret|password|token|api_?key|access_?key|secret_?key|private_?key|credentials|values?|content|external_?id)$",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    return bool(_SECRET.search(name.partition("[")[0]))


def without_nulls(value: Json) -> Json:
    """The value without fields that are null: the vendor's server takes null as not given."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
