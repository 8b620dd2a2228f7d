# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of the reduced description, ready for use by the application."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

from paletteops_plane.contract.models import Model, Models
from paletteops_plane.contract.served import SERVED
from paletteops_plane.errors import ApiError

Json = Any


@dataclass(frozen=True)
class Parameter:
    """A parameter of the path or the query."""

    name: str
    place: str
    required: bool
    schema: dict[str, Json]
    model: Model

    def read(self, text: str | None) -> Json:
        """The typed value of the text, the default where none was sent; an ``ApiError`` when it does not fit."""
        if text is None or text == "":
            if self.required:
                raise ApiError("InvalidRequest", f"the parameter {self.name} is required", {"field": self.name})
            return self.schema.get("default")
        value: Json = text
        kind = self.schema.get("type")
        try:
            if kind == "integer":
                value = int(text)
            elif kind == "number":
                value = float(text)
            elif kind == "boolean":
                value = {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        except (ValueError, KeyError):
            raise ApiError(
                "InvalidRequest",
                f"the parameter {self.name} is {text[:80]!r}, not of type {kind}",
                {"field": self.name},
            ) from None
        return self.model.accept(value, self.name)


class Operation:
    """One operation: what it takes, and what it answers on success."""

    def __init__(self, models: Models, method: str, path: str, scope: str, data: dict[str, Json]) -> None:
        self.method = method
        self.path = path
        self.scope = scope
        self.data = data
        self._models = models
        status, response = next(iter(data["responses"].items()))
        self.status = int(status)
        self.response_schema: dict[str, Json] | None = response.get("schema")
        self.response_headers: tuple[str, ...] = tuple(response.get("headers", ()))
        self.produces: str = data.get("produces", ["application/json"])[0]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @cached_property
    def query(self) -> tuple[Parameter, ...]:
        return tuple(
            Parameter(item["name"], item["in"], item.get("required", False), item, Model(self._models, item))
            for item in self.data["parameters"]
            if item["in"] == "query"
        )

    @cached_property
    def body(self) -> Model | None:
        for item in self.data["parameters"]:
            if item["in"] == "body":
                return Model(self._models, item["schema"], f"{self.data['operationId']}.body")
        return None

    @property
    def body_required(self) -> bool:
        return any(item["in"] == "body" and item.get("required") for item in self.data["parameters"])

    @cached_property
    def answer(self) -> Model | None:
        """The model of the success answer; none where there is no body or where the body is a file."""
        schema = self.response_schema
        if schema is None or schema.get("format") == "binary" or schema.get("type") == "file":
            return None
        return Model(self._models, schema)


class Contract:
    """The reduced description."""

    def __init__(self, description: dict[str, Json], served: dict[str, str]) -> None:
        self.description = description
        self.models = Models(description["definitions"])
        #: Operations that are not served but whose paths look like served ones: ``"METHOD /path"``.
        self.shadowed: tuple[str, ...] = tuple(description["x-shadowed"])
        self.operations: dict[str, Operation] = {}
        for path, item in description["paths"].items():
            for method, data in item.items():
                name = f"{method.upper()} {path}"
                if name in served:
                    self.operations[name] = Operation(self.models, method.upper(), path, served[name], data)
        lacking = served.keys() - self.operations.keys()
        if lacking:
            raise LookupError(f"the data file lacks {sorted(lacking)}: run tools/reduce_contract.py")

    def model(self, name: str) -> Model:
        """The model of a definition by its name."""
        return Model(self.models, {"$ref": f"#/definitions/{name}"})


def _load() -> Contract:
    text = files("paletteops_plane.contract").joinpath("palette-api.json").read_bytes()
    return Contract(json.loads(text), SERVED)


CONTRACT = _load()
