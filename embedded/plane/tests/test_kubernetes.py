# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API of a cluster, by plain requests."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import clusters
import httpx
import pytest
import yaml
from clusters import World
from conftest import NOW, Api, InProcess

from paletteops_plane.kubernetes.kubeconfig import PREFIX
from paletteops_plane.kubernetes.tables import age
from paletteops_plane.plane import Plane

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Kube:
    """A caller of one cluster's Kubernetes API, by its kubeconfig."""

    def __init__(self, client: InProcess, kubeconfig: str) -> None:
        content = yaml.safe_load(kubeconfig)
        self.client = client
        self.server: str = content["clusters"][0]["cluster"]["server"]
        self.base = urlsplit(self.server).path
        self.token: str = content["users"][0]["user"]["token"]

    def call(self, path: str, method: str = "GET", token: str | None = None, **options: Any) -> httpx.Response:
        sent = f"Bearer {self.token if token is None else token}".encode()
        headers = {"Authorization": sent, **options.pop("headers", {})}
        return self.client.request(method, self.base + path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> Any:
        response = self.call(path, **options)
        assert response.status_code == 200, response.text
        return response.json()

    def names(self, path: str, **params: str) -> list[str]:
        return [item["metadata"]["name"] for item in self.get(path, params=params)["items"]]

    def refused(self, status: int, reason: str, path: str, **options: Any) -> dict[str, Any]:
        response = self.call(path, **options)
        body: dict[str, Any] = response.json()
        assert (response.status_code, body["kind"], body["status"]) == (status, "Status", "Failure")
        assert (body["code"], body["reason"]) == (status, reason)
        return body


def kubeconfig(api: Api, uid: str, asset: str = "kubeconfig") -> str:
    response = api.call("GET", f"/v1/spectroclusters/{uid}/assets/{asset}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    return response.text


@pytest.fixture
def world(project: Api, plane: Plane) -> World:
    return clusters.world(project, plane)


@pytest.fixture
def cluster(project: Api, world: World) -> str:
    """The uid of a running cluster with an add-on, and a pool that has labels and taints."""
    extras = {"type": "add-on", "cloudType": "all", "packs": [{"name": "nginx"}]}
    addon = clusters.profile(project, {"metadata": {"name": "extras"}, "spec": {"template": extras}})
    workers = clusters.pool(
        "aws",
        "workers",
        2,
        additionalLabels={"tier": "front"},
        additionalAnnotations={"note": "kept"},
        taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}],
    )
    pools = [clusters.pool("aws", "control-plane", 1, control_plane=True), workers]
    return world.running(machinepoolconfig=pools, profiles=[{"uid": world.infra}, {"uid": addon}])


@pytest.fixture
def kube(project: Api, cluster: str) -> Kube:
    return Kube(project.client, kubeconfig(project, cluster))


def test_a_kubeconfig_names_the_address_that_the_caller_used(project: Api, cluster: str, kube: Kube) -> None:
    assert kube.server == f"http://plane.example.invalid{PREFIX}/{cluster}"
    admin = Kube(project.client, kubeconfig(project, cluster, "adminKubeconfig"))
    assert admin.token != kube.token
    assert admin.get("/version") == kube.get("/version")
    assert kubeconfig(project, cluster) == kubeconfig(project, cluster)


def test_the_version_is_that_of_the_nodes(kube: Kube) -> None:
    version = kube.get("/version")
    nodes = kube.get("/api/v1/nodes")["items"]
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {version["gitVersion"]}
    assert version["gitVersion"].startswith(f"v{version['major']}.{version['minor']}.")
    assert kube.call("/readyz").text == "ok"


