# SPDX-License-Identifier: GPL-3.0-or-later
"""A plane for each test: its application in this process, its clock frozen, its limits off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from paletteops_plane.app import create_app
from paletteops_plane.plane import Plane, Settings, beside

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class InProcess:
    """Calls the application without a socket; background tasks do not run, so time stands where a test puts it."""

    def __init__(self, app: FastAPI) -> None:
        self.runner = asyncio.Runner()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://plane.example.invalid")

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.runner.run(self.client.request(method, path, **options))

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.close()


@dataclass
class Api:
    """A caller with a key, in one scope."""

    client: InProcess
    key: str
    project: str = ""

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        headers = {"ApiKey": self.key, **options.pop("headers", {})}
        if self.project:
            headers["ProjectUid"] = self.project
        if body is not None:
            options["json"] = body
        return self.client.request(method, path, headers=headers, **options)

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The answer's JSON; the call must succeed."""
        response = self.call(method, path, body, **options)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    def refused(
        self, status: int, code: str, method: str, path: str, body: Any = None, **options: Any
    ) -> dict[str, Any]:
        """The error's body; the call must be refused with this status and code."""
        response = self.call(method, path, body, **options)
        error: dict[str, Any] = response.json()
        assert (response.status_code, error["code"]) == (status, code), response.text
        assert set(error) == {"code", "message", "details", "ref"}
        return error


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "plane.sqlite", limits=False, test_controls=True)


@pytest.fixture
def plane(settings: Settings) -> Iterator[Plane]:
    opened = Plane.open(settings)
    opened.clock.freeze(True)
    opened.clock.set(NOW)
    yield opened
    opened.close()


@pytest.fixture
def client(plane: Plane) -> Iterator[InProcess]:
    started = InProcess(create_app(plane))
    yield started
    started.close()


@pytest.fixture
def tenant(client: InProcess, settings: Settings) -> Api:
    """The administrator, at tenant scope."""
    return Api(client, beside(settings.data, ".key").read_text().strip())


@pytest.fixture
def project(tenant: Api) -> Api:
    """The administrator, in the project ``Default``."""
    found = tenant.ok("GET", "/v1/dashboard/projects/metadata")
    return Api(tenant.client, tenant.key, found["items"][0]["metadata"]["uid"])
