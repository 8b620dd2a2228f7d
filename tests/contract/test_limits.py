# SPDX-License-Identifier: GPL-3.0-or-later
"""The API's limits: the plane's table, what it does by it, and the client's copy of it."""

from __future__ import annotations

import ast
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.description import REPOSITORY, Description
from support.plane import RunningPlane

from paletteops_plane import limits

CLIENT = REPOSITORY / "plugins" / "module_utils" / "ratelimit.py"

#: The public figures (API introduction of the vendor's documentation), apart from both tables.
PUBLISHED = {"default": 10, "clusterprofiles": 50, "cloudconfigs": 50}
PUBLISHED_BURST = 5


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, description: Description) -> Iterator[Api]:
    with RunningPlane(tmp_path_factory.mktemp("limited"), limits=True) as plane:
        api = Api(plane, description)
        yield api
        api.close()


def constants(file: Path) -> dict[str, Any]:
    """The constants of a module, read without importing it (the client's needs Ansible's import path)."""
    found: dict[str, Any] = {}
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                with contextlib.suppress(ValueError):  # not a plain value
                    found[target.id] = ast.literal_eval(node.value)
    return found


def test_the_planes_table_is_what_is_published() -> None:
    assert {"default": limits.DEFAULT_RATE, **limits.RATES} == PUBLISHED
    assert limits.BURST_FACTOR == PUBLISHED_BURST


def test_the_clients_copy_is_the_planes_table() -> None:
    client = constants(CLIENT)
    assert client["RATES"] == limits.RATES
    assert client["DEFAULT_RATE"] == limits.DEFAULT_RATE
    assert client["BURST_FACTOR"] == limits.BURST_FACTOR


@pytest.mark.parametrize(
    ("path", "rate"),
    [("/v1/dashboard/projects/metadata", 10), ("/v1/clusterprofiles/0", 50), ("/v1/cloudconfigs/aws/0", 50)],
)
def test_a_burst_passes_and_what_comes_after_is_refused(limited: Api, path: str, rate: int) -> None:
    burst = rate * PUBLISHED_BURST
    start = time.monotonic()
    admitted = 0
    while (response := limited.call("GET", path)).status_code != 429:
        admitted += 1
        assert time.monotonic() - start < 30, f"{admitted} requests, none refused"
    assert burst <= admitted <= burst + rate * (time.monotonic() - start) + 1
    assert response.json()["code"] == "TooManyRequests"
    assert int(response.headers["retry-after"]) >= 1


def test_each_prefix_has_an_allowance_of_its_own(limited: Api) -> None:
    for _ in range(2 * PUBLISHED["default"] * PUBLISHED_BURST):
        limited.call("GET", "/v1/registries/metadata")
    assert limited.call("GET", "/v1/registries/pack").status_code == 429
    assert limited.call("GET", "/v1/overlords").status_code == 200
