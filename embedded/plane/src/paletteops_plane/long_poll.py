# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that wait for their desired state to change: a future and a timer each, no thread and no polling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal

Why = Literal["changed", "time", "left", "replaced", "ending"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Waiter:
    """One host that waits. ``why`` tells what ended its wait."""

    def __init__(self, seconds: float, receive: Receive) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._future: asyncio.Future[Why] = loop.create_future()
        self._timer = loop.call_later(seconds, self.end, "time")
        self._watch = loop.create_task(self._until_left(receive))
        self._final: Why | None = None

    async def _until_left(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end("left")

    def end(self, why: Why) -> None:
        """To be called on the loop's thread. Only a change lets the host wait again."""
        if why != "changed" and self._final is None:
            self._final = why
        if not self._future.done():
            self._future.set_result(why)

    async def wait(self) -> Why:
        """Until something ends it; a change that came since the last call counts."""
        why = await self._future
        self._future = self._loop.create_future()
        return self._final or why

    def close(self) -> None:
        self._timer.cancel()
        self._watch.cancel()


class Waiters:
    """All hosts that wait, one request each: another one of the same host takes the place of the first."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiter] = {}
        self._ending = False

    def enter(self, uid: str, seconds: float, receive: Receive) -> Waiter:
        before = self._waiting.get(uid)
        if before is not None:
            before.end("replaced")
        waiter = self._waiting[uid] = Waiter(seconds, receive)
        if self._ending:
            waiter.end("ending")
        return waiter

    def leave(self, uid: str, waiter: Waiter) -> None:
        waiter.close()
        if self._waiting.get(uid) is waiter:
            del self._waiting[uid]

    def changed(self, uids: set[str]) -> None:
        """The desired state of these hosts may be another one."""
        for uid in uids & self._waiting.keys():
            self._waiting[uid].end("changed")

    def end(self) -> None:
        """Answer all, now and from now on: the plane is about to end."""
        self._ending = True
        for waiter in list(self._waiting.values()):
            waiter.end("ending")
