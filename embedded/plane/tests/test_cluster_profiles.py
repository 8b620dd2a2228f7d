# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles of clusters over the API: attached, moved, given values; repaves that wait for approval."""

from __future__ import annotations

from typing import Any

import pytest
from clusters import CLUSTERS, World, addon, infra, pool, profile, world
from conftest import Api

from paletteops_plane.plane import Plane


@pytest.fixture
def aws(project: Api, plane: Plane) -> World:
    return world(project, plane)


def patch(world: World, uid: str, *profiles: dict[str, Any], **settings: Any) -> None:
    world.api.ok(
        "PATCH", f"{CLUSTERS}/{uid}/profiles?resolveNotification=true", {"profiles": list(profiles), **settings}
    )


def names(world: World, uid: str) -> list[tuple[str, str]]:
    templates = world.get(uid)["spec"]["clusterProfileTemplates"]
    return [(item["name"], item["profileVersion"]) for item in templates]


def packs(world: World, uid: str) -> dict[str, str]:
    """The packs of the cluster's status, and whether they are ready."""
    return {item["name"]: item["condition"]["status"] for item in world.get(uid)["status"]["packs"]}


def newer(world: World, kubernetes: str = "1.32.x") -> str:
    """A newer version of the infrastructure profile."""
    body = infra(kubernetes=kubernetes, version="1.1.0")
    return profile(world.api, body)


def repave(world: World, uid: str) -> str:
    state: str = world.get(uid)["status"]["repave"]["state"]
    return state


def kubernetes_versions(plane: Plane, world: World, uid: str) -> set[str]:
    config = world.config(uid)["metadata"]["uid"]
    return {machine.body["_kubernetes_version"] for machine in plane.store.list("machine", parent=config)}


def test_an_addon_is_attached_without_a_repave_and_removed_again(aws: World) -> None:
    uid = aws.running()
    machines = aws.machines(uid, "w")
    extras = profile(aws.api, addon())
    patch(aws, uid, {"uid": extras})
    assert names(aws, uid) == [("base", "1.0.0"), ("extras", "1.0.0")]
    assert packs(aws, uid)["settings"] == "False" and aws.state(uid)[1] != "Healthy" and repave(aws, uid) != "Pending"
    assert aws.get(uid)["status"]["spcApply"]["canBeApplied"] is True
    aws.settle()
    cluster = aws.get(uid)
    assert {condition["status"] for condition in cluster["status"]["conditions"]} == {"True"}
    ready = next(item for item in cluster["status"]["packs"] if item["profileUid"] == extras)
    assert (ready["condition"]["type"], ready["condition"]["status"]) == ("Ready", "True")
    assert aws.machines(uid, "w") == machines
    aws.api.refused(409, "ResourceInUse", "DELETE", f"/v1/clusterprofiles/{extras}")
    aws.api.ok("DELETE", f"{CLUSTERS}/{uid}/profiles", {"profileUids": [extras]})
    aws.settle()
    assert names(aws, uid) == [("base", "1.0.0")] and "settings" not in packs(aws, uid)
    aws.api.ok("DELETE", f"/v1/clusterprofiles/{extras}")


def test_another_kubernetes_waits_for_approval_and_then_replaces_every_machine(aws: World, plane: Plane) -> None:
    uid = aws.running()
    before = {machine["metadata"]["uid"] for name in ("cp", "w") for machine in aws.machines(uid, name)}
    old = kubernetes_versions(plane, aws, uid)
    patch(aws, uid, {"uid": newer(aws), "replaceWithProfile": aws.infra})
    assert repave(aws, uid) == "Pending" and names(aws, uid) == [("base", "1.1.0")]
    status = aws.api.ok("GET", f"{CLUSTERS}/{uid}/repave/status")
    reason = status["spec"]["reasons"][0]
    assert reason["code"] == "PackVersionChanged" and "kubernetes" in reason["message"]
    assert reason["pack"]["current"]["version"].startswith("1.31.")
    aws.settle()
    assert kubernetes_versions(plane, aws, uid) == old and aws.state(uid) == ("Running", "Healthy")
    aws.api.ok("PATCH", f"{CLUSTERS}/{uid}/repave/approve")
    assert repave(aws, uid) == "Approved" and aws.state(uid)[1] != "Healthy"
    plane.clock.advance(0.5)
    assert {machine["metadata"]["uid"] for machine in aws.machines(uid, "w")} <= before  # the control plane is first
    assert not {machine["metadata"]["uid"] for machine in aws.machines(uid, "cp")} <= before
    aws.settle()
    after = {machine["metadata"]["uid"] for name in ("cp", "w") for machine in aws.machines(uid, name)}
    assert not before & after and len(after) == 3 and aws.state(uid) == ("Running", "Healthy")
    assert {version[:5] for version in kubernetes_versions(plane, aws, uid)} == {"1.32."}
    aws.api.refused(409, "ResourceStateConflict", "PATCH", f"{CLUSTERS}/{uid}/repave/approve")


