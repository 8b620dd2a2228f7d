# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP application: every served operation as a route, everything else refused in the API's own words."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paletteops_plane import __version__, embedded_api
from paletteops_plane.auth import User, authenticate
from paletteops_plane.bodies import Bodies, body_of, parse, plain
from paletteops_plane.contract import CONTRACT, Operation, without_nulls
from paletteops_plane.errors import ApiError
from paletteops_plane.extensions import install_extensions
from paletteops_plane.host_access import HOST_OPERATIONS, admit_host, is_host_credential
from paletteops_plane.openapi import describe
from paletteops_plane.plane import Plane
from paletteops_plane.resources import load
from paletteops_plane.responses import (
    answer_failure,
    answer_nobody,
    error_response,
    json_response,
    limit,
    without_token,
)
from paletteops_plane.routing import HANDLERS, Call, Handler
from paletteops_plane.store import Document

log = logging.getLogger(__name__)


def create_app(plane: Plane) -> FastAPI:
    """The application of one plane."""
    load()
    app = FastAPI(
        title="Palette management API, embedded plane",
        version=__version__,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.plane = plane
    not_served = _NotServed(plane)
    for name in sorted([*CONTRACT.operations, *CONTRACT.shadowed], key=_specific_first):
        operation, handler = CONTRACT.operations.get(name), HANDLERS.get(name)
        if operation is None or handler is None:
            method, path = name.split(" ")
            app.router.routes.append(Route(path, not_served, methods=[method]))
            continue
        app.add_api_route(
            operation.path,
            _endpoint(plane, operation, handler),
            methods=[operation.method],
            operation_id=operation.data["operationId"],
            response_class=Response,
            response_model=None,
            status_code=operation.status,
        )
    app.add_middleware(Bodies)
    if log.isEnabledFor(logging.INFO):
        app.add_middleware(_AccessLog)
    embedded_api.install(app, plane)
    install_extensions(app, plane)
    app.router.routes.append(Route("/v1/{rest:path}", not_served))
    app.add_exception_handler(ApiError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(ClientDisconnect, answer_nobody)
    app.add_exception_handler(Exception, answer_failure)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def _specific_first(name: str) -> list[tuple[bool, str]]:
    """Order of matching: a literal segment before a parameter in the same place."""
    return [(segment.startswith("{"), segment) for segment in name.split(" ")[1].split("/")]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    plane: Plane = app.state.plane

    async def repeat(seconds: float, function: Callable[[Plane], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                with plane.store.transaction():
                    function(plane)
            except Exception:
                log.exception("a background task failed")

    tasks = [asyncio.create_task(repeat(seconds, function)) for seconds, function in plane.background]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


#: Bytes of the largest body that is taken. Manifests and values are the largest that clients send.
LARGEST_BODY = 8 * 1024 * 1024


def _endpoint(plane: Plane, operation: Operation, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        limit(plane, request)
        body, known = body_of(request), operation.scope != "public"
        if known and not body.whole:
            # Who calls is known before anything is kept of what they send.
            with plane.store.transaction():
                _caller(plane, operation, request)
        content = await body.read(LARGEST_BODY, known=known)
        # In a transaction of its own: a request that is refused must not take back what time has brought.
        with plane.store.transaction():
            for bring_up_to_date in plane.before_request:
                bring_up_to_date(plane)
        with plane.store.transaction():
            call = _checked(plane, operation, request, content)
            result = handler(call)
            response = _answer(operation, result)
        if "AuditUid" in operation.response_headers:
            response.headers["AuditUid"] = secrets.token_hex(12)
        return response

    return endpoint


def _checked(plane: Plane, operation: Operation, request: Request, content: bytes) -> Call:
    headers = request.headers
    user, host = _caller(plane, operation, request)
    project = host.project if host else headers.get("projectuid", "") if user else ""
    if user:
        _check_scope(plane, operation, project)
    call = Call(plane, operation, user, project, dict(request.path_params), headers=headers, host=host)
    call.base_url = f"{request.url.scheme}://{headers.get('host', request.url.netloc)}"
    query = request.query_params
    for parameter in operation.query:
        value = parameter.read(query.get(parameter.name))
        if value is not None:
            call.query[parameter.name] = value
    if operation.body is not None:
        body = _body(operation, content)
        call.body = plain(body) if host else body
    return call


def _caller(plane: Plane, operation: Operation, request: Request) -> tuple[User | None, Document | None]:
    """The user or the host that calls, within a transaction; neither where the operation needs no credential."""
    headers = request.headers
    if operation.scope == "public":
        return None, None
    if not is_host_credential(headers.get("authorization", "")):
        return authenticate(plane, headers.get("apikey"), headers.get("authorization")), None
    host = admit_host(plane, headers["authorization"])
    if operation.name not in HOST_OPERATIONS or request.path_params["uid"] != host.uid:
        raise ApiError("OperationForbidden", f"{operation.name} is not for the host {host.uid!r}")
    return None, host


def _check_scope(plane: Plane, operation: Operation, project: str) -> None:
    if project and operation.scope == "tenant":
        raise ApiError("ProjectUidIsNotEmpty", f"{operation.name} is the tenant's: send it without ProjectUid")
    if not project and operation.scope == "project":
        raise ApiError("ProjectUidIsEmpty", f"{operation.name} needs the header ProjectUid")
    if project and plane.store.get("project", project) is None:
        # Not 404: clients take that as "the object is absent" and would make it again.
        raise ApiError("OperationForbidden", f"no project with the uid {project!r}", {"projectUid": project})


def _body(operation: Operation, content: bytes) -> Any:
    model = operation.body
    assert model is not None
    if not content.strip():
        if operation.body_required:
            raise ApiError("InvalidRequest", "the body is missing")
        content = b"[]" if model.schema.get("type") == "array" else b"{}"
    return model.accept(without_nulls(parse(content)))


def _answer(operation: Operation, result: Any) -> Response:
    if isinstance(result, Response):
        return result
    if operation.answer is None:
        return Response(status_code=operation.status)
    broken = operation.answer.violations(result)
    if broken:
        log.error("the answer of %s breaks the contract: %s", operation.name, broken)
        raise ApiError("InternalError", f"the answer of {operation.name} breaks the contract: {broken}")
    return json_response(result, operation.status)


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    return error_response(ApiError("PathNotFound", f"there is no {request.method} {request.url.path} here"))


class _NotServed:
    """Answers what the management API may have but this plane does not, any method."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        limit(self._plane, request)
        message = f"{request.method} {request.url.path} is not served by this plane"
        await error_response(ApiError("NotServed", message))(scope, receive, send)


class _AccessLog:
    """A line for each request: method, path, status, milliseconds; no query and no headers, which may hold secrets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                took = (time.monotonic() - began) * 1000
                path = without_token(scope["path"])
                log.info("%s %s %s %.1f ms", scope["method"], path, message["status"], took)
            await send(message)

        await self._app(scope, receive, observed)
