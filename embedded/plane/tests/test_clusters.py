# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters over the API: made, read, deleted, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from clusters import CLUSTERS, World, account, addon, infra, pool, profile, world
from conftest import Api

from paletteops_plane.plane import Plane


@pytest.fixture
def aws(project: Api, plane: Plane) -> World:
    return world(project, plane)


@pytest.fixture(params=["aws", "vsphere"])
def any_cloud(request: pytest.FixtureRequest, project: Api, plane: Plane) -> World:
    return world(project, plane, request.param)


def test_a_cluster_is_made_and_deleted(any_cloud: World, plane: Plane) -> None:
    uid = any_cloud.create()
    assert any_cloud.state(uid) == ("Pending", "")
    any_cloud.api.refused(404, "ResourceNotFound", "GET", f"{CLUSTERS}/{uid}/assets/kubeconfig")
    plane.clock.advance(0.3)
    assert any_cloud.state(uid)[0] == "Provisioning"
    any_cloud.settle()
    assert any_cloud.state(uid) == ("Running", "Healthy")
    cluster = any_cloud.get(uid)
    assert cluster["metadata"]["annotations"]["scope"] == "project"
    assert {condition["status"] for condition in cluster["status"]["conditions"]} == {"True"}
    assert [pack["condition"]["status"] for pack in cluster["status"]["packs"]] == ["True"] * 4
    assert [len(any_cloud.machines(uid, name)) for name in ("cp", "w")] == [1, 2]
    any_cloud.api.ok("DELETE", f"{CLUSTERS}/{uid}")
    assert any_cloud.state(uid) == ("Deleting", "")
    any_cloud.settle()
    assert any_cloud.state(uid) == ("Deleted", "")
    any_cloud.api.refused(404, "ResourceNotFound", "DELETE", f"{CLUSTERS}/{uid}")


def test_what_clients_take_for_granted_is_there(any_cloud: World) -> None:
    status = any_cloud.get(any_cloud.create())["status"]
    assert status["repave"] == {"state": "Approved"} and status["spcApply"]["canBeApplied"] is True
    assert status.get("location", {}).get("regionCode") == ("eu-central-1" if any_cloud.cloud == "aws" else None)
    location = {"countryCode": "DE", "regionName": "here"}
    named = any_cloud.create("named", clusterConfig={"location": location, "timezone": "UTC"})
    assert any_cloud.get(named)["status"]["location"] == location
    assert any_cloud.get(named)["spec"]["clusterConfig"] == {"timezone": "UTC"}


def test_what_a_cluster_uses_is_kept_until_it_is_gone(aws: World) -> None:
    uid = aws.running()
    aws.api.refused(409, "ResourceInUse", "DELETE", f"/v1/clusterprofiles/{aws.infra}")
    aws.api.refused(409, "ResourceInUse", "DELETE", f"/v1/cloudaccounts/aws/{aws.account}")
    aws.api.ok("DELETE", f"{CLUSTERS}/{uid}")
    aws.settle()
    aws.api.ok("DELETE", f"/v1/clusterprofiles/{aws.infra}")
    aws.api.ok("DELETE", f"/v1/cloudaccounts/aws/{aws.account}")


def test_a_project_can_go_once_its_clusters_are_gone(aws: World, tenant: Api) -> None:
    uid = aws.running()
    tenant.refused(409, "ResourceInUse", "DELETE", f"/v1/projects/{aws.api.project}")
    aws.api.ok("DELETE", f"{CLUSTERS}/{uid}")
    aws.settle()
    aws.api.ok("DELETE", f"/v1/clusterprofiles/{aws.infra}")
    aws.api.ok("DELETE", f"/v1/cloudaccounts/aws/{aws.account}")
    tenant.ok("DELETE", f"/v1/projects/{aws.api.project}")


def test_a_name_is_taken_until_its_cluster_is_gone(aws: World) -> None:
    uid = aws.running()
    aws.api.refused(409, "ResourceAlreadyExists", "POST", f"{CLUSTERS}/aws", aws.body())
    aws.api.refused(409, "ResourceAlreadyExists", "GET", f"{CLUSTERS}/validate/name?name=shop")
    aws.api.ok("DELETE", f"{CLUSTERS}/{uid}")
    aws.api.refused(409, "ResourceAlreadyExists", "POST", f"{CLUSTERS}/aws", aws.body())
    aws.settle()
    aws.api.ok("GET", f"{CLUSTERS}/validate/name?name=shop")
    assert aws.running() != uid


