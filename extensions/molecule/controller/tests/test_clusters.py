# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenario leaves: kubeconfigs for their owner alone, and clusters that answer them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

NODES = {"shop-berlin": 6, "shop-lyon": 3, "plant-turin": 3, "plant-gent": 3}

READY_NODES = """
import sys
import kubernetes

nodes = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(sys.argv[1])).list_node().items
print(sum(one.type == "Ready" and one.status == "True" for node in nodes for one in node.status.conditions))
"""


@pytest.fixture
def here() -> Host:
    """The machine on which Ansible ran: clusters are hosts of the inventory, and nothing to sign in to."""
    return testinfra.get_host("local://")


def kubeconfig(cluster: str) -> Path:
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "plane" / "kubeconfigs" / cluster


@pytest.mark.parametrize("cluster", NODES)
def test_the_kubeconfig_is_for_its_owner_alone(here: Host, cluster: str) -> None:
    file = here.file(str(kubeconfig(cluster)))
    assert file.is_file
    assert file.mode == 0o600
    assert here.file(str(kubeconfig(cluster).parent)).mode == 0o700


@pytest.mark.parametrize("cluster, nodes", NODES.items())
def test_the_cluster_has_its_nodes_and_all_are_ready(here: Host, cluster: str, nodes: int) -> None:
    answer = here.run("%s -c %s %s", sys.executable, READY_NODES, str(kubeconfig(cluster)))
    assert answer.rc == 0, answer.stderr
    assert int(answer.stdout) == nodes
