# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud configs over the API: pools and machines, their rules, and what the infrastructure refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from clusters import CLUSTERS, World, account, pool, world
from conftest import Api

from paletteops_plane.plane import Plane


@pytest.fixture
def aws(project: Api, plane: Plane) -> World:
    return world(project, plane)


@pytest.fixture(params=["aws", "vsphere"])
def any_cloud(request: pytest.FixtureRequest, project: Api, plane: Plane) -> World:
    return world(project, plane, request.param)


def pools(world: World, uid: str) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in world.config(uid)["spec"]["machinePoolConfig"]}


def test_a_pool_is_shown_as_it_was_sent_and_nothing_is_added(aws: World) -> None:
    taint = {"key": "a", "value": "b", "effect": "NoSchedule", "timeAdded": "0001-01-01T00:00:00.000Z"}
    sent = pool("aws", "w", 2, taints=[taint], minSize=1, maxSize=3, additionalLabels={"x": "1"}, nodeRepaveInterval=5)
    subnets = [{"az": "eu-central-1a", "id": "subnet-1"}]
    sent["cloudConfig"] |= {"rootDeviceSize": 70, "azs": ["eu-central-1a"], "subnets": subnets}
    uid = aws.create(machinepoolconfig=[pool("aws", "cp", 1, control_plane=True), sent])
    found = pools(aws, uid)
    assert found["w"] == {
        "name": "w",
        "size": 2,
        "isControlPlane": False,
        "labels": ["worker"],
        "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}],
        "minSize": 1,
        "maxSize": 3,
        "additionalLabels": {"x": "1"},
        "nodeRepaveInterval": 5,
        "instanceType": "m6i.large",
        "capacityType": "on-demand",
        "rootDeviceSize": 70,
        "azs": ["eu-central-1a"],
        "subnetIds": {"eu-central-1a": "subnet-1"},
    }
    assert set(found["cp"]) == {"name", "size", "isControlPlane", "labels", "instanceType", "capacityType"}


def test_pools_are_added_changed_and_deleted(any_cloud: World) -> None:
    uid = any_cloud.running()
    path = any_cloud.pools_path(uid)
    any_cloud.api.ok("POST", path, pool(any_cloud.cloud, "more", 2))
    assert any_cloud.state(uid)[0] == "Running" and any_cloud.state(uid)[1] != "Healthy"
    any_cloud.settle()
    assert any_cloud.state(uid)[1] == "Healthy" and len(any_cloud.machines(uid, "more")) == 2
    any_cloud.api.ok("PUT", f"{path}/more", pool(any_cloud.cloud, "more", 1, additionalLabels={"a": "b"}))
    assert pools(any_cloud, uid)["more"]["size"] == 1
    any_cloud.settle()
    assert len(any_cloud.machines(uid, "more")) == 1
    any_cloud.api.ok("DELETE", f"{path}/more")
    assert "more" not in pools(any_cloud, uid) and any_cloud.state(uid)[1] != "Healthy"
    any_cloud.settle()
    uids = any_cloud.api.ok(
        "GET", f"/v1/cloudconfigs/{any_cloud.config(uid)['metadata']['uid']}/machinePools/machineUids"
    )
    assert {name: len(item["machineUids"]) for name, item in uids["machinePools"].items()} == {"cp": 1, "w": 2}


@pytest.mark.parametrize("change", ["size", "instance"])
def test_no_change_is_reported_as_done_before_it_is(any_cloud: World, change: str, plane: Plane) -> None:
    uid = any_cloud.running()
    before = {machine["metadata"]["uid"] for machine in any_cloud.machines(uid, "w")}
    sent = pool(any_cloud.cloud, "w", 3 if change == "size" else 2)
    if change == "instance":
        own = sent["cloudConfig"]
        own["instanceType"] = "m6i.xlarge" if any_cloud.cloud == "aws" else {**own["instanceType"], "numCPUs": 8}
    any_cloud.api.ok("PUT", f"{any_cloud.pools_path(uid)}/w", sent)
    stored = plane.store.get("cluster", uid)
    assert stored is not None
    summary = next(item for item in stored.body["_pools"] if item["name"] == "w")
    assert summary["healthy"] < summary["size"] and any_cloud.state(uid)[1] != "Healthy"
    any_cloud.settle()
    after = {machine["metadata"]["uid"] for machine in any_cloud.machines(uid, "w")}
    assert any_cloud.state(uid) == ("Running", "Healthy")
    assert before < after if change == "size" else not before & after


