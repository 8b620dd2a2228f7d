# SPDX-License-Identifier: GPL-3.0-or-later
"""The provisioner and the plane's documents: what is written of a cluster, over restarts too."""

from __future__ import annotations

from typing import Any

import pytest

from paletteops_plane.plane import Plane, Settings
from paletteops_plane.provisioner import MEMORY, engine
from paletteops_plane.provisioner.simulated import Simulated
from paletteops_plane.store import Document

PACKS = [
    {"profile_uid": "p", "name": name, "layer": layer, "version": "1.0", "type": "spectro", "digest": "d"}
    for name, layer in (("ubuntu", "os"), ("kubernetes", "k8s"), ("calico", "cni"), ("ebs", "csi"), ("nginx", "addon"))
]


def new_cluster(plane: Plane, name: str = "shop", **pool: Any) -> Document:
    """The documents of a cluster of one control plane node and two workers, as its resource writes them."""
    account = Document(kind="cloudaccount", name=f"a-{name}", body={"kind": "aws", "spec": {"accessKey": "AKIA"}})
    cluster = Document(kind="cluster", name=name, project="p1", body={})
    config = Document(kind="cloudconfig", project="p1", parent=cluster.uid, body={})
    cluster.body |= {
        "metadata": plane.new_metadata(name, cluster.uid),
        "spec": {"cloudType": "aws", "cloudConfigRef": {"uid": config.uid}},
        "status": {},
        "_wanted": {"packs": PACKS, "image": "i1", "kubernetes": "1.31.4"},
    }
    common = {"instanceType": "m6i.large", "capacityType": "on-demand", **pool}
    config.body["spec"] = {
        "cloudAccountRef": {"uid": account.uid},
        "clusterConfig": {"region": "eu-central-1"},
        "machinePoolConfig": [
            {"name": "cp", "isControlPlane": True, "size": 1, **common},
            {"name": "w", "isControlPlane": False, "size": 2, **common},
        ],
    }
    for document in (account, cluster, config):
        plane.store.add(document)
    plane.store.set_references(cluster.uid, {account.uid})
    engine.wake(plane, cluster)
    return cluster


def read(plane: Plane, cluster: Document) -> dict[str, Any]:
    engine.catch_up(plane)
    found = plane.store.get("cluster", cluster.uid)
    assert found is not None
    return found.body


def config_of(plane: Plane, cluster: Document) -> Document:
    found = plane.store.get("cloudconfig", cluster.body["spec"]["cloudConfigRef"]["uid"])
    assert found is not None
    return found


def machines(plane: Plane, cluster: Document) -> list[Document]:
    return plane.store.list("machine", parent=cluster.body["spec"]["cloudConfigRef"]["uid"])


def finish(plane: Plane) -> None:
    for _ in range(200):
        if not plane.moving:
            return
        plane.clock.advance(5)
        engine.catch_up(plane)
    raise AssertionError("a cluster never comes to rest")


def test_a_cluster_gets_its_state_machines_and_events(plane: Plane) -> None:
    cluster = new_cluster(plane)
    body = read(plane, cluster)
    assert body["status"]["state"] == "Pending" and "_health" not in body
    finish(plane)
    body = read(plane, cluster)
    assert (body["status"]["state"], body["_health"]["state"]) == ("Running", "Healthy")
    assert body["_bootstrapped"] and all(item["status"] == "True" for item in body["status"]["conditions"])
    assert [item["condition"]["status"] for item in body["status"]["packs"]] == ["True"] * 5
    assert [(pool["size"], pool["healthy"]) for pool in body["_pools"]] == [(1, 1), (2, 2)]
    found = machines(plane, cluster)
    assert sorted(machine.body["_pool"] for machine in found) == ["cp", "w", "w"]
    assert {machine.body["status"]["instanceState"] for machine in found} == {"Running"}
    reasons = [event.body["reason"] for event in plane.store.list("event", parent=cluster.uid)]
    assert reasons[0] == "ClusterPending" and reasons[-1] == "ClusterHealthy"