def test_a_pool_that_skips_upgrades_keeps_its_machines_until_it_no_longer_does(aws: World, plane: Plane) -> None:
    uid = aws.running()
    before = aws.machines(uid, "w")
    path = f"{aws.pools_path(uid)}/w"
    aws.api.ok("PUT", path, pool("aws", "w", 2, skipK8sUpgrade="enabled"))
    aws.settle()
    assert aws.machines(uid, "w") == before
    patch(aws, uid, {"uid": newer(aws), "replaceWithProfile": aws.infra})
    aws.api.ok("PATCH", f"{CLUSTERS}/{uid}/repave/approve")
    aws.settle()
    assert aws.machines(uid, "w") == before and aws.state(uid) == ("Running", "Healthy")
    assert {version[:5] for version in kubernetes_versions(plane, aws, uid)} == {"1.31.", "1.32."}
    aws.api.ok("PUT", path, pool("aws", "w", 3, skipK8sUpgrade="enabled"))
    aws.settle()
    added = {item["metadata"]["uid"] for item in aws.machines(uid, "w")} - {item["metadata"]["uid"] for item in before}
    machine = plane.store.get("machine", added.pop())
    assert machine is not None and machine.body["_kubernetes_version"].startswith("1.31.")
    aws.api.ok("PUT", path, pool("aws", "w", 3))
    aws.settle()
    assert {version[:5] for version in kubernetes_versions(plane, aws, uid)} == {"1.32."}


def test_while_a_repave_waits_other_changes_are_refused_and_its_taking_back_is_not(aws: World) -> None:
    uid = aws.running()
    later = newer(aws)
    patch(aws, uid, {"uid": later, "replaceWithProfile": aws.infra})
    error = aws.api.refused(409, "ResourceStateConflict", "PUT", f"{aws.pools_path(uid)}/w", pool("aws", "w", 5))
    assert "repave" in error["message"] and error["details"]["repave"]
    extras = {"profiles": [{"uid": profile(aws.api, addon())}]}
    aws.api.refused(409, "ResourceStateConflict", "PATCH", f"{CLUSTERS}/{uid}/profiles", extras)
    patch(aws, uid, {"uid": later})  # says it again
    aws.api.ok("PUT", f"{aws.pools_path(uid)}/w", pool("aws", "w", 2))  # changes nothing
    aws.api.ok("PATCH", f"{CLUSTERS}/{uid}/metadata", {"metadata": {"labels": {"a": "b"}}})
    assert repave(aws, uid) == "Pending"
    patch(aws, uid, {"uid": aws.infra, "replaceWithProfile": later})
    assert repave(aws, uid) == "Reverted" and names(aws, uid) == [("base", "1.0.0")]
    aws.api.ok("PUT", f"{aws.pools_path(uid)}/w", pool("aws", "w", 3))
    aws.api.ok("DELETE", f"/v1/clusterprofiles/{later}")


def test_a_change_before_the_cluster_runs_needs_no_approval(aws: World, plane: Plane) -> None:
    uid = aws.create()
    plane.clock.advance(2)
    patch(aws, uid, {"uid": newer(aws), "replaceWithProfile": aws.infra})
    assert repave(aws, uid) != "Pending"
    aws.settle()
    assert {version[:5] for version in kubernetes_versions(plane, aws, uid)} == {"1.32."}