def test_a_change_of_labels_and_taints_keeps_the_machines(aws: World) -> None:
    uid = aws.running()
    before = aws.machines(uid, "w")
    sent = pool("aws", "w", 2, additionalLabels={"a": "b"}, taints=[{"key": "k", "value": "v", "effect": "NoExecute"}])
    aws.api.ok("PUT", f"{aws.pools_path(uid)}/w", sent)
    aws.settle()
    assert aws.machines(uid, "w") == before and aws.state(uid)[1] == "Healthy"


def test_what_a_pool_cannot_be_is_refused(aws: World) -> None:
    uid = aws.running()
    path = aws.pools_path(uid)
    aws.api.refused(409, "ResourceAlreadyExists", "POST", path, pool("aws", "w", 1))
    aws.api.refused(422, "InvalidValue", "POST", path, pool("aws", "cp2", 1, control_plane=True))
    aws.api.refused(422, "InvalidValue", "PUT", f"{path}/cp", pool("aws", "cp", 2, control_plane=True))
    aws.api.refused(422, "InvalidValue", "PUT", f"{path}/w", pool("aws", "w", 1, control_plane=True))
    aws.api.refused(422, "InvalidValue", "PUT", f"{path}/w", pool("aws", "other", 1))
    aws.api.refused(404, "ResourceNotFound", "PUT", f"{path}/nope", pool("aws", "nope", 1))
    aws.api.refused(409, "ResourceInUse", "DELETE", f"{path}/cp")
    aws.api.ok("DELETE", f"{CLUSTERS}/{uid}")
    aws.api.refused(409, "ResourceStateConflict", "POST", path, pool("aws", "late", 1))


def test_placements_keep_their_uids_and_those_of_the_control_plane_stay(project: Api, plane: Plane) -> None:
    here = world(project, plane, "vsphere")
    uid = here.running()
    path, before = here.pools_path(uid), pools(here, uid)
    sent = pool("vsphere", "cp", 3, control_plane=True)
    known = before["cp"]["placements"][0]["uid"]
    sent["cloudConfig"]["placements"][0] |= {"uid": known, "datacenter": "dc1", "folder": "spectro"}
    here.api.ok("PUT", f"{path}/cp", sent)
    here.api.ok("PUT", f"{path}/w", pool("vsphere", "w", 3))
    after = pools(here, uid)
    for name in ("cp", "w"):
        assert [item["uid"] for item in after[name]["placements"]] == [
            item["uid"] for item in before[name]["placements"]
        ]
    other = copy.deepcopy(sent)
    other["cloudConfig"]["placements"][0]["cluster"] = "elsewhere"
    here.api.refused(422, "InvalidValue", "PUT", f"{path}/cp", other)


def test_a_cluster_config_takes_changes_but_not_of_where_it_is(any_cloud: World) -> None:
    uid = any_cloud.running()
    config = any_cloud.config(uid)
    path = any_cloud.config_path(config["metadata"]["uid"]) + "/clusterConfig"
    sent = config["spec"]["clusterConfig"]
    if any_cloud.cloud == "aws":
        allowed, refused = {**sent, "bastionDisabled": True}, {**sent, "region": "us-east-1"}
    else:
        allowed = {**sent, "ntpServers": ["ntp.example.invalid"]}
        refused = {**sent, "placement": {**sent["placement"], "datacenter": "dc2"}}
    any_cloud.api.ok("PUT", path, {"clusterConfig": allowed})
    assert any_cloud.config(uid)["spec"]["clusterConfig"] == allowed
    any_cloud.api.refused(422, "InvalidValue", "PUT", path, {"clusterConfig": refused})


def test_a_deleted_machine_is_replaced(aws: World) -> None:
    uid = aws.running()
    gone = aws.machines(uid, "w")[0]["metadata"]["uid"]
    aws.api.ok("DELETE", f"{aws.pools_path(uid)}/w/machines/{gone}")
    assert aws.state(uid)[1] != "Healthy"
    aws.settle()
    left = [machine["metadata"]["uid"] for machine in aws.machines(uid, "w")]
    assert len(left) == 2 and gone not in left and aws.state(uid)[1] == "Healthy"
    aws.api.refused(404, "ResourceNotFound", "GET", f"{aws.pools_path(uid)}/w/machines/{gone}")


def test_machines_are_cordoned_and_taken_back(aws: World, plane: Plane) -> None:
    uid = aws.running()
    machine = aws.machines(uid, "w")[0]["metadata"]["uid"]
    path = f"{aws.pools_path(uid)}/w/machines/{machine}"
    for action, count in (("cordon", 1), ("uncordon", 0)):
        aws.api.ok("PUT", f"{path}/maintenance", {"action": action})
        status = aws.api.ok("GET", path)["status"]["maintenanceStatus"]
        assert (status["action"], status["state"]) == (action, "Completed")
        stored = plane.store.get("cluster", uid)
        assert stored is not None
        assert {item["name"]: item["maintenanceMode"] for item in stored.body["_pools"]} == {"cp": 0, "w": count}
    aws.api.refused(
        404, "ResourceNotFound", "PUT", path.replace("/aws/", "/vsphere/") + "/maintenance", {"action": "cordon"}
    )


