# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plane serves of its own under ``/embedded/v1/``: the calls of agents, and the test controls if asked for.

It has an OpenAPI description of its own, ``/embedded/v1/openapi.json``.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from paletteops_plane import __version__, controls
from paletteops_plane.errors import ApiError
from paletteops_plane.hosts_api import HostsGate, routes
from paletteops_plane.plane import Plane
from paletteops_plane.responses import answer_failure, answer_nobody, error_response

PREFIX = "/embedded/v1"


def install(app: FastAPI, plane: Plane) -> None:
    own = FastAPI(title="Embedded plane: agents and test controls", version=__version__, docs_url=None, redoc_url=None)
    own.include_router(routes(plane))
    if plane.settings.test_controls:
        own.include_router(controls.install(app, plane))

    @own.exception_handler(ApiError)
    async def refuse(_request: Request, error: ApiError) -> Response:
        return error_response(error)

    @own.exception_handler(RequestValidationError)
    async def refuse_invalid(_request: Request, error: RequestValidationError) -> Response:
        """Each wrong field by name, none by value: what hosts send may be secret."""
        fields: list[dict[str, Any]] = [
            {"field": ".".join(map(str, problem["loc"])), "problem": problem["msg"]} for problem in error.errors()[:20]
        ]
        text = "; ".join(f"{item['field']}: {item['problem']}" for item in fields[:5])
        return error_response(ApiError("InvalidValue", text, {"fields": fields}))

    @own.exception_handler(HTTPException)
    async def refuse_http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:
            return error_response(ApiError("InvalidRequest", str(error.detail)))
        return error_response(ApiError("PathNotFound", f"there is no {request.method} {request.url.path} here"))

    own.add_exception_handler(ClientDisconnect, answer_nobody)
    own.add_exception_handler(Exception, answer_failure)
    app.mount(PREFIX, HostsGate(own, plane))
