# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test works in: a project of its own, and a plane that can be made to misbehave."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from paletteops_plane.store import Document, Store
from support.plane import RunningPlane
from support.runs import Ansible, Api
from support.traffic import TEST_AGENT


class Project:
    """A project that a test has for itself, with the means to work in it."""

    def __init__(self, plane: RunningPlane, folder: Path, name: str) -> None:
        self.plane = plane
        self.name = name
        self.tenant = Api(plane)
        self.uid: str = self.tenant.call("POST", "/v1/projects", {"metadata": {"name": name}})["uid"]
        self.api = Api(plane, self.uid)
        self.ansible = Ansible(plane, folder, project=name)

    def close(self) -> None:
        self.api.close()
        self.tenant.close()


_numbers = itertools.count(1)


@contextmanager
def fresh_project(plane: RunningPlane, folder: Path, name: str = "") -> Iterator[Project]:
    project = Project(plane, folder, name or f"project-{next(_numbers)}")
    yield project
    project.close()


def add_gateway(plane: RunningPlane, name: str) -> None:
    """Registers another private cloud gateway, as its installer would: no call of the API that is served does that."""
    with closing(Store(plane.data)) as store, store.transaction():
        (first,) = store.list("overlord")
        other = Document(kind="overlord", name=name, body={})
        metadata = {**first.body["metadata"], "name": name, "uid": other.uid}
        other.body = {**first.body, "metadata": metadata}
        store.add(other)


def faults(plane: RunningPlane, *wanted: dict[str, Any]) -> AbstractContextManager[None]:
    """HTTP faults of a plane of the test's own, for the length of the block."""
    return _faults(plane, [{"kind": "http", **fault} for fault in wanted])


def infrastructure_faults(plane: RunningPlane, *wanted: dict[str, Any]) -> AbstractContextManager[None]:
    """Faults of what stands behind a plane of the test's own, for the length of the block."""
    return _faults(plane, [{"kind": "infrastructure", **fault} for fault in wanted])


@contextmanager
def _faults(plane: RunningPlane, wanted: list[dict[str, Any]]) -> Iterator[None]:
    with plane.controls() as controls:
        controls.headers["User-Agent"] = TEST_AGENT
        controls.put("/faults", json=wanted).raise_for_status()
        yield
        controls.put("/faults", json=[]).raise_for_status()
