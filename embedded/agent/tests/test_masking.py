# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of a host stay out of its log and out of what it reports, also where something unexpected names them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import FakePlane, RunningAgent, desired, simulated, until, user_data

from paletteops_agent import masking
from paletteops_agent.engine import Cluster, Member, Report, Surroundings, silent
from paletteops_agent.engine.simulated.engine import SimulatedEngine

TOKEN, CREDENTIAL = "registration-token-4711", "credential-0815"


class Telling(SimulatedEngine):
    """Fails with what it should not say."""

    def bootstrap(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        raise ValueError(f"Invalid header value {TOKEN.encode()!r}, {CREDENTIAL}")


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """What the agent's own handler writes."""
    stream = io.StringIO()
    handler = masking.handler(stream)
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def registered_as(plane: FakePlane, credential: Any) -> None:
    def answer(method: str, path: str, headers: Any, body: Any) -> Any:
        if path != "/v1/edgehosts/register":
            return None
        body["spec"]["host"]["hostAuthToken"] = credential
        return 200, {}, json.dumps(body).encode()

    plane.answers = answer


def test_an_unexpected_error_is_told_without_the_hosts_secrets(
    tmp_path: Path, plane: FakePlane, said: io.StringIO
) -> None:
    registered_as(plane, CREDENTIAL)
    options = simulated(tmp_path, api=False)
    engine = Telling(Surroundings(tmp_path / "host-1", options.options))
    with RunningAgent(tmp_path / "host-1", user_data(plane.url, TOKEN), options, engine=engine):
        plane.say(desired("g1", "bootstrap"))
        until(lambda: (plane.observed.get("error") or {}).get("reason") == "AgentFailed")
        until(lambda: [event for event in plane.events if event["reason"] == "AgentFailed"])
    told = f"{said.getvalue()} {plane.observed} {plane.events}"
    assert "ERROR: unexpected" in told and "Traceback" in told and "Invalid header value" in told
    assert TOKEN not in told and CREDENTIAL not in told
    claim = plane.of("POST", "/register")[0][2]["edgehostclaim"]
    assert claim not in told