def test_whether_profiles_would_ask_for_a_repave(aws: World) -> None:
    uid = aws.running()
    path = f"{CLUSTERS}/{uid}/validate/repave"
    answer = aws.api.ok("POST", path, {"profiles": [{"uid": newer(aws), "replaceWithProfile": aws.infra}]})
    assert answer["isRepaveRequired"] and answer["reasons"][0]["code"] == "PackVersionChanged"
    answer = aws.api.ok("POST", path, {"profiles": [{"uid": profile(aws.api, addon())}]})
    assert answer == {"isRepaveRequired": False, "reasons": []}
    assert names(aws, uid) == [("base", "1.0.0")] and repave(aws, uid) != "Pending"


def test_values_of_a_layer_that_machines_are_made_of_ask_for_a_repave(aws: World) -> None:
    uid = aws.running()
    patch(aws, uid, {"uid": aws.infra, "packValues": [{"name": "cni-calico", "values": "mtu: 1400\n"}]})
    assert repave(aws, uid) != "Pending"
    aws.settle()
    patch(aws, uid, {"uid": aws.infra, "packValues": [{"name": "kubernetes", "values": "pack: {x: 1}\n"}]})
    assert repave(aws, uid) == "Pending"
    found = {pack["name"]: pack["values"] for pack in aws.get(uid)["spec"]["clusterProfileTemplates"][0]["packs"]}
    assert (found["cni-calico"], found["kubernetes"]) == ("mtu: 1400\n", "pack: {x: 1}\n")


def test_variables_are_changed_for_the_cluster_alone(aws: World) -> None:
    definitions = [{"name": "tier", "defaultValue": "bronze"}, {"name": "token", "isSensitive": True}]
    definitions += [{"name": "zone", "immutable": True, "defaultValue": "a"}]
    extras = profile(aws.api, addon(content="v: {{.spectro.var.tier}}", variables=definitions))
    given = [{"name": "token", "value": "hidden-one"}, {"name": "zone", "value": "b"}]
    uid = aws.running(profiles=[{"uid": aws.infra}, {"uid": extras, "variables": given}])

    def change(status: int, *values: dict[str, str]) -> None:
        body = [{"profileUid": extras, "variables": list(values)}]
        response = aws.api.call("PATCH", f"{CLUSTERS}/{uid}/variables", body)
        assert response.status_code == status, response.text

    change(204, {"name": "tier", "value": "gold"}, {"name": "token", "value": "********"})
    assert packs(aws, uid)["settings"] == "False"
    change(422, {"name": "nope", "value": "x"})
    change(422, {"name": "zone", "value": "c"})
    change(204, {"name": "zone", "value": "b"})
    variables = aws.api.ok("GET", f"{CLUSTERS}/{uid}/variables")
    values = {item["name"]: item["value"] for entry in variables for item in entry["variables"]}
    assert values == {"tier": "gold", "token": "********", "zone": "b"}
    aws.settle()
    assert aws.state(uid) == ("Running", "Healthy")


def test_manifests_of_a_cluster_are_its_own(aws: World) -> None:
    extras = profile(aws.api, addon(content="kind: A"))
    uid = aws.running(profiles=[{"uid": aws.infra}, {"uid": extras}])
    own = {"name": "settings", "manifests": [{"name": "first", "content": "kind: B"}]}
    patch(aws, uid, {"uid": extras, "packValues": [own]})
    items = aws.api.ok("GET", f"{CLUSTERS}/{uid}/profiles/{extras}/packs/settings/manifests")["items"]
    assert [item["spec"]["published"]["content"] for item in items] == ["kind: B"]
    one = aws.api.ok("GET", f"{CLUSTERS}/{uid}/pack/manifests/{items[0]['metadata']['uid']}")
    assert one["spec"]["published"]["content"] == "kind: B"
    listed = aws.api.ok("GET", f"{CLUSTERS}/{uid}/profiles/packs/manifests")["profiles"][1]["spec"]["packs"][0]
    assert [item["content"] for item in listed["spec"]["manifests"]] == ["kind: B"]
    of_profile = aws.api.ok("GET", f"/v1/clusterprofiles/{extras}/packs/settings/manifests")["items"][0]
    assert of_profile["spec"]["published"]["content"] == "kind: A"
    assert len(aws.api.ok("GET", f"{CLUSTERS}/{uid}/profiles")["profiles"]) == 2


