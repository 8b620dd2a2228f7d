# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets go in and never come out: not in an answer, not in the plane's log."""

from __future__ import annotations

import httpx
import pytest
from support.api import Api
from support.description import Description
from support.flows import Replay, flows, steps
from support.plane import RunningPlane

#: Flows that send secrets, then everything that could show them again.
SENDING = [
    "cloud_account_aws.update",
    "cloud_account_aws.find",
    "cloud_account_aws.import",
    "cloud_account_vsphere.update",
    "cloud_account_vsphere.find",
    "registries.update_helm",
    "registries.find_helm",
    "edge_host.register",
    "edge_host.find",
    "edge_host.update_whole",
    "cluster_common.update_variables",
    "cluster_common.read_addons",
]
SECRETS = [
    "flows-secret-key-0001",
    "flows-secret-key-0002",
    "flows-password-0001",
    "flows-password-0002",
    "flows-password",
    "flows-token",
    "flows-pairing-key-0001",
    "flows-claim-",
]


def test_the_flows_send_these_secrets() -> None:
    sent = str([[step.get("body"), step.get("headers")] for flow in flows().values() for step in steps(flow["calls"])])
    assert all(secret in sent for secret in SECRETS)


@pytest.mark.parametrize("name", SENDING)
def test_no_answer_shows_a_secret(name: str, plane: RunningPlane, description: Description) -> None:
    shown: list[str] = []

    def watch(response: httpx.Response) -> None:
        shown.extend(f"{response.request.url}: {secret}" for secret in SECRETS if secret in response.text)

    api = Api(plane, description, watch)
    with plane.controls() as controls:
        Replay(api, controls).run(name)
    api.close()
    assert not shown


def test_no_log_shows_a_secret(plane: RunningPlane) -> None:
    # The tests before have sent all of them; the log is that of the whole session.
    written = plane.output()
    assert not [secret for secret in [*SECRETS, plane.key, plane.sign_in()["password"]] if secret in written]