def test_a_change_shows_at_once_that_it_is_not_done(plane: Plane) -> None:
    cluster = new_cluster(plane)
    finish(plane)
    plane.clock.advance(1000)
    config = config_of(plane, cluster)
    config.body["spec"]["machinePoolConfig"][1]["size"] = 4
    plane.store.save(config)
    engine.catch_up(plane)
    engine.wake(plane, Document(**vars(plane.store.get("cluster", cluster.uid))))
    body = read(plane, cluster)
    assert body["_health"]["state"] == "Progressing" and body["_pools"][1]["healthy"] == 2
    # The new machines start now, however long nobody looked.
    assert plane.moving[cluster.uid] > plane.clock.now().timestamp()
    finish(plane)
    assert read(plane, cluster)["_pools"][1]["healthy"] == 4


def test_another_image_replaces_every_machine(plane: Plane) -> None:
    cluster = new_cluster(plane)
    finish(plane)
    before = {machine.uid for machine in machines(plane, cluster)}
    found = plane.store.get("cluster", cluster.uid)
    assert found is not None
    found.body["_wanted"] |= {"image": "i2", "kubernetes": "1.32.0"}
    engine.wake(plane, found)
    assert [pool["healthy"] for pool in found.body["_pools"]] == [0, 0]
    finish(plane)
    after = machines(plane, cluster)
    assert len(after) == 3 and not before & {machine.uid for machine in after}
    assert {machine.body["_kubernetes_version"] for machine in after} == {"1.32.0"}


def test_cordoned_machines_are_counted(plane: Plane) -> None:
    cluster = new_cluster(plane)
    finish(plane)
    machine = next(item for item in machines(plane, cluster) if item.body["_pool"] == "w")
    machine.body["_cordoned"] = True
    plane.store.save(machine)
    found = plane.store.get("cluster", cluster.uid)
    assert found is not None
    engine.wake(plane, found)
    assert [pool["maintenanceMode"] for pool in read(plane, cluster)["_pools"]] == [0, 1]


def test_labels_and_taints_change_in_place(plane: Plane) -> None:
    cluster = new_cluster(plane)
    finish(plane)
    before = {machine.uid for machine in machines(plane, cluster)}
    config = config_of(plane, cluster)
    config.body["spec"]["machinePoolConfig"][1] |= {"additionalLabels": {"a": "b"}, "taints": [{"key": "x"}]}
    plane.store.save(config)
    found = plane.store.get("cluster", cluster.uid)
    assert found is not None
    engine.wake(plane, found)
    engine.catch_up(plane)
    assert not plane.moving and {machine.uid for machine in machines(plane, cluster)} == before


def test_a_pinned_pool_keeps_its_machines(plane: Plane) -> None:
    cluster = new_cluster(plane)
    finish(plane)
    before = {machine.uid for machine in machines(plane, cluster) if machine.body["_pool"] == "w"}
    found = plane.store.get("cluster", cluster.uid)
    assert found is not None
    found.body["_wanted"] |= {"image": "i2", "pinned": {"w": {"image": "i1", "kubernetes": "1.31.4"}}}
    engine.wake(plane, found)
    finish(plane)
    assert {machine.uid for machine in machines(plane, cluster) if machine.body["_pool"] == "w"} == before
    assert read(plane, cluster)["_health"]["state"] == "Healthy"


def test_a_request_that_fails_does_not_stop_a_cluster(plane: Plane) -> None:
    cluster = new_cluster(plane)
    finish(plane)
    with pytest.raises(RuntimeError), plane.store.transaction():
        config = config_of(plane, cluster)
        config.body["spec"]["machinePoolConfig"][1]["size"] = 9
        plane.store.save(config)
        found = plane.store.get("cluster", cluster.uid)
        assert found is not None
        found.body["_wanted"]["deleted"] = True
        engine.wake(plane, found)
        raise RuntimeError
    finish(plane)
    body = read(plane, cluster)
    assert (body["status"]["state"], body["_health"]["state"]) == ("Running", "Healthy")
    assert len(machines(plane, cluster)) == 3


