# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters on the dashboard: what lists and summaries show, over many clusters too."""

from __future__ import annotations

import copy
import time
from typing import Any

import clusters
import pytest
from clusters import World
from conftest import Api

from paletteops_plane.plane import Plane
from paletteops_plane.store import Document, new_uid

DASHBOARD = "/v1/dashboard/spectroclusters"
MANY = 1000


@pytest.fixture
def world(project: Api, plane: Plane) -> World:
    return clusters.world(project, plane)


def text(name: str, *values: str, **more: Any) -> dict[str, Any]:
    condition = {"operator": "eq", "match": {"conjunction": "or", "values": list(values)}, **more}
    return {"property": name, "type": "string", "condition": {"string": condition}}


def spec(*filters: dict[str, Any], sort: list[dict[str, str]] | None = None) -> dict[str, Any]:
    return {
        "filter": {"conjunction": "and", "filterGroups": [{"conjunction": "and", "filters": list(filters)}]},
        "sort": sort,
    }


def search(api: Api, *filters: dict[str, Any], **options: Any) -> list[str]:
    found = api.ok("POST", f"{DASHBOARD}/search", spec(*filters, **options))
    return [item["metadata"]["name"] for item in found["items"]]


def names(answer: dict[str, Any]) -> list[str]:
    return [item["name"] for item in answer["items"]]


def add_copies(plane: Plane, uid: str, count: int) -> None:
    """Many clusters like one that is there, without the time that it takes to make them."""
    pattern = plane.store.get("cluster", uid)
    assert pattern is not None
    with plane.store.transaction():
        for number in range(count):
            body = copy.deepcopy(pattern.body)
            copied, name = new_uid(), f"copy-{number:04}"
            body["metadata"] |= {"name": name, "uid": copied}
            plane.store.add(Document(kind="cluster", name=name, project=pattern.project, uid=copied, body=body))


NOT_NESTED = text("environment", "nested", negation=True)
#: A Go client leaves false out.
NOT_DELETED = {"property": "isDeleted", "type": "bool", "condition": {"bool": {}}}


def test_a_cluster_is_found_by_its_name_as_the_vendors_clients_look_for_it(world: World) -> None:
    for name in ("shop-1", "shop-2"):
        world.create(name)
    assert search(world.api, NOT_NESTED, NOT_DELETED, text("clusterName", "shop-2")) == ["shop-2"]
    assert search(world.api, NOT_NESTED, NOT_DELETED, text("clusterName", "Shop-2")) == []


def test_a_summary_follows_the_cluster(world: World) -> None:
    uid = world.create()
    found = world.api.ok("POST", f"{DASHBOARD}/search", spec())
    (item,) = found["items"]
    assert found["listmeta"]["continue"] == ""
    assert item["metadata"]["uid"] == uid
    assert item["status"]["state"] == "Pending" and "health" not in item["status"]
    assert [pool["healthy"] for pool in item["specSummary"]["cloudConfig"]["machinePools"]] == [0, 0]
    world.settle()
    (item,) = world.api.ok("POST", f"{DASHBOARD}/search", spec())["items"]
    assert (item["status"]["state"], item["status"]["health"]["state"]) == ("Running", "Healthy")
    summary = item["specSummary"]
    pools = {(pool["isControlPlane"], pool["size"], pool["healthy"]) for pool in summary["cloudConfig"]["machinePools"]}
    assert pools == {(True, 1, 1), (False, 2, 2)}
    assert summary["projectMeta"] == {"name": "Default", "uid": world.api.project}
    assert summary["cloudAccountMeta"]["uid"] == world.account
    assert summary["clusterProfileTemplate"]["uid"] == world.infra
    assert "repave" not in item["status"]


