# SPDX-License-Identifier: GPL-3.0-or-later
"""A bare client for tests: it sends what it is told to and holds every answer against the description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from support.description import Description
from support.plane import RunningPlane
from support.traffic import TEST_AGENT

UNSET: Any = object()


class BrokenAnswer(AssertionError):
    """An answer that the description does not allow."""


class Api:
    """Calls a plane as the administrator of its tenant. ``watch`` sees each answer."""

    def __init__(
        self,
        plane: RunningPlane,
        description: Description,
        watch: Callable[[httpx.Response], None] = lambda response: None,
    ) -> None:
        self.description = description
        self._watch = watch
        #: What the administrator signs in with, as the flows name it.
        self.sign_in = {"email": plane.sign_in()["emailId"], "password": plane.sign_in()["password"]}
        self._key = plane.key
        self._client = plane.anonymous({"User-Agent": TEST_AGENT})

    def close(self) -> None:
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        project: str = "",
        query: dict[str, Any] | None = None,
        body: Any = UNSET,
        headers: dict[str, str] | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """One request. ``key=""`` sends none; ``path`` has its parameters filled in and is sent as it is."""
        sent = {"ApiKey": self._key if key is None else key} | (headers or {})
        if project:
            sent["ProjectUid"] = project
        if not sent["ApiKey"]:
            del sent["ApiKey"]
        parameters = {name: _text(value) for name, value in (query or {}).items()}
        extra: dict[str, Any] = {} if body is UNSET else {"json": body}
        response = self._client.request(method, path, params=parameters, headers=sent, **extra)
        self._watch(response)
        self.check(response)
        return response

    def check(self, response: httpx.Response) -> None:
        """``BrokenAnswer`` when the answer is not as described."""
        request = response.request
        broken = self.description.answer_violations(
            request.method,
            request.url.path,
            response.status_code,
            response.headers.get("content-type", ""),
            response.content,
        )
        if broken:
            raise BrokenAnswer(
                f"{request.method} {request.url.path} ({response.status_code}): " + "; ".join(broken[:5])
            )

    def expect(self, status: int, method: str, path: str, **options: Any) -> Any:
        """One request that must be answered with ``status``; gives the body, ``None`` when there is none."""
        response = self.call(method, path, **options)
        assert response.status_code == status, (
            f"{method} {path}: {response.status_code} instead of {status}: {response.text[:500]}"
        )
        if response.headers.get("content-type", "").startswith("application/json"):
            return response.json()
        return response.text or None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