def test_a_deletion_is_forced_only_after_a_while(aws: World, plane: Plane) -> None:
    uid = aws.running()
    path = f"{CLUSTERS}/{uid}"
    aws.api.refused(409, "ResourceStateConflict", "DELETE", f"{path}?forceDelete=true")
    plane.faults.append({"kind": "infrastructure", "step": "delete", "cluster": "shop", "times": 1000})
    aws.api.ok("DELETE", path)
    plane.clock.advance(10)
    assert (
        "can be forced from"
        in aws.api.refused(409, "ResourceStateConflict", "DELETE", f"{path}?forceDelete=true")["message"]
    )
    plane.clock.advance(5)
    assert aws.state(uid)[0] == "Deleting"
    aws.api.ok("DELETE", f"{path}?forceDelete=true")
    assert aws.state(uid)[0] == "Deleted"


def test_metadata_replaces_labels_and_keeps_annotations(aws: World) -> None:
    uid = aws.create()
    aws.api.ok("PATCH", f"{CLUSTERS}/{uid}/metadata", {"metadata": {"name": "shop", "labels": {"a": "1", "b": "2"}}})
    sent = {"metadata": {"labels": {"b": "3"}, "annotations": {"description": "d"}}}
    aws.api.ok("PATCH", f"{CLUSTERS}/{uid}/metadata", sent)
    metadata = aws.get(uid)["metadata"]
    assert metadata["labels"] == {"b": "3"} and metadata["annotations"] == {"description": "d", "scope": "project"}
    aws.api.refused(422, "InvalidValue", "PATCH", f"{CLUSTERS}/{uid}/metadata", {"metadata": {"name": "other"}})