def test_the_overview_has_what_a_waiter_and_a_reader_need(world: World) -> None:
    uid = world.create()
    early = world.api.ok("GET", f"{DASHBOARD}/{uid}/overview")
    assert "health" not in early["status"] and early["status"]["kubeMeta"]["hasKubeConfig"] is False
    world.settle()
    late = world.api.ok("GET", f"{DASHBOARD}/{uid}/overview")
    assert late["status"]["health"]["state"] == "Healthy"
    assert late["status"]["kubeMeta"]["hasKubeConfig"] is True
    assert {one["status"] for one in late["status"]["conditions"]} == {"True"}
    assert {pack["name"] for pack in late["status"]["packs"]} == set(clusters.LAYERS["aws"])
    assert late["status"]["location"] == {"regionCode": "eu-central-1", "regionName": "eu-central-1"}
    assert world.api.ok("GET", f"{DASHBOARD}/{uid}") == late
    world.api.refused(404, "ResourceNotFound", "GET", f"{DASHBOARD}/{'0' * 24}/overview")


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (text("tags", "site:berlin"), ["tagged"]),
        (text("tags", "edge"), ["tagged"]),
        ({"property": "labels", "condition": {"keyValue": {"key": "site", "match": {
            "values": ["berlin"]}}}}, ["tagged"]),
        (text("healthState", "Healthy"), ["plain"]),
        (text("clusterState", "Running"), ["plain"]),
        (text("state", "Pending"), ["tagged"]),
        (text("environment", "aws"), ["plain", "tagged"]),
        (text("environment", "vsphere"), []),
        (text("region", "eu-central-1"), ["plain", "tagged"]),
        ({"property": "creationTimestamp", "condition": {"date": {"operator": "gt", "match": {
            "values": ["2026-03-01T12:30:00Z"]}}}}, ["tagged"]),
    ],
)  # fmt: skip
def test_what_can_be_searched_by(world: World, condition: dict[str, Any], found: list[str]) -> None:
    world.running("plain")
    body = world.body("tagged")
    body["metadata"]["labels"] = {"site": "berlin", "edge": "spectro__tag"}
    world.api.ok("POST", "/v1/spectroclusters/aws", body)
    assert search(world.api, condition) == found
    items = world.api.ok("POST", f"{DASHBOARD}/metadata/search", spec(condition))["items"]
    assert [item["metadata"]["name"] for item in items] == found


def test_both_schemas_name_what_can_be_searched_by(world: World) -> None:
    schema = world.api.ok("GET", f"{DASHBOARD}/search/schema")
    assert schema == world.api.ok("GET", f"{DASHBOARD}/metadata/search/schema")
    known = [entry["name"] for entry in schema["schema"]["properties"]]
    assert {"clusterName", "uid", "environment", "isDeleted", "state", "healthState", "tags", "projectUid"} <= set(
        known
    )
    error = world.api.refused(422, "InvalidValue", "POST", f"{DASHBOARD}/search", spec(text("colour", "red")))
    assert "colour" in error["message"] and error["details"]["value"] == "colour"


def test_a_deleted_cluster_is_found_only_when_it_is_asked_for(world: World) -> None:
    uid = world.running()
    world.api.ok("DELETE", f"{clusters.CLUSTERS}/{uid}")
    assert search(world.api, text("clusterState", "Deleting")) == ["shop"]
    world.settle()
    assert search(world.api, NOT_DELETED) == []
    deleted = {"property": "isDeleted", "type": "bool", "condition": {"bool": {"value": True}}}
    assert search(world.api, deleted) == ["shop"]
    for method, body in (("GET", None), ("POST", {})):
        assert names(world.api.ok(method, f"{DASHBOARD}/metadata", body)) == []


def test_metadata_by_filter(world: World) -> None:
    world.running("b-first")
    world.create("a-second")
    path = f"{DASHBOARD}/metadata"
    assert names(world.api.ok("GET", path)) == ["b-first", "a-second"]
    assert names(world.api.ok("POST", path, {"sort": "name"})) == ["a-second", "b-first"]
    assert names(world.api.ok("POST", path, {"filter": {"name": {"beginsWith": "B-"}}})) == ["b-first"]
    assert names(world.api.ok("POST", path, {"filter": {"state": "Running"}})) == ["b-first"]
    assert names(world.api.ok("POST", path, {"filter": {"environment": "vsphere"}})) == []
    assert names(world.api.ok("POST", path, {"filter": {"isImported": True}})) == []
    assert names(world.api.ok("GET", path, params={"quickFilter": "hypershiftClusters"})) == []


