# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies of requests: what JSON is taken, how much of a body is kept and for how long it may come."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from agents import Agent, make_token
from conftest import Api, InProcess

from paletteops_plane import bodies
from paletteops_plane.app import LARGEST_BODY, create_app
from paletteops_plane.bodies import DEEPEST, LARGEST_UNKNOWN
from paletteops_plane.hosts_api import LARGEST_BODY as LARGEST_OF_HOSTS
from paletteops_plane.plane import Plane
from paletteops_plane.server import listen

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def agent(client: InProcess, tenant: Api, project: Api) -> Agent:
    made = Agent(client, "edge-a", make_token(tenant, project.project)[1])
    assert made.register().status_code == 200
    return made


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


#: What is no JSON that everybody could read, as a value.
UNREADABLE = ['"\\ud800"', '{"\\udc00": 1}', "NaN", "-Infinity", "1e999", "-1e999", "1" * 400, nested(DEEPEST + 1)]
UNREADABLE += [nested(depth) for depth in (300, 990, 100_000)]


@pytest.mark.parametrize("value", UNREADABLE, ids=range(len(UNREADABLE)))
def test_json_that_others_could_not_read_is_refused_everywhere(agent: Agent, tenant: Api, value: str) -> None:
    body = f'{{"phase": "idle", "metadata": {{"name": "p"}}, "other": {value}}}'.encode()
    answers = [
        tenant.call("POST", "/v1/projects", content=body, headers=JSON),
        agent.v1("PATCH", "/health", content=body, headers=JSON),
        agent.own("PUT", "observed", content=body, headers=JSON),
        agent.own("PUT", "observed", content=body.replace(b'"other"', b'"message"'), headers=JSON),
        agent.own("POST", "events", content=b"[" + body + b"]", headers=JSON),
        agent.client.request("PUT", "/embedded/v1/clock", content=body, headers=JSON),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidRequest")
    assert agent.v1("GET", "").status_code == 200


def test_json_that_all_can_read_is_taken(agent: Agent) -> None:
    other = {"deep": json.loads(nested(DEEPEST - 2)), "wide": [2**63, -(2**63), 1.5e300], "text": "\N{GRINNING FACE}"}
    agent.report(other=other)
    assert agent.own("GET", "desired").status_code == 200


# How much


def test_a_body_is_bounded_also_where_its_length_is_not_announced(agent: Agent, tenant: Api) -> None:
    for api, method, path, largest in (
        (tenant, "POST", "/v1/projects", LARGEST_BODY),
        (agent, "PUT", "/embedded/v1/hosts/edge-a/observed", LARGEST_OF_HOSTS),
    ):
        answer = api.call(method, path, content=AsyncParts(largest + 1), headers=JSON)
        assert (answer.status_code, answer.json()["details"]) == (400, {"bytes": largest})


class AsyncParts:
    """A body without an announced length, as an asynchronous client sends it."""

    def __init__(self, size: int) -> None:
        self._size = size

    async def __aiter__(self) -> Any:
        for start in range(0, self._size, 65536):
            yield b" " * min(self._size - start, 65536)


def test_of_somebody_unknown_little_is_kept(client: InProcess) -> None:
    for path in ("/v1/auth/authenticate", "/v1/edgehosts/register", "/embedded/v1/clock"):
        method = "PUT" if "clock" in path else "POST"
        answer = client.request(method, path, content=b" " * (LARGEST_UNKNOWN + 1), headers=JSON)
        assert (answer.status_code, answer.json()["details"]) == (400, {"bytes": LARGEST_UNKNOWN})


class Sender:
    """A request whose parts come when the test says so, to the application itself."""

    def __init__(self, app: Any, method: str, path: str, length: int, **headers: str) -> None:
        self.parts: asyncio.Queue[bytes] = asyncio.Queue()
        self.sent: list[Any] = []
        lines = {"content-length": str(length), **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in lines.items()],
            "scheme": "http",
            "server": ("plane", 80),
            "client": ("192.0.2.1", 1),
            "root_path": "",
        }
        self.left = length
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        part = await self.parts.get()
        self.left -= len(part)
        return {"type": "http.request", "body": part, "more_body": self.left > 0}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def send(self, part: bytes) -> None:
        """Send a part, and go on once it was read."""
        self.parts.put_nowait(part)
        left = self.left - len(part)
        while self.left > left and not self.task.done():
            await asyncio.sleep(0)

    async def answer(self) -> tuple[int, str, dict[bytes, bytes]]:
        await asyncio.wait_for(self.task, 20)
        code = json.loads(self.sent[1]["body"])["code"]
        return self.sent[0]["status"], code, dict(self.sent[0]["headers"])