def test_nodes_are_the_machines_with_what_their_pool_gives_them(kube: Kube) -> None:
    nodes = kube.get("/api/v1/nodes")["items"]
    control_plane = [n for n in nodes if "node-role.kubernetes.io/control-plane" in n["metadata"]["labels"]]
    workers = [node for node in nodes if node not in control_plane]
    assert (len(control_plane), len(workers)) == (1, 2)
    assert control_plane[0]["spec"]["taints"] == [
        {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    ]
    for worker in workers:
        assert worker["metadata"]["labels"]["tier"] == "front"
        assert worker["metadata"]["annotations"] == {"note": "kept"}
        assert worker["spec"]["taints"] == [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]
        assert {c["type"]: c["status"] for c in worker["status"]["conditions"]}["Ready"] == "True"


def test_pods_are_on_nodes_that_are_there_and_in_namespaces_that_are_there(kube: Kube) -> None:
    nodes, namespaces = kube.names("/api/v1/nodes"), kube.names("/api/v1/namespaces")
    pods = kube.get("/api/v1/pods")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == set(nodes)
    assert {pod["metadata"]["namespace"] for pod in pods} <= set(namespaces)
    assert {"default", "kube-system", "nginx"} <= set(namespaces)
    assert kube.names("/api/v1/namespaces/nginx/pods") and kube.names("/api/v1/namespaces/default/pods") == []
    uids = [pod["metadata"]["uid"] for pod in pods]
    assert len(set(uids)) == len(uids) and uids == [p["metadata"]["uid"] for p in kube.get("/api/v1/pods")["items"]]


def test_single_objects(kube: Kube) -> None:
    name = kube.names("/api/v1/nodes")[0]
    assert kube.get(f"/api/v1/nodes/{name}")["metadata"]["name"] == name
    assert kube.get("/api/v1/namespaces/kube-system")["status"] == {"phase": "Active"}
    pod = kube.names("/api/v1/namespaces/kube-system/pods")[0]
    assert kube.get(f"/api/v1/namespaces/kube-system/pods/{pod}")["kind"] == "Pod"
    body = kube.refused(404, "NotFound", "/api/v1/nodes/other")
    assert body["details"] == {"name": "other", "kind": "nodes"}
    kube.refused(404, "NotFound", f"/api/v1/namespaces/default/pods/{pod}")
    kube.refused(404, "NotFound", f"/api/v1/pods/{pod}")


@pytest.mark.parametrize(
    ("selector", "count"),
    [
        ("tier=front", 2),
        ("tier == front", 2),
        ("tier!=front", 1),
        ("tier", 2),
        ("!tier", 1),
        ("tier in (back, front)", 2),
        ("tier notin (front),kubernetes.io/os=linux", 1),
        ("tier=front,tier=back", 0),
        ("", 3),
    ],
)
def test_label_selectors(kube: Kube, selector: str, count: int) -> None:
    assert len(kube.names("/api/v1/nodes", labelSelector=selector)) == count


def test_field_selectors(kube: Kube) -> None:
    node = kube.names("/api/v1/nodes")[0]
    assert kube.names("/api/v1/nodes", fieldSelector=f"metadata.name={node}") == [node]
    assert len(kube.names("/api/v1/nodes", fieldSelector="spec.unschedulable=false")) == 3
    pods = kube.get("/api/v1/pods", params={"fieldSelector": f"spec.nodeName={node},status.phase!=Failed"})["items"]
    assert pods and {pod["spec"]["nodeName"] for pod in pods} == {node}
    body = kube.refused(400, "BadRequest", "/api/v1/nodes", params={"fieldSelector": "spec.colour=red"})
    assert "spec.colour" in body["message"]
    kube.refused(400, "BadRequest", "/api/v1/nodes", params={"labelSelector": "a b"})


def test_paging_goes_over_everything_once(kube: Kube) -> None:
    whole = kube.names("/api/v1/pods")
    found: list[str] = []
    mark = ""
    while True:
        answer = kube.get("/api/v1/pods", params={"limit": "3", "continue": mark})
        found += [item["metadata"]["name"] for item in answer["items"]]
        mark = answer["metadata"].get("continue", "")
        if not mark:
            break
        assert answer["metadata"]["remainingItemCount"] == len(whole) - len(found)
    assert found == whole
    kube.refused(400, "BadRequest", "/api/v1/pods", params={"limit": "3", "continue": "é"})


def test_tables(kube: Kube) -> None:
    for kind, path in (("Node", "nodes"), ("Pod", "pods"), ("Namespace", "namespaces")):
        table = kube.get(f"/api/v1/{path}", headers={"Accept": TABLE})
        assert table["kind"] == "Table"
        assert [row["cells"][0] for row in table["rows"]] == kube.names(f"/api/v1/{path}")
        assert {len(row["cells"]) for row in table["rows"]} == {len(table["columnDefinitions"])}
        assert {row["object"]["kind"] for row in table["rows"]} == {"PartialObjectMetadata"}
        name = table["rows"][0]["cells"][0]
        if kind != "Pod":
            single = kube.get(f"/api/v1/{path}/{name}", headers={"Accept": TABLE}, params={"includeObject": "Object"})
            assert [row["object"]["kind"] for row in single["rows"]] == [kind]
    assert kube.get("/api/v1/nodes", headers={"Accept": "application/json"})["kind"] == "NodeList"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (3600, "60m"), (12600, "3h30m"), (90000, "25h"),
     (200000, "2d"), (70000000, "2y80d")],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    created = NOW.timestamp() - seconds
    assert age(NOW.fromtimestamp(created, NOW.tzinfo).isoformat(), NOW) == text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_written(kube: Kube, method: str) -> None:
    kube.refused(405, "MethodNotAllowed", "/api/v1/nodes", method=method)
    kube.refused(405, "MethodNotAllowed", "/api/v1/namespaces/default/pods/x", method=method)


