# SPDX-License-Identifier: GPL-3.0-or-later
"""Integration tests: the collection over HTTP against the embedded plane.

One plane serves all tests of a process (so with pytest-xdist one a worker); each test has a project of its own there.
Tests of faults, limits, clocks and restarts start planes of their own.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.collection import importable
from support.plane import RunningPlane
from support.project import Project, add_gateway, fresh_project
from support.runs import Ansible, Api
from support.specs import SECOND_GATEWAY

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


@pytest.fixture
def planes(tmp_path: Path) -> Iterator[Planes]:
    """Starts planes of the test's own; they end with it. Options are those of RunningPlane."""
    with ExitStack() as stack:
        numbers = itertools.count()

        def start(**options: Any) -> RunningPlane:
            directory = tmp_path / f"plane-{next(numbers)}"
            return stack.enter_context(RunningPlane(directory, **{"speed": SPEED, "limits": False, **options}))

        yield start


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
