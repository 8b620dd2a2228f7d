# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard that the collection's traffic keeps to the contract: it must notice what it is there for."""

from __future__ import annotations

import httpx
import pytest
from support import traffic
from support.plane import RunningPlane


def as_collection(plane: RunningPlane) -> httpx.Client:
    return plane.client(headers={"User-Agent": "paletteops.modes/0.1.0"})


def test_calls_of_the_management_api_pass(plane: RunningPlane) -> None:
    with plane.controls() as controls, as_collection(plane) as client:
        with traffic.watched(controls) as records:
            client.get("/v1/dashboard/projects/metadata")
        assert [(record["method"], record["path"], record["status"]) for record in records] == [
            ("GET", "/v1/dashboard/projects/metadata", 200)
        ]


def test_a_call_that_only_the_embedded_plane_answers_is_noticed(plane: RunningPlane) -> None:
    noticed = pytest.raises(AssertionError, match="GET /embedded/v1/clock")
    with plane.controls() as controls, as_collection(plane) as client, noticed, traffic.watched(controls):
        client.get("/embedded/v1/clock")


def test_the_tests_own_calls_do_not_count(plane: RunningPlane) -> None:
    with plane.controls() as controls:
        with traffic.watched(controls) as records:
            controls.get("/clock", headers={"User-Agent": traffic.TEST_AGENT})
        assert not records


def test_a_clusters_kubernetes_api_does_not_count(plane: RunningPlane) -> None:
    with plane.controls() as controls, as_collection(plane) as client, traffic.watched(controls):
        client.get("/embedded/kubernetes/0/version")


def test_no_key_is_recorded(plane: RunningPlane) -> None:
    with plane.controls() as controls, as_collection(plane) as client:
        traffic.forget(controls)
        client.get("/v1/dashboard/projects/metadata")
        assert plane.key not in str(traffic.recorded(controls))