CONTROL_PLANE = pool("aws", "cp", 1, control_plane=True)
SCAN = {"kubeBench": {"schedule": {"scheduledRunTime": "x"}}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cloudAccountUid": "0" * 24}, "cloudAccountUid"),
        ({"profiles": []}, "profiles"),
        ({"profiles": [{"uid": "0" * 24}]}, "profiles[0].uid"),
        ({"machinepoolconfig": []}, "machinepoolconfig"),
        ({"machinepoolconfig": [pool("aws", "w", 1)]}, "machinepoolconfig"),
        ({"machinepoolconfig": [pool("aws", "cp", 2, control_plane=True)]}, "machinepoolconfig[0].poolConfig.size"),
        ({"machinepoolconfig": [pool("aws", "cp", 0, control_plane=True)]}, "machinepoolconfig[0].poolConfig.size"),
        ({"machinepoolconfig": [CONTROL_PLANE, pool("aws", "cp", 1)]}, "machinepoolconfig[1].poolConfig.name"),
        (
            {"machinepoolconfig": [CONTROL_PLANE, pool("aws", "w", 1, minSize=3, maxSize=2)]},
            "machinepoolconfig[1].poolConfig.minSize",
        ),
        (
            {"machinepoolconfig": [CONTROL_PLANE, pool("aws", "w", 9, minSize=1, maxSize=2)]},
            "machinepoolconfig[1].poolConfig.size",
        ),
        (
            {"machinepoolconfig": [CONTROL_PLANE, pool("aws", "w", 1, updateStrategy={"maxSurge": "many"})]},
            "machinepoolconfig[1].poolConfig.updateStrategy.maxSurge",
        ),
        ({"policies": {"scanPolicy": SCAN}}, "policies.scanPolicy"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(aws: World, change: dict[str, Any], field: str) -> None:
    error = aws.api.refused(422, "InvalidValue", "POST", f"{CLUSTERS}/aws", aws.body(**change))
    field = f"body.spec.{field}"
    assert error["details"]["field"] == field and field in error["message"]


@pytest.mark.parametrize("name", ["Shop", "shop_1", "-shop", "s" * 64])
def test_a_name_that_no_cluster_can_have_is_refused(aws: World, name: str) -> None:
    aws.api.refused(422, "InvalidValue", "POST", f"{CLUSTERS}/aws", aws.body(name))


def test_account_and_profile_are_of_the_clusters_cloud(aws: World) -> None:
    other = account(aws.api, "vsphere", "vc")
    error = aws.api.refused(422, "InvalidValue", "POST", f"{CLUSTERS}/aws", aws.body(cloudAccountUid=other))
    assert "vsphere" in error["message"]
    foreign = profile(aws.api, infra("other", "vsphere"))
    error = aws.api.refused(422, "InvalidValue", "POST", f"{CLUSTERS}/aws", aws.body(profiles=[{"uid": foreign}]))
    assert "'other' is for vsphere" in error["message"]
    second = profile(aws.api, infra("second"))
    both = [{"uid": aws.infra}, {"uid": second}]
    aws.api.refused(422, "InvalidValue", "POST", f"{CLUSTERS}/aws", aws.body(profiles=both))


def test_variables_are_checked_and_sensitive_ones_stay_hidden(aws: World) -> None:
    variables = [
        {"name": "tier", "required": True},
        {"name": "port", "format": "number", "defaultValue": "80"},
        {"name": "token", "isSensitive": True},
    ]
    uid = profile(aws.api, addon(content="v: {{.spectro.var.tier}}", variables=variables))

    def body(*values: dict[str, str]) -> dict[str, Any]:
        return aws.body(profiles=[{"uid": aws.infra}, {"uid": uid, "variables": list(values)}])

    for values in ([], [{"name": "tier", "value": "x"}, {"name": "port", "value": "many"}], [{"name": "nope"}]):
        aws.api.refused(422, "InvalidValue", "POST", f"{CLUSTERS}/aws", body(*values))
    given = body({"name": "tier", "value": "gold"}, {"name": "token", "value": "hidden-one"})
    cluster = aws.api.ok("POST", f"{CLUSTERS}/aws", given)["uid"]
    response = aws.api.call("GET", f"{CLUSTERS}/{cluster}/variables")
    assert "hidden-one" not in response.text
    found = {item["profileUid"]: {v["name"]: v["value"] for v in item["variables"]} for item in response.json()}
    assert found[uid] == {"tier": "gold", "port": "80", "token": "********"}


def test_a_cluster_is_seen_in_its_project_alone(aws: World, tenant: Api) -> None:
    uid = aws.create()
    other = tenant.ok("POST", "/v1/projects", {"metadata": {"name": "other"}})["uid"]
    stranger = Api(tenant.client, tenant.key, other)
    stranger.refused(404, "ResourceNotFound", "GET", f"{CLUSTERS}/{uid}")
    config = aws.get(uid)["spec"]["cloudConfigRef"]["uid"]
    stranger.refused(404, "ResourceNotFound", "GET", f"/v1/cloudconfigs/aws/{config}")
    stranger.refused(404, "ResourceNotFound", "GET", f"/v1/events/components/spectrocluster/{uid}")


def test_a_request_that_is_refused_does_not_hold_time_back(aws: World, plane: Plane) -> None:
    uid = aws.create()
    plane.clock.advance(3600)
    aws.api.refused(404, "ResourceNotFound", "GET", f"{CLUSTERS}/{'0' * 24}")
    assert aws.state(uid) == ("Running", "Healthy")


def test_kubeconfigs_are_files_that_name_the_plane(aws: World) -> None:
    uid = aws.running()
    for asset in ("kubeconfig", "adminKubeconfig", "kubeconfigclient"):
        response = aws.api.call("GET", f"{CLUSTERS}/{uid}/assets/{asset}")
        assert response.headers["content-type"] == "application/octet-stream"
        server = yaml.safe_load(response.text)["clusters"][0]["cluster"]["server"]
        assert server == f"http://plane.example.invalid/embedded/kubernetes/{uid}"
    aws.api.refused(404, "ResourceNotFound", "GET", f"{CLUSTERS}/{uid}/features/backup")
    assert aws.api.ok("GET", f"{CLUSTERS}/{uid}/config/rbacs") == {"items": []}


def test_events_tell_what_happened_newest_first(aws: World) -> None:
    uid = aws.running()
    events = aws.api.ok("GET", f"/v1/events/components/spectrocluster/{uid}")["items"]
    assert events[0]["reason"] == "ClusterHealthy" and events[-1]["reason"] == "ClusterPending"
    times = [event["metadata"]["creationTimestamp"] for event in events]
    assert times == sorted(times, reverse=True) and times[0] != times[-1]
    assert (
        aws.api.ok("GET", "/v1/events/components?limit=1")["items"][0]["metadata"]["uid"]
        == events[0]["metadata"]["uid"]
    )
