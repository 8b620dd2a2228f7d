# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's own OpenAPI description: the routes that exist, with the models that check them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from paletteops_plane.contract import CONTRACT, Model, Operation
from paletteops_plane.errors import STATUSES

_REFERENCE = "#/components/schemas/{model}"
_JSON = "application/json"
_PARAMETER_SCHEMA_LEAVES_OUT = {"name", "in", "required", "collectionFormat"}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document; made once."""
    if app.openapi_schema:
        return app.openapi_schema
    by_id = {operation.data["operationId"]: operation for operation in CONTRACT.operations.values()}
    routes = {
        route.operation_id: route
        for route in app.routes
        if isinstance(route, APIRoute) and route.operation_id is not None and route.operation_id in by_id
    }
    served = {identity: by_id[identity] for identity in routes}
    models: dict[tuple[str, str], Model] = {("v1Error", "answer"): CONTRACT.model("v1Error")}
    for identity, operation in served.items():
        if operation.body is not None:
            models[identity, "body"] = operation.body
        if operation.answer is not None:
            models[identity, "answer"] = operation.answer
    schemas, definitions = TypeAdapter.json_schemas(
        [(key, "validation", model.adapter) for key, model in models.items()], ref_template=_REFERENCE
    )
    of_model = {key: schema for (key, _), schema in schemas.items()}
    for identity, route in routes.items():
        route.openapi_extra = _operation(served[identity], of_model, identity)
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    for operation in served.values():
        # FastAPI adds an answer of its own for the declared status; the contract's stands alone.
        described = document["paths"][operation.path][operation.method.lower()]
        described["responses"] = _responses(operation, of_model, operation.data["operationId"])
    components = document.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **definitions.get("$defs", {})}
    components["securitySchemes"] = {
        "ApiKey": {"type": "apiKey", "in": "header", "name": "ApiKey"},
        "Authorization": {"type": "apiKey", "in": "header", "name": "Authorization"},
    }
    app.openapi_schema = document
    return document


def _operation(operation: Operation, schemas: dict[Any, Any], identity: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "parameters": [_parameter(item) for item in operation.data["parameters"] if "type" in item]
    }
    if operation.scope in ("any", "project"):
        described["parameters"].append(
            {
                "name": "ProjectUid",
                "in": "header",
                "required": operation.scope == "project",
                "schema": {"type": "string"},
            }
        )
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {_JSON: {"schema": schemas[identity, "body"]}},
        }
    described["security"] = [] if operation.scope == "public" else [{"ApiKey": []}, {"Authorization": []}]
    return described


def _parameter(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": item["name"],
        "in": item["in"],
        "required": item.get("required", False),
        "schema": {key: value for key, value in item.items() if key not in _PARAMETER_SCHEMA_LEAVES_OUT},
    }


def _responses(operation: Operation, schemas: dict[Any, Any], identity: str) -> dict[str, Any]:
    success: dict[str, Any] = operation.data["responses"][str(operation.status)]
    answer: dict[str, Any] = {"description": success["description"]}
    if operation.answer is not None:
        answer["content"] = {_JSON: {"schema": schemas[identity, "answer"]}}
    elif operation.response_schema is not None:
        answer["content"] = {operation.produces: {"schema": operation.response_schema}}
    if operation.response_headers:
        answer["headers"] = {name: {"schema": {"type": "string"}} for name in operation.response_headers}
    responses = {str(operation.status): answer}
    error = {_JSON: {"schema": schemas["v1Error", "answer"]}}
    for status, meaning in STATUSES.items():
        responses[str(status)] = {"description": meaning, "content": error}
    return responses
