# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plane recorded of its requests, and what holds for all traffic of the collection.

The collection talks to whatever speaks the management API. So it never calls what only the embedded plane has, all of
which lies under ``/embedded/``. Tests mark their own use of the test controls by their client's ``User-Agent``; the
Kubernetes API of a cluster, which its kubeconfig points at, is no management API and stands apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

#: Sent by the tests' own clients, so that their requests can be told from those of what is tested.
TEST_AGENT = "paletteops-tests"
#: Where a kubeconfig of the embedded plane points: reached by Kubernetes clients, not by the collection's API client.
KUBERNETES_PREFIX = "/embedded/kubernetes/"

Record = Mapping[str, Any]


def recorded(controls: httpx.Client) -> list[Record]:
    """All requests that the plane recorded, oldest first. ``controls`` is a client of ``/embedded/v1``."""
    response = controls.get("/requests", headers={"User-Agent": TEST_AGENT})
    response.raise_for_status()
    records: list[Record] = response.json()
    return records


def forget(controls: httpx.Client) -> None:
    controls.delete("/requests", headers={"User-Agent": TEST_AGENT}).raise_for_status()


def of_others(records: Iterable[Record]) -> list[Record]:
    """The requests that the tests did not make themselves."""
    return [record for record in records if not str(record.get("user_agent", "")).startswith(TEST_AGENT)]


def beyond_the_contract(records: Iterable[Record]) -> list[str]:
    """``METHOD path`` of each request of others that only the embedded plane could answer."""
    return [
        f"{record['method']} {record['path']}"
        for record in of_others(records)
        if str(record["path"]).startswith("/embedded/") and not str(record["path"]).startswith(KUBERNETES_PREFIX)
    ]


@contextmanager
def watched(controls: httpx.Client) -> Iterator[list[Record]]:
    """Collects the requests of others made inside of the block; fails when one goes beyond the contract."""
    forget(controls)
    records: list[Record] = []
    yield records
    records.extend(of_others(recorded(controls)))
    strays = beyond_the_contract(records)
    assert not strays, f"only the embedded plane can answer these requests: {sorted(set(strays))}"
