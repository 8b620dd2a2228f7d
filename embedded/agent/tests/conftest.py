# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the agent's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import FakePlane


@pytest.fixture
def plane() -> Iterator[FakePlane]:
    found = FakePlane()
    yield found
    found.close()
