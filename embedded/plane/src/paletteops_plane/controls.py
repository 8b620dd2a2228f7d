# SPDX-License-Identifier: GPL-3.0-or-later
"""Test controls under ``/embedded/v1/``: the clock, faults, and a record of requests. Only when asked for.

They take no credentials, so a plane that others can reach must not have them.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import struct
from collections import deque
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paletteops_plane.clock import rfc3339
from paletteops_plane.plane import Plane
from paletteops_plane.responses import json_response, without_token

#: The paths of the controls themselves, which no fault hits.
_OWN = ("/embedded/v1/clock", "/embedded/v1/faults", "/embedded/v1/requests")
_MOST_RECORDS = 200_000


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_regular_expression)]


class ClockState(BaseModel):
    """The plane's clock."""

    now: AwareDatetime
    frozen: bool


class ClockChange(BaseModel):
    """What to do to the clock; done in the order of the fields."""

    model_config = ConfigDict(extra="forbid")
    frozen: bool | None = None
    now: AwareDatetime | None = None
    advance_seconds: float | None = None


class HttpFault(BaseModel):
    """An answer that goes wrong: a status, a reset connection, a delay (alone, or before the other two).

    ``skip`` matching requests pass before it, then ``times`` are hit. ``when: after`` lets the request do its work
    first, so that only its answer is lost.
    """

    model_config = ConfigDict(extra="forbid")
    kind: Literal["http"]
    method: str | None = None
    path: Pattern = ".*"
    times: int = Field(default=1, ge=1)
    skip: int = Field(default=0, ge=0)
    when: Literal["before", "after"] = "before"
    status: int | None = Field(default=None, ge=400, le=599)
    reset: bool = False
    delay_seconds: float = Field(default=0.0, ge=0)
    headers: dict[str, str] = {}


class InfrastructureFault(BaseModel):
    """A step of the provisioner that goes wrong; what it looks at is the provisioner's own affair."""

    model_config = ConfigDict(extra="allow")
    kind: Literal["infrastructure"]
    cluster: Pattern = ".*"
    reason: str
    message: str = ""
    times: int = Field(default=1, ge=1)


Fault = Annotated[HttpFault | InfrastructureFault, Field(discriminator="kind")]


class RequestRecord(BaseModel):
    """One request as it came; neither its body nor its credentials."""

    method: str
    path: str
    query: str
    status: int | None
    time: str
    project_uid: str
    user_agent: str


def install(app: FastAPI, plane: Plane) -> APIRouter:
    """Put the faults in front of everything else; the routes of the controls."""
    records: deque[RequestRecord] = deque(maxlen=_MOST_RECORDS)
    app.add_middleware(_Controlled, plane=plane, records=records)
    return _controls(plane, records)


def _controls(plane: Plane, records: deque[RequestRecord]) -> APIRouter:
    controls = APIRouter(tags=["test controls"])

    @controls.get("/clock")
    async def read_clock() -> ClockState:
        return ClockState(now=plane.clock.now(), frozen=plane.clock.frozen)

    @controls.put("/clock")
    async def change_clock(change: ClockChange) -> ClockState:
        if change.frozen is not None:
            plane.clock.freeze(change.frozen)
        if change.now is not None:
            plane.clock.set(change.now)
        if change.advance_seconds is not None:
            plane.clock.advance(change.advance_seconds)
        return ClockState(now=plane.clock.now(), frozen=plane.clock.frozen)

    @controls.get("/faults")
    async def read_faults() -> list[Fault]:
        """The faults that are still to come."""
        return plane.faults  # type: ignore[return-value]

    @controls.put("/faults")
    async def set_faults(faults: list[Fault]) -> list[Fault]:
        """Set the list whole; an empty list ends all faults."""
        plane.faults[:] = [fault.model_dump() for fault in faults]
        return faults

    @controls.get("/requests")
    async def read_requests() -> list[RequestRecord]:
        """All requests so far, oldest first, with those to these controls."""
        return list(records)

    @controls.delete("/requests", status_code=204)
    async def forget_requests() -> None:
        records.clear()

    return controls


class _Controlled:
    """Records each request and makes those go wrong that a fault matches."""

    def __init__(self, app: ASGIApp, plane: Plane, records: deque[RequestRecord]) -> None:
        self._app = app
        self._plane = plane
        self._records = records

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        record = self._record(scope)
        self._records.append(record)

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await send(message)

        fault = None if path.startswith(_OWN) else self._fault(scope["method"], path)
        if fault is None:
            await self._app(scope, receive, observed)
        elif fault["when"] == "after":
            # Read and answered, then thrown away: the client cannot know whether its request was done.
            async def swallow(message: Message) -> None:
                return None

            await self._app(scope, receive, swallow)
            await self._go_wrong(fault, receive, observed, None, scope)
        else:
            await self._go_wrong(fault, receive, observed, self._app, scope)

    def _record(self, scope: Scope) -> RequestRecord:
        # Imported here since the application imports this module.
        headers = dict(scope["headers"])
        return RequestRecord(
            method=scope["method"],
            path=without_token(scope["path"]),
            query=scope["query_string"].decode("latin-1"),
            status=None,
            time=rfc3339(self._plane.clock.now()),
            project_uid=headers.get(b"projectuid", b"").decode("latin-1"),
            user_agent=headers.get(b"user-agent", b"").decode("latin-1"),
        )

    def _fault(self, method: str, path: str) -> dict[str, Any] | None:
        """The first HTTP fault that this request meets, counted down."""
        for fault in self._plane.faults:
            if fault["kind"] != "http" or (fault["method"] or method).upper() != method:
                continue
            if not re.search(fault["path"], path):
                continue
            if fault["skip"] > 0:
                fault["skip"] -= 1
                continue
            fault["times"] -= 1
            if fault["times"] == 0:
                self._plane.faults.remove(fault)
            return fault
        return None

    async def _go_wrong(
        self, fault: dict[str, Any], receive: Receive, send: Send, app: ASGIApp | None, scope: Scope
    ) -> None:
        if fault["delay_seconds"]:
            await asyncio.sleep(fault["delay_seconds"])
        if fault["reset"]:
            await _reset(receive)
        elif fault["status"]:
            # Imported here since the application imports this module.
            body = {"code": "InjectedFault", "message": "a fault that a test asked for", "details": {}}
            body["ref"] = secrets.token_hex(12)
            await json_response(body, fault["status"], fault["headers"])(scope, receive, send)
        elif app is not None:
            await app(scope, receive, send)


async def _reset(receive: Receive) -> None:
    """Cut the connection as a crashed server would: RST, no answer. Only uvicorn's own requests can be cut."""
    transport: asyncio.Transport = receive.__self__.transport  # type: ignore[attr-defined]
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