def test_there_is_no_watch_and_nothing_else(kube: Kube) -> None:
    kube.refused(405, "MethodNotAllowed", "/api/v1/nodes", params={"watch": "true"})
    for path in ("/api/v1/secrets", "/apis/apps/v1", "/api/v2", "/", "/api/v1/namespaces/default/secrets"):
        kube.refused(404, "NotFound", path)


def test_only_the_tokens_of_the_cluster_open_it(project: Api, world: World, cluster: str, kube: Kube) -> None:
    for token in ("", "x", "é", project.key):
        kube.refused(401, "Unauthorized", "/api/v1/nodes", token=token)
    kube.refused(401, "Unauthorized", "/api/v1/nodes", method="DELETE", token="x")
    other = world.running("other")
    theirs = Kube(project.client, kubeconfig(project, other))
    theirs.refused(401, "Unauthorized", "/api/v1/nodes", token=kube.token)
    assert len(theirs.names("/api/v1/nodes")) == 3
    assert project.client.request("GET", f"{PREFIX}/{other}/api").status_code == 401
    assert project.client.request("GET", PREFIX + "/").status_code == 401


def test_it_goes_with_the_cluster(project: Api, world: World, cluster: str, kube: Kube) -> None:
    project.ok("DELETE", f"/v1/spectroclusters/{cluster}")
    world.settle()
    kube.refused(503, "ServiceUnavailable", "/api/v1/nodes")
    project.refused(404, "ResourceNotFound", "GET", f"/v1/spectroclusters/{cluster}/assets/kubeconfig")


def test_a_cluster_answers_from_its_first_control_plane_machine_on(project: Api, world: World) -> None:
    uid = world.create()
    project.refused(404, "ResourceNotFound", "GET", f"/v1/spectroclusters/{uid}/assets/kubeconfig")
    for _ in range(200):
        world.settle(0.1)
        if project.call("GET", f"/v1/spectroclusters/{uid}/assets/kubeconfig").status_code == 200:
            break
    assert world.state(uid)[0] == "Provisioning"
    early = Kube(project.client, kubeconfig(project, uid))
    assert len(early.names("/api/v1/nodes")) == 1
    world.settle()
    assert len(early.names("/api/v1/nodes")) == 3
