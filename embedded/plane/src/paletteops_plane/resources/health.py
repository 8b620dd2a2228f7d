# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the plane there."""

from __future__ import annotations

from typing import Any

from paletteops_plane.routing import Call, operation


@operation("GET /v1/health/ping", "GET /v1/health/ready")
def ping(call: Call) -> dict[str, Any]:
    return {"msg": "pong"}
