# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies of requests: how much of them is kept, for how long they may come, what JSON and what text is taken.

``Bodies`` is in front of all routes. It gives each request a ``Body``, from which whoever needs it reads it whole, and
sees to it that an answer reaches a sender who still sends: what nobody read is thrown away before. Where a body does
not come to its end all the same, the connection ends with the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from typing import Any

from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paletteops_plane.errors import ApiError

#: Bytes of the largest body that is kept of someone who shows no credential (who registers, or signs in).
LARGEST_UNKNOWN = 64 * 1024
#: Bytes of a refused body that are read and thrown away: a client that still sends would not see why it is refused.
LARGEST_REFUSED = 64 * 1024 * 1024
#: Bytes of all bodies that are kept at once, of those whose credential holds and of everybody else.
MOST_KNOWN, MOST_UNKNOWN = 64 * 1024 * 1024, 16 * 1024 * 1024
#: Seconds within which a body is to come, and the bytes for each of which, come by then, it gets another second.
LONGEST, SLOWEST = 60.0, 64 * 1024
#: How deep JSON may be nested; no object of the API comes near to it.
DEEPEST = 64
#: What a number without a fraction may be, as others read it.
_LOWEST, _HIGHEST = -(2**63), 2**64 - 1

_SCOPE = "paletteops_plane.body"


class Room:
    """Bytes for bodies that are being read, of all requests together."""

    def __init__(self, size: int) -> None:
        self.size = self.free = size

    def take(self, size: int) -> None:
        if size > self.free:
            raise ApiError(
                "TooManyRequests",
                f"more than {self.size} bytes are being sent to this plane at once: send this again a little later",
                {"bytes": self.size},
                {"Retry-After": "1"},
            )
        self.free -= size


class Body:
    """The body of one request."""

    def __init__(self, scope: Scope, receive: Receive, known: Room, unknown: Room) -> None:
        headers = dict(scope["headers"])
        #: Has all of it come.
        self.whole = b"transfer-encoding" not in headers and headers.get(b"content-length", b"0").strip(b"0") == b""
        self._announced = int(headers.get(b"content-length", b"0"))
        self._invited = b"expect" not in headers
        self._receive = receive
        self._rooms = {True: known, False: unknown}
        self._kept = {True: 0, False: 0}
        self._come = 0
        self._ends = asyncio.get_running_loop().time() + LONGEST

    async def receive(self) -> Message:
        """The next part, as ASGI has it; 408 where it does not come in time."""
        if self.whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._ends):
                message = await self._receive()
        except TimeoutError:
            raise ApiError(
                "RequestTimeout",
                f"of the body only {self._come} bytes came in time: {LONGEST:g} seconds, and one more for each "
                f"{SLOWEST} bytes",
            ) from None
        self._invited = True
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._come += size
            self._ends += size / SLOWEST
            self.whole = not message.get("more_body", False)
        return message

    async def read(self, largest: int, *, known: bool) -> bytes:
        """All of it, once; 400 where it is larger than what is meant. ``known``: the sender's credential holds."""
        if not known:
            largest = min(largest, LARGEST_UNKNOWN)
        parts: list[bytes] = []
        try:
            while not self.whole and max(self._come, self._announced) <= largest:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part = message.get("body", b"")
                self._rooms[known].take(len(part))
                self._kept[known] += len(part)
                parts.append(part)
            if max(self._come, self._announced) > largest:
                raise ApiError("InvalidRequest", f"the body is larger than {largest} bytes", {"bytes": largest})
            return b"".join(parts)
        finally:
            # An error would keep it until it is answered.
            parts.clear()

    def let_go(self) -> None:
        """What was read counts no longer among what is kept."""
        for known, room in self._rooms.items():
            room.free += self._kept[known]
            self._kept[known] = 0

    async def throw_away(self) -> None:
        """Read what is still to come, as far as that makes sense, and keep nothing of it."""
        ends = self._ends
        # Whoever waits to be asked for the body has not sent it.
        with contextlib.suppress(ApiError):
            while self._invited and not self.whole and self._come <= LARGEST_REFUSED:
                message = await self.receive()
                self._ends = ends
                if message["type"] == "http.disconnect":
                    return


def body_of(request: Request) -> Body:
    body: Body = request.scope[_SCOPE]
    return body


class Bodies:
    """The middleware, inside of all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._known, self._unknown = Room(MOST_KNOWN), Room(MOST_UNKNOWN)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = scope[_SCOPE] = Body(scope, receive, self._known, self._unknown)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not body.whole:
                body.let_go()
                await body.throw_away()
                if not body.whole:
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        try:
            await self._app(scope, body.receive, answer)
        finally:
            body.let_go()


def parse(content: bytes) -> Any:
    """The JSON of a body; 400 for what others could not read: half characters, numbers without end, endless nesting."""
    try:
        value = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError("InvalidRequest", f"the body is not JSON: {error}") from None
    level = [value]
    for _ in range(DEEPEST + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, float) and not math.isfinite(item):
                raise ApiError("InvalidRequest", "the body has a number in it that is too large to be one")
            elif isinstance(item, int) and not _LOWEST <= item <= _HIGHEST:
                raise ApiError("InvalidRequest", f"the body has a number in it that is not in {_LOWEST}..{_HIGHEST}")
        if not below:
            return value
        level = below
    raise ApiError("InvalidRequest", f"the body is nested deeper than {DEEPEST} levels")


#: Control characters, and what turns lines or the direction of writing.
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def plain(value: Any) -> Any:
    """What a host says, with a space for each character that would do something in a terminal; all of it is shown."""
    if isinstance(value, str):
        return _NOT_PLAIN.sub(" ", value)
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