def test_a_profile_published_anew_is_an_update_until_it_is_attached_again(aws: World) -> None:
    extras = profile(aws.api, addon(content="kind: A"))
    uid = aws.running(profiles=[{"uid": aws.infra}, {"uid": extras}])
    assert aws.api.ok("GET", f"{CLUSTERS}/{uid}/profileUpdates") == {"profiles": []}
    body = addon(content="kind: B")
    aws.api.ok("PUT", f"/v1/clusterprofiles/{extras}", body)
    aws.api.ok("PATCH", f"/v1/clusterprofiles/{extras}/publish")
    assert [item["uid"] for item in aws.api.ok("GET", f"{CLUSTERS}/{uid}/profileUpdates")["profiles"]] == [extras]
    assert packs(aws, uid)["settings"] == "True"
    patch(aws, uid, {"uid": extras})
    assert packs(aws, uid)["settings"] == "False"
    assert aws.api.ok("GET", f"{CLUSTERS}/{uid}/profileUpdates") == {"profiles": []}


def test_what_is_to_be_applied_later_waits(aws: World) -> None:
    uid = aws.running()
    patch(aws, uid, {"uid": profile(aws.api, addon())}, spcApplySettings={"actionType": "DownloadAndInstallLater"})
    aws.settle()
    assert "settings" not in packs(aws, uid)
    assert aws.api.ok("GET", f"{CLUSTERS}/{uid}/status/spcApply")["actionType"] == "DownloadAndInstallLater"
    assert aws.api.call("POST", f"{CLUSTERS}/{uid}/status/spcApply").status_code == 202
    aws.settle()
    assert packs(aws, uid)["settings"] == "True"


def test_the_whole_set_of_profiles_can_be_put(aws: World) -> None:
    first, second = profile(aws.api, addon("first")), profile(aws.api, addon("second"))
    uid = aws.running(profiles=[{"uid": aws.infra}, {"uid": first}])
    aws.api.ok("PUT", f"{CLUSTERS}/{uid}/profiles", {"profiles": [{"uid": aws.infra}, {"uid": second}]})
    assert [name for name, _ in names(aws, uid)] == ["base", "second"]
    aws.api.refused(422, "InvalidValue", "PUT", f"{CLUSTERS}/{uid}/profiles", {"profiles": [{"uid": second}]})


def test_what_profiles_cannot_be_is_refused(aws: World) -> None:
    uid = aws.running()
    path = f"{CLUSTERS}/{uid}/profiles"
    aws.api.refused(422, "InvalidValue", "DELETE", path, {"profileUids": [aws.infra]})
    aws.api.refused(422, "InvalidValue", "PATCH", path, {"profiles": [{"uid": newer(aws)}]})
    unknown = {"uid": aws.infra, "packValues": [{"name": "nope", "values": "a: 1"}]}
    error = aws.api.refused(422, "InvalidValue", "PATCH", path, {"profiles": [unknown]})
    assert "cni-calico" in error["message"]
    aws.api.refused(422, "InvalidValue", "PATCH", path, {"profiles": [{"uid": aws.infra, "replaceWithProfile": "0"}]})
    assert names(aws, uid) == [("base", "1.0.0")]


def test_validation_tells_pool_by_pool_and_profile_by_profile_and_makes_nothing(aws: World, plane: Plane) -> None:
    good = aws.api.ok("POST", f"{CLUSTERS}/aws/validate", aws.body())
    assert [item["errors"] for item in good["machinePools"]["results"]] == [[], []]
    assert good["profiles"] == [{"uid": aws.infra, "packs": {"results": []}}]
    wrong = aws.body(machinepoolconfig=[pool("aws", "cp", 2, control_plane=True)], profiles=[{"uid": "0" * 24}])
    bad = aws.api.ok("POST", f"{CLUSTERS}/aws/validate", wrong)
    assert bad["machinePools"]["results"][0]["name"] == "cp" and bad["machinePools"]["results"][0]["errors"]
    assert bad["profiles"][0]["packs"]["results"][0]["errors"]
    assert not plane.store.list("cluster")
    uid = aws.create()
    answer = aws.api.ok("POST", f"{CLUSTERS}/{uid}/validate/packs", {"profiles": [{"uid": profile(aws.api, addon())}]})
    assert answer["profiles"][0]["packs"]["results"] == []