# What the infrastructure refuses


def stuck(world: World, uid: str, kind: str, reason: str) -> dict[str, Any]:
    """The cluster goes on for an hour and is still held back by this."""
    world.settle()
    assert world.state(uid) == ("Provisioning", "")
    condition = world.condition(uid, kind)
    assert (condition["status"], condition["reason"]) == ("False", reason)
    assert world.reasons(uid).count(reason) == 1
    return condition


def test_an_unknown_instance_type_is_named_until_the_pool_is_corrected(aws: World) -> None:
    wrong = pool("aws", "w", 2, cloud_config={"instanceType": "m6i.gigantic"})
    uid = aws.create(machinepoolconfig=[pool("aws", "cp", 1, control_plane=True), wrong])
    condition = stuck(aws, uid, "WorkerNodeAdditionDone", "InstanceTypeNotFound")
    assert "'w'" in condition["message"] and "m6i.gigantic" in condition["message"]
    aws.api.ok("PUT", f"{aws.pools_path(uid)}/w", pool("aws", "w", 2))
    aws.settle()
    assert aws.state(uid) == ("Running", "Healthy") and aws.condition(uid, "WorkerNodeAdditionDone")["status"] == "True"


def test_credentials_without_permission_hold_a_cluster_back_until_the_account_is_mended(aws: World) -> None:
    denied = account(aws.api, name="denied", accessKey="DENIED1")
    uid = aws.create(cloudAccountUid=denied)
    stuck(aws, uid, "CloudInfrastructureReady", "CredentialsWithoutPermission")
    body = {"metadata": {"name": "denied"}, "spec": {"accessKey": "AKIA", "secretKey": "s"}}
    aws.api.ok("PUT", f"/v1/cloudaccounts/aws/{denied}", body)
    aws.settle()
    assert aws.state(uid) == ("Running", "Healthy")


def test_more_machines_than_the_quota_allows(aws: World) -> None:
    uid = aws.create(machinepoolconfig=[pool("aws", "cp", 1, control_plane=True), pool("aws", "w", 120)])
    stuck(aws, uid, "WorkerNodeAdditionDone", "QuotaExceeded")
    aws.api.ok("PUT", f"{aws.pools_path(uid)}/w", pool("aws", "w", 3))
    aws.settle()
    assert aws.state(uid) == ("Running", "Healthy") and len(aws.machines(uid, "w")) == 3


def test_a_datacenter_that_is_not_there(project: Api, plane: Plane) -> None:
    here = world(project, plane, "vsphere")
    config = here.body()["spec"]["cloudConfig"]
    config["placement"]["datacenter"] = "missing-dc"
    uid = here.create(cloudConfig=config)
    stuck(here, uid, "ControlPlaneNodeAdditionDone", "PlacementNotFound")
    here.api.ok("DELETE", f"{CLUSTERS}/{uid}")
    here.settle()
    assert here.state(uid)[0] == "Deleted"


def test_a_fault_on_a_running_cluster_leaves_it_running_but_not_healthy(aws: World) -> None:
    uid = aws.running()
    aws.api.ok("POST", aws.pools_path(uid), pool("aws", "gpu", 1, cloud_config={"instanceType": "p9.huge"}))
    aws.settle()
    assert aws.state(uid)[0] == "Running" and aws.state(uid)[1] != "Healthy"
    aws.api.ok("DELETE", f"{aws.pools_path(uid)}/gpu")
    aws.settle()
    assert aws.state(uid) == ("Running", "Healthy")
    assert {condition["status"] for condition in aws.get(uid)["status"]["conditions"]} == {"True"}


def test_a_fault_that_a_test_asks_for_passes(aws: World, tenant: Api) -> None:
    fault = {"kind": "infrastructure", "cluster": "^shop$", "step": "machine", "pool": "w", "times": 2}
    fault |= {"reason": "HostFull", "message": "no room"}
    tenant.ok("PUT", "/embedded/v1/faults", [fault])
    uid = aws.create()
    other = aws.create("other")
    aws.settle()
    assert aws.state(uid) == aws.state(other) == ("Running", "Healthy")
    assert "HostFull" in aws.reasons(uid) and "HostFull" not in aws.reasons(other)