def test_clusters_are_seen_in_their_project_and_by_the_tenant(world: World, tenant: Api) -> None:
    world.create()
    uid = tenant.ok("POST", "/v1/projects", {"metadata": {"name": "other"}})["uid"]
    other = Api(tenant.client, tenant.key, uid)
    for path in ("search", "metadata/search", "metadata"):
        assert other.ok("POST", f"{DASHBOARD}/{path}", {})["items"] == []
        assert len(tenant.ok("POST", f"{DASHBOARD}/{path}", {})["items"]) == 1
    assert search(tenant, text("projectUid", uid)) == []
    assert search(tenant, text("projectUid", world.api.project)) == ["shop"]


def test_a_repave_is_listed_by_its_state(world: World) -> None:
    uid = world.running()
    path = f"{DASHBOARD}/repaveStatus"
    assert world.api.ok("GET", path)["items"] == []
    newer = clusters.profile(world.api, clusters.infra("newer", kubernetes="1.32.x"))
    body = {"profiles": [{"uid": newer, "replaceWithProfile": world.infra}]}
    world.api.ok("PATCH", f"{clusters.CLUSTERS}/{uid}/profiles", body)
    (item,) = world.api.ok("GET", path)["items"]
    assert item["status"]["repave"] == {"state": "Pending"}
    assert search(world.api, text("repaveState", "Pending")) == ["shop"]
    assert world.api.ok("GET", path, params={"repaveState": "Approved"})["items"] == []


def test_a_profile_that_is_published_anew_is_told_of(world: World) -> None:
    uid = world.running()

    def available() -> bool:
        told: bool = world.api.ok("GET", f"{DASHBOARD}/{uid}/overview")["status"]["notifications"]["isAvailable"]
        return told

    assert not available()
    template = clusters.infra(kubernetes="1.32.x")["spec"]["template"]
    body = {"metadata": {"name": "base"}, "spec": {"template": {key: template[key] for key in ("type", "packs")}}}
    world.api.ok("PUT", f"/v1/clusterprofiles/{world.infra}", body)
    world.api.ok("PATCH", f"/v1/clusterprofiles/{world.infra}/publish")
    assert available()


def test_a_search_is_paged_by_fifty_and_loses_nothing(world: World) -> None:
    add_copies(world.plane, world.running("pattern"), 119)
    found: list[str] = []
    sizes = []
    params: dict[str, Any] = {}
    while True:
        order = [{"field": "clusterName", "order": "desc"}]
        answer = world.api.ok("POST", f"{DASHBOARD}/search", spec(sort=order), params=params)
        assert answer["listmeta"]["count"] == 120
        sizes.append(len(answer["items"]))
        found += [item["metadata"]["name"] for item in answer["items"]]
        if not answer["listmeta"]["continue"]:
            break
        params = {"continue": answer["listmeta"]["continue"]}
    assert sizes == [50, 50, 20]
    assert found == sorted(found, reverse=True) and len(set(found)) == 120


def test_lists_of_a_thousand_clusters_are_cheap(world: World) -> None:
    """A page of a search and the metadata of all take a small part of what a client waits for anyway."""
    add_copies(world.plane, world.running("pattern"), MANY)
    wanted = [f"copy-{number:04}" for number in range(200)]
    for method, path, body, count in (
        ("POST", "search", spec(text("clusterName", *wanted)), 50),
        ("GET", "metadata", None, MANY + 1),
    ):
        took = []
        for _ in range(3):
            began = time.process_time()
            assert len(world.api.ok(method, f"{DASHBOARD}/{path}", body)["items"]) == count
            took.append(time.process_time() - began)
        assert min(took) < 0.1


def test_gateways_can_be_searched(tenant: Api) -> None:
    path = "/v1/dashboard/pcgs/search"
    found = tenant.ok("POST", path, spec(text("name", "pcg-default"), text("state", "Running")))
    assert [item["metadata"]["name"] for item in found["items"]] == ["pcg-default"]
    assert found["listmeta"]["count"] == 1
    assert tenant.ok("POST", path, spec(text("name", "other")))["items"] == []
    assert "name" in [entry["name"] for entry in tenant.ok("GET", f"{path}/schema")["schema"]["properties"]]
