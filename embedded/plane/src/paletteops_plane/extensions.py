# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plane serves beside the management API, by the function that installs it."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from paletteops_plane.kubernetes import api as kubernetes
from paletteops_plane.plane import Plane
from paletteops_plane.provisioner import engine

#: Seconds between two looks at the clusters in motion. Reads bring them up to date as well.
TICK = 0.5


def _provision(_app: FastAPI, plane: Plane) -> None:
    engine.resume(plane)
    plane.before_request.append(engine.catch_up)
    plane.background.append((TICK, engine.catch_up))


EXTENSIONS: tuple[Callable[[FastAPI, Plane], None], ...] = (_provision, kubernetes.install)


def install_extensions(app: FastAPI, plane: Plane) -> None:
    for install in EXTENSIONS:
        install(app, plane)
