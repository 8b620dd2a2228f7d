# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API of a cluster, by those who use it: the Python client, its dynamic client, kubectl; over TLS."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import clusters
import pytest
from conftest import Api
from test_server import Process

# Typed in some versions and by halves; here it is what users' code sees.
client: Any = importlib.import_module("kubernetes.client")
config: Any = importlib.import_module("kubernetes.config")
dynamic: Any = importlib.import_module("kubernetes.dynamic")

WITHIN = 60.0


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of a running cluster of a plane that is a process of its own and speaks TLS."""
    folder = tmp_path_factory.mktemp("plane")
    plane = Process(folder / "plane.sqlite", "--tls", "--speed", "100000", "--no-limits")
    try:
        project = plane.client.get("/v1/dashboard/projects/metadata").json()["items"][0]["metadata"]["uid"]
        api = Api(cast(Any, plane.client), plane.key, project)
        uid = clusters.world(api, cast(Any, None)).create()
        deadline = time.monotonic() + WITHIN
        while api.ok("GET", f"/v1/spectroclusters/{uid}")["status"].get("state") != "Running":
            assert time.monotonic() < deadline, "the cluster does not run"
            time.sleep(0.05)
        path = folder / "kubeconfig"
        path.write_bytes(api.call("GET", f"/v1/spectroclusters/{uid}/assets/kubeconfig").content)
        path.chmod(0o600)
        yield path
    finally:
        plane.close()


def test_the_python_client_reads_nodes_namespaces_and_pods(kubeconfig: Path) -> None:
    core = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
    nodes = core.list_node().items
    assert len(nodes) == 3
    assert all(any(c.type == "Ready" and c.status == "True" for c in node.status.conditions) for node in nodes)
    assert "kube-system" in [namespace.metadata.name for namespace in core.list_namespace().items]
    pods = core.list_namespaced_pod("kube-system", field_selector=f"spec.nodeName={nodes[0].metadata.name}").items
    assert pods and {pod.status.phase for pod in pods} == {"Running"}
    assert core.read_node(nodes[0].metadata.name).metadata.uid == nodes[0].metadata.uid
    assert client.VersionApi(core.api_client).get_code().git_version == nodes[0].status.node_info.kubelet_version
    with pytest.raises(client.ApiException) as refused:
        core.delete_node(nodes[0].metadata.name)
    assert refused.value.status == 405


def test_the_python_client_needs_the_token(kubeconfig: Path) -> None:
    api = config.new_client_from_config(str(kubeconfig))
    api.configuration.api_key.clear()
    with pytest.raises(client.ApiException) as refused:
        client.CoreV1Api(api).list_node()
    assert refused.value.status == 401


def test_the_dynamic_client_discovers_what_there_is(kubeconfig: Path, tmp_path: Path) -> None:
    found = dynamic.DynamicClient(
        config.new_client_from_config(str(kubeconfig)), cache_file=str(tmp_path / "discovery.json")
    )
    nodes = found.resources.get(api_version="v1", kind="Node")
    assert len(nodes.get().items) == 3
    assert len(nodes.get(label_selector="node-role.kubernetes.io/control-plane").items) == 1
    pods = found.resources.get(api_version="v1", kind="Pod")
    assert pods.get(namespace="kube-system").items
    assert found.resources.search(kind="Namespace")
    with pytest.raises(dynamic.exceptions.ResourceNotFoundError):
        found.resources.get(api_version="apps/v1", kind="Deployment")
    with pytest.raises(dynamic.exceptions.NotFoundError):
        nodes.get(name="other")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
def test_kubectl_prints_it(kubeconfig: Path, tmp_path: Path) -> None:
    def kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", "--kubeconfig", str(kubeconfig), *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    printed = kubectl("get", "nodes", "-o", "wide")
    assert printed.returncode == 0, printed.stderr
    header, *rows = printed.stdout.splitlines()
    assert header.split()[:5] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert sorted(row.split()[2] for row in rows) == ["<none>", "<none>", "control-plane"]
    assert {row.split()[1] for row in rows} == {"Ready"}
    assert "kube-apiserver" in kubectl("get", "pods", "--all-namespaces").stdout
    assert kubectl("get", "ns", "default", "-o", "jsonpath={.status.phase}").stdout == "Active"
    name = rows[0].split()[0]
    assert f"Name:               {name}" in kubectl("describe", "node", name).stdout
    assert kubectl("delete", "node", name).returncode != 0