def test_nothing_is_kept_before_the_credential_holds(
    plane: Plane, client: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies.Room, "take", lambda *_arguments: pytest.fail("a part was kept"))
    for path, headers in (
        ("/v1/projects", {}),
        ("/v1/projects", {"ApiKey": "guessed"}),
        ("/embedded/v1/hosts/edge-a/observed", {"Authorization": "EdgeHost edge-a:guessed"}),
    ):
        answer = client.request("POST", path, content=b" " * 100_000, headers=headers)
        assert answer.status_code == 401


def test_all_bodies_together_are_bounded(plane: Plane, tenant: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_KNOWN", 100)
    monkeypatch.setattr(bodies, "MOST_UNKNOWN", 30)
    app = create_app(plane)

    async def scene() -> None:
        def sender(length: int) -> Sender:
            return Sender(app, "POST", "/v1/projects", length, apikey=tenant.key)

        first, second = sender(90), sender(90)
        await first.send(b" " * 60)
        await second.send(b" " * 60)
        await second.send(b" " * 30)
        status, code, headers = await second.answer()
        assert (status, code, headers[b"retry-after"]) == (429, "TooManyRequests", b"1")
        stranger = Sender(app, "POST", "/v1/auth/authenticate", 20)
        await stranger.send(b" " * 20)
        assert (await stranger.answer())[0] == 400, "who is unknown has room of their own"
        await first.send(b" " * 30)
        assert (await first.answer())[0] == 422
        third = sender(90)
        await third.send(b" " * 90)
        assert (await third.answer())[0] == 422, "what the others took is free again"

    asyncio.run(scene())


# For how long


@pytest.mark.parametrize("path", ["/v1/projects", "/v1/auth/authenticate", "/embedded/v1/clock", "observed", "logs/x"])
def test_a_body_that_does_not_come_whole_ends_with_its_connection(
    plane: Plane, agent: Agent, tenant: Api, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(bodies, "LONGEST", 0.2)
    own = not path.startswith("/")
    headers = agent.headers if own else {"ApiKey": tenant.key}
    if path.startswith("logs/"):
        host = plane.store.get("edgehost", "edge-a")
        assert host is not None
        host.body["_logs"] = "x"
        plane.store.save(host)
    full = f"/embedded/v1/hosts/edge-a/{path}" if own else path
    method = "PUT" if full.startswith("/embedded") else "POST"

    async def scene() -> None:
        sender = Sender(create_app(plane), method, full, 1000, **headers)
        await sender.send(b"\x1f\x8b{")
        status, code, answered = await sender.answer()
        assert (status, code, answered[b"connection"]) == (408, "RequestTimeout", b"close")

    asyncio.run(scene())


@pytest.fixture
def served(plane: Plane) -> Iterator[int]:
    """The port at which uvicorn serves the plane of the test."""
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(plane), log_config=None))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        port = listener.getsockname()[1]
        assert httpx.get(f"http://127.0.0.1:{port}/v1/health/ping", timeout=20).status_code == 200
        yield port
        server.should_exit = True
        thread.join(20)


@pytest.mark.parametrize(
    ("path", "key", "status"), [("/v1/projects", False, b"401"), ("/v1/projects", True, b"408"), ("/no", True, b"404")]
)
def test_a_connection_that_brings_no_body_is_closed(
    served: int, tenant: Api, monkeypatch: pytest.MonkeyPatch, path: str, key: bool, status: bytes
) -> None:
    monkeypatch.setattr(bodies, "LONGEST", 0.2)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n"
    head += f"ApiKey: {tenant.key}\r\n\r\n" if key else "\r\n"
    with socket.create_connection(("127.0.0.1", served), 20) as client:
        client.sendall(head.encode() + b" " * 100_000)
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert answer.split(b" ")[1] == status and b"\r\nconnection: close\r\n" in answer


def test_who_waits_to_be_asked_for_a_body_hears_a_refusal_at_once(served: int) -> None:
    head = "POST /v1/projects HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served), 20) as client:
        client.sendall(head.encode())
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 401 ")