def test_a_deleted_cluster_leaves_its_name_and_what_it_used(plane: Plane) -> None:
    cluster = new_cluster(plane)
    finish(plane)
    found = plane.store.get("cluster", cluster.uid)
    assert found is not None
    found.body["_wanted"]["deleted"] = True
    engine.wake(plane, found)
    assert found.body["status"]["state"] == "Deleting"
    finish(plane)
    assert read(plane, cluster)["status"]["state"] == "Deleted"
    assert not machines(plane, cluster)
    assert plane.store.by_name("cluster", "shop", "p1") is None
    account = plane.store.by_name("cloudaccount", "a-shop")
    assert account is not None and not plane.store.users_of(account.uid)


def test_a_restart_goes_on_where_the_cluster_was(plane: Plane, settings: Settings) -> None:
    cluster = new_cluster(plane)
    plane.clock.advance(2)
    assert read(plane, cluster)["status"]["state"] == "Provisioning"
    kept = {machine.uid for machine in machines(plane, cluster)}
    plane.close()
    again = Plane.open(settings)
    try:
        engine.resume(again)
        finish(again)
        assert read(again, cluster)["_health"]["state"] == "Healthy"
        assert kept <= {machine.uid for machine in machines(again, cluster)}
        reasons = [event.body["reason"] for event in again.store.list("event", parent=cluster.uid)]
        assert reasons.count("ClusterPending") == reasons.count("ClusterHealthy") == 1
    finally:
        again.close()


def test_a_fault_of_a_value_is_an_event_and_a_condition(plane: Plane) -> None:
    cluster = new_cluster(plane, instanceType="x9.huge")
    plane.clock.advance(100)
    body = read(plane, cluster)
    unmet = {item["type"]: item for item in body["status"]["conditions"] if item["status"] != "True"}
    assert unmet["ControlPlaneNodeAdditionDone"]["reason"] == "InstanceTypeNotFound"
    event = plane.store.list("event", parent=cluster.uid)[-1].body
    assert (event["reason"], event["severity"]) == ("InstanceTypeNotFound", "Error") and "x9.huge" in event["message"]
    assert body["status"]["state"] == "Provisioning" and "_health" not in body


def test_no_secret_of_the_account_is_stored_with_the_cluster(plane: Plane) -> None:
    cluster = new_cluster(plane)
    account = plane.store.by_name("cloudaccount", "a-shop")
    assert account is not None
    account.body["spec"]["secretKey"] = "canary-7f"
    plane.store.save(account)
    engine.wake(plane, cluster)
    assert "canary-7f" not in str(read(plane, cluster))
    (memory,) = plane.store.list(MEMORY, parent=cluster.uid)
    assert memory.body["state"] == "Pending" and "canary-7f" not in str(memory.body)
    assert "canary-7f" not in repr(engine.desired_of(plane, cluster, config_of(plane, cluster)))


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ({}, (1, 0)),
        ({"type": "RollingUpdateScaleIn"}, (0, 1)),
        ({"type": "OverrideScaling", "maxSurge": "25%", "maxUnavailable": "0"}, (1, 0)),
        ({"type": "OverrideScaling", "maxSurge": "0", "maxUnavailable": "50%"}, (0, 2)),
        ({"type": "OverrideScaling", "maxSurge": "0", "maxUnavailable": "10%"}, (1, 0)),
    ],
)
def test_how_a_pool_is_replaced(strategy: dict[str, str], expected: tuple[int, int]) -> None:
    assert engine.replacement({"size": 4, "updateStrategy": strategy}) == expected


def test_the_plane_sets_the_speed(plane: Plane) -> None:
    cluster = Document(kind="cluster", body={"spec": {"cloudType": "aws"}})
    filling = engine.provisioner(plane, cluster, Document(kind="cloudconfig", body={}))
    assert isinstance(filling, Simulated) and filling.speed == plane.settings.speed
