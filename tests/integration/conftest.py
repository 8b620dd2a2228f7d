# SPDX-License-Identifier: GPL-3.0-or-later
"""Integration tests: the collection over HTTP against the embedded plane.

One plane serves all tests of a process (so with pytest-xdist one a worker); each test has a project of its own there.
Tests of faults, limits, clocks and restarts start planes of their own.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from paletteops_plane.store import Document, Store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.collection import importable  # noqa: E402  (tests/ is not on the path before)
from support.plane import RunningPlane  # noqa: E402
from support.runs import Ansible, Api  # noqa: E402
from support.specs import SECOND_GATEWAY  # noqa: E402
from support.traffic import TEST_AGENT  # noqa: E402

importable()

#: So fast that a cluster stands before the first look at it.
SPEED = 100_000.0

Planes = Callable[..., RunningPlane]


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """The plane that tests share: fresh data, without limits."""
    with RunningPlane(tmp_path_factory.mktemp("plane"), speed=SPEED, limits=False) as running:
        add_gateway(running, SECOND_GATEWAY)
        yield running


def add_gateway(plane: RunningPlane, name: str) -> None:
    """Registers another private cloud gateway, as its installer would: no call of the API that is served does that."""
    with closing(Store(plane.data)) as store, store.transaction():
        (first,) = store.list("overlord")
        other = Document(kind="overlord", name=name, body={})
        metadata = {**first.body["metadata"], "name": name, "uid": other.uid}
        other.body = {**first.body, "metadata": metadata}
        store.add(other)


@pytest.fixture
def planes(tmp_path: Path) -> Iterator[Planes]:
    """Starts planes of the test's own; they end with it. Options are those of RunningPlane."""
    with ExitStack() as stack:
        numbers = itertools.count()

        def start(**options: Any) -> RunningPlane:
            directory = tmp_path / f"plane-{next(numbers)}"
            return stack.enter_context(RunningPlane(directory, **{"speed": SPEED, "limits": False, **options}))

        yield start


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


@pytest.fixture
def project(plane: RunningPlane, tmp_path: Path) -> Iterator[Project]:
    with fresh_project(plane, tmp_path / "runs") as made:
        yield made


@pytest.fixture
def ansible(project: Project) -> Ansible:
    return project.ansible


@pytest.fixture
def api(project: Project) -> Api:
    return project.api


@contextmanager
def faults(plane: RunningPlane, *wanted: dict[str, Any]) -> Iterator[None]:
    """HTTP faults of a plane of the test's own, for the length of the block."""
    with plane.controls() as controls:
        controls.headers["User-Agent"] = TEST_AGENT
        controls.put("/faults", json=[{"kind": "http", **fault} for fault in wanted]).raise_for_status()
        yield
        controls.put("/faults", json=[]).raise_for_status()
