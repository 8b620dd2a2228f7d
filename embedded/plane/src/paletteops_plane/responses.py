# SPDX-License-Identifier: GPL-3.0-or-later
"""How every application of the plane answers, and whose requests count together."""

from __future__ import annotations

import json
import logging
import re
import secrets
from typing import Any

from fastapi import Request
from starlette.responses import Response

from paletteops_plane.errors import ApiError
from paletteops_plane.host_access import authenticate_host, is_host_credential
from paletteops_plane.plane import Plane

log = logging.getLogger(__name__)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Response(content, status_code=status, media_type="application/json", headers=headers)


def error_response(error: ApiError) -> Response:
    return json_response(error.body(secrets.token_hex(12)), error.status, error.headers)


async def answer_nobody(request: Request, error: Exception) -> Response:
    """Who sent the request is gone before its body was whole, which is no failure of the plane."""
    return Response(status_code=400)


async def answer_failure(request: Request, error: Exception) -> Response:
    """A failure of the plane: what it is stands in the log."""
    path = without_token(request.url.path)
    log.error("%s %s failed", request.method, path, exc_info=error)
    return error_response(ApiError("InternalError", f"{request.method} {path} failed: see the plane's log"))


def limit(plane: Plane, request: Request) -> None:
    """Count a request; ``ApiError`` 429 where there were too many."""
    if plane.limiter is not None:
        plane.limiter.admit(_limited_as(plane, request), request.url.path)


def _limited_as(plane: Plane, request: Request) -> str:
    """For whom a request counts: the host whose credential it shows, so that a site may be behind one address."""
    sent = request.headers.get("authorization", "")
    if is_host_credential(sent):
        try:
            return f"host {authenticate_host(plane, sent).uid}"
        except ApiError:
            pass  # whoever guesses counts by address
    return request.client.host if request.client else ""


def without_token(path: str) -> str:
    """A path as it may be written down: one operation has a token in it."""
    return re.sub(r"^(/v1/auth/refresh/).+", r"\1***", path)
