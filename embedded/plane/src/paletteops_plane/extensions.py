# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plane serves beside the management API, by the function that installs it."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from paletteops_plane.plane import Plane

EXTENSIONS: tuple[Callable[[FastAPI, Plane], None], ...] = ()


def install_extensions(app: FastAPI, plane: Plane) -> None:
    for install in EXTENSIONS:
        install(app, plane)
