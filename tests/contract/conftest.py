# SPDX-License-Identifier: GPL-3.0-or-later
"""Contract tests: the embedded plane, over HTTP, against the description and the flows of the vendor's clients."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# `support` is what tests of several kinds share.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.api import Api
from support.description import REDUCED, VENDORS, Description
from support.plane import RunningPlane

#: So fast that a cluster stands before the first look at it, unless a test stops the clock.
SPEED = 100_000.0


@pytest.fixture(scope="session")
def description() -> Description:
    """The reduced description, from the repository."""
    return Description.load(REDUCED)


@pytest.fixture(scope="session")
def vendors() -> Description:
    """The vendor's own description. It is not in the repository; CI must have it beside its checkout."""
    if not VENDORS.exists():
        reason = f"the vendor's description is not at {VENDORS}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Description.load(VENDORS)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """One plane for all contract tests, with fresh data, without limits."""
    with RunningPlane(tmp_path_factory.mktemp("plane"), speed=SPEED, limits=False) as running:
        yield running


@pytest.fixture(scope="session")
def api(plane: RunningPlane, description: Description) -> Iterator[Api]:
    client = Api(plane, description)
    yield client
    client.close()
