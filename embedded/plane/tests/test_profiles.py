# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from conftest import Api

from paletteops_plane.plane import Plane
from paletteops_plane.store import Document

PROFILES = "/v1/clusterprofiles"
LAYERS = {"aws": ("ubuntu-aws", "kubernetes", "cni-calico", "csi-aws-ebs")}
LAYERS["vsphere"] = ("ubuntu-vsphere", "kubernetes", "cni-calico", "csi-vsphere-csi")


def infra(name: str = "base", cloud: str = "aws", **spec: Any) -> dict[str, Any]:
    packs = [{"name": pack} for pack in LAYERS[cloud]]
    return {
        "metadata": {"name": name},
        "spec": {"template": {"type": "cluster", "cloudType": cloud, "packs": packs}, **spec},
    }


def addon(content: str = "kind: Namespace", name: str = "extras", **spec: Any) -> dict[str, Any]:
    manifests = [{"name": "first", "content": content}]
    pack = {"name": "settings", "type": "manifest", "uid": "spectro-manifest-pack", "manifests": manifests}
    template = {"type": "add-on", "cloudType": "all", "packs": [pack]}
    return {"metadata": {"name": name}, "spec": {"template": template, **spec}}


def create(api: Api, body: dict[str, Any], publish: bool = True) -> str:
    uid: str = api.ok("POST", PROFILES, body, params={"publish": publish})["uid"]
    return uid


def test_create_resolves_packs_and_publishes_later(project: Api) -> None:
    uid = create(project, infra(), publish=False)
    profile = project.ok("GET", f"{PROFILES}/{uid}")
    assert "published" not in profile["spec"]
    assert profile["status"]["isPublished"] is False
    project.ok("PATCH", f"{PROFILES}/{uid}/publish")
    profile = project.ok("GET", f"{PROFILES}/{uid}")
    published = profile["spec"]["published"]
    assert "draft" not in profile["spec"]
    assert (published["profileVersion"], published["cloudType"], published["type"]) == ("1.0.0", "aws", "cluster")
    assert [pack["layer"] for pack in published["packs"]] == ["os", "k8s", "cni", "csi"]
    tag = project.ok("GET", f"/v1/packs/{published['packs'][1]['packUid']}")
    assert (tag["name"], tag["tags"][0]["version"]) == ("kubernetes", published["packs"][1]["version"])


def test_values_and_manifests_are_kept_to_the_letter(project: Api) -> None:
    body = addon("a:   1 # kept\n\n")
    body["spec"]["template"]["packs"][0]["values"] = "x: {a: 1}   # kept\n"
    uid = create(project, body)
    assert project.ok("GET", f"{PROFILES}/{uid}")["spec"]["published"]["packs"][0]["values"] == "x: {a: 1}   # kept\n"
    manifests = project.ok("GET", f"{PROFILES}/{uid}/packs/settings/manifests")["items"]
    assert manifests[0]["spec"]["published"]["content"] == "a:   1 # kept\n\n"


def test_a_moving_tag_takes_the_newest_that_satisfies_it(project: Api) -> None:
    body = infra()
    body["spec"]["template"]["packs"][1]["tag"] = "1.31.x"
    pack = project.ok("GET", f"{PROFILES}/{create(project, body)}")["spec"]["published"]["packs"][1]
    assert (pack["tag"], pack["version"]) == ("1.31.x", "1.31.13")


@pytest.mark.parametrize(
    ("change", "rule", "named"),
    [
        (lambda t: t["packs"].pop(2), "PackLayerMissing", "cni"),
        (lambda t: t["packs"].append({"name": "cni-cilium-oss"}), "PackLayerDuplicate", "cni"),
        (lambda t: t.update(cloudType="vsphere"), "PackCloudMismatch", "ubuntu-aws"),
        (lambda t: t.update(cloudType="all"), "CloudTypeUnknown", "all"),
        (lambda t: t.update(cloudType="moon"), "CloudTypeUnknown", "moon"),
        (lambda t: t.update(type="add-on"), "PackLayerNotAllowed", "os"),
        (lambda t: t.update(type="infra", packs=[*t["packs"], {"name": "nginx"}]), "PackLayerNotAllowed", "nginx"),
        (
            lambda t: t["packs"].extend([{"name": "nginx"}, {"name": "nginx", "values": "a: 1"}]),
            "PackNameDuplicate",
            "nginx",
        ),
    ],
)
def test_a_template_that_cannot_be_names_the_rule(project: Api, change: Any, rule: str, named: str) -> None:
    body = infra()
    change(body["spec"]["template"])
    error = project.refused(422, "InvalidValue", "POST", PROFILES, body)
    assert error["details"]["rule"] == rule
    assert named in error["message"]
    validated = project.ok("POST", f"{PROFILES}/validate/packs", body["spec"]["template"])
    codes = [problem["code"] for result in validated["packs"]["results"] for problem in result["errors"]]
    assert rule in codes


def test_a_pack_may_be_there_twice_under_an_alias(project: Api) -> None:
    body = addon()
    body["spec"]["template"]["packs"] += [{"name": "nginx"}, {"name": "inner--nginx"}]
    packs = project.ok("GET", f"{PROFILES}/{create(project, body)}")["spec"]["published"]["packs"]
    assert [pack["name"] for pack in packs] == ["settings", "nginx", "inner--nginx"]


@pytest.mark.parametrize(
    ("pack", "near"),
    [
        ({"name": "cni-callico"}, "cni-calico"),
        ({"name": "kubernetes", "tag": "1.31.99"}, "1.31.13"),
        ({"name": "kubernetes", "uid": "0" * 24}, ""),
        ({"name": "nginx", "registryUid": "0" * 24}, ""),
    ],
)
def test_a_pack_that_does_not_exist_names_what_is_near(project: Api, pack: dict[str, Any], near: str) -> None:
    body = addon()
    body["spec"]["template"]["packs"].append(pack)
    error = project.refused(422, "InvalidValue", "POST", PROFILES, body)
    assert near in error["message"]
    assert error["details"]["field"].startswith("body.spec.template.packs[1]")


def test_name_and_version_are_unique_in_their_scope(project: Api, tenant: Api) -> None:
    uid = create(project, infra())
    error = project.refused(409, "ResourceAlreadyExists", "POST", PROFILES, infra())
    assert error["details"]["uid"] == uid
    create(project, infra(version="1.1.0"))
    create(tenant, infra())
    project.refused(409, "ResourceAlreadyExists", "GET", f"{PROFILES}/validate/name", params={"name": "base"})
    project.ok("GET", f"{PROFILES}/validate/name", params={"name": "base", "version": "2.0.0"})
    names = project.ok("GET", "/v1/dashboard/clusterprofiles/metadata")["items"]
    assert [item["spec"]["version"] for item in names] == ["1.0.0", "1.1.0", "1.0.0"]


def test_a_clone_is_a_new_version_with_everything_in_it(project: Api) -> None:
    defined = [{"name": "tier", "defaultValue": "gold", "isSensitive": True}]
    body = addon("t: '{{.spectro.var.tier}}'", variables=defined)
    body["metadata"]["labels"] = {"team": "a"}
    uid = create(project, body)
    copied = project.ok("POST", f"{PROFILES}/{uid}/clone", {"metadata": {"name": "extras", "version": "1.1.0"}})["uid"]
    profile = project.ok("GET", f"{PROFILES}/{copied}")
    assert profile["metadata"]["labels"] == {"team": "a"}
    assert [version["version"] for version in profile["spec"]["versions"]] == ["1.0.0", "1.1.0"]
    source = project.ok("GET", f"{PROFILES}/{uid}")["spec"]["published"]["packs"][0]["manifests"][0]["uid"]
    clone = profile["spec"]["published"]["packs"][0]["manifests"][0]["uid"]
    assert source != clone
    variables = project.ok("GET", f"{PROFILES}/{copied}/variables")["variables"]
    assert (variables[0]["name"], variables[0]["defaultValue"]) == ("tier", "********")
    same = {"metadata": {"name": "extras", "version": "1.1.0"}}
    project.refused(409, "ResourceAlreadyExists", "POST", f"{PROFILES}/{uid}/clone", same)
    project.refused(409, "ResourceAlreadyExists", "POST", f"{PROFILES}/{uid}/clone/validate", same["metadata"])


def test_an_update_goes_to_a_draft_until_it_is_published(project: Api) -> None:
    uid = create(project, addon())
    before = project.ok("GET", f"{PROFILES}/{uid}")["spec"]["published"]
    manifest = before["packs"][0]["manifests"][0]
    pack: dict[str, Any] = addon("kind: changed")["spec"]["template"]["packs"][0]
    pack["manifests"] = [{**pack["manifests"][0], "uid": manifest["uid"]}, {"name": "second", "content": "kind: new"}]
    body = {
        "metadata": {"name": "extras"},
        "spec": {"version": "1.0.0", "template": {"type": "add-on", "packs": [pack]}},
    }
    project.ok("PUT", f"{PROFILES}/{uid}", body)
    assert project.ok("GET", f"{PROFILES}/{uid}")["spec"]["published"] == before
    contents = project.ok("GET", f"{PROFILES}/{uid}/packs/settings/manifests")["items"][0]["spec"]
    assert (contents["published"]["content"], contents["draft"]["content"]) == ("kind: Namespace", "kind: changed")
    project.ok("PATCH", f"{PROFILES}/{uid}/publish")
    after = project.ok("GET", f"{PROFILES}/{uid}")["spec"]["published"]
    assert after["version"] == before["version"] + 1
    assert [item["name"] for item in after["packs"][0]["manifests"]] == ["first", "second"]
    assert after["packs"][0]["manifests"][0]["uid"] == manifest["uid"]


def test_metadata_replaces_labels_keeps_annotations_and_renames(project: Api) -> None:
    body = addon()
    body["metadata"] |= {"labels": {"a": "1"}, "annotations": {"note": "x"}}
    uid = create(project, body)
    project.ok("PUT", f"{PROFILES}/{uid}", {"metadata": {"name": "extras"}})
    assert project.ok("GET", f"{PROFILES}/{uid}")["metadata"]["labels"] == {"a": "1"}
    change: dict[str, Any] = {
        "metadata": {"name": "renamed", "annotations": {"description": "d"}},
        "spec": {"version": "2.0.0"},
    }
    project.ok("PATCH", f"{PROFILES}/{uid}/metadata", change)
    profile = project.ok("GET", f"{PROFILES}/{uid}")
    assert "labels" not in profile["metadata"]
    assert profile["metadata"]["annotations"] == {"note": "x", "description": "d", "scope": "project"}
    assert (profile["metadata"]["name"], profile["spec"]["version"]) == ("renamed", "2.0.0")
    change["spec"]["version"] = "two"
    project.refused(422, "InvalidValue", "PATCH", f"{PROFILES}/{uid}/metadata", change)


def test_undefined_variables_are_refused(project: Api) -> None:
    body = addon("x: '{{.spectro.var.tier}} {{ .spectro.var.zone }}'")
    error = project.refused(422, "PackVariablesUndefined", "POST", PROFILES, body)
    assert error["details"]["variables"] == ["tier", "zone"]
    body["spec"]["variables"] = [{"name": "tier"}, {"name": "zone"}]
    uid = create(project, body)
    path = f"{PROFILES}/{uid}/variables"
    project.refused(409, "ResourceInUse", "DELETE", path, {"variables": ["tier"]})
    project.ok("PUT", path, {"variables": [{"name": "tier"}]})
    project.refused(422, "PackVariablesUndefined", "PATCH", f"{PROFILES}/{uid}/publish")


def test_variables_are_replaced_added_and_deleted(project: Api) -> None:
    uid = create(project, addon(variables=[{"name": "a", "defaultValue": "1", "format": "number"}]))
    path = f"{PROFILES}/{uid}/variables"
    project.ok(
        "PATCH",
        path,
        {"variables": [{"name": "a", "defaultValue": "2"}, {"name": "b", "isSensitive": True, "defaultValue": "s3"}]},
    )
    found = {item["name"]: item for item in project.ok("GET", path)["variables"]}
    assert (found["a"]["defaultValue"], found["a"]["format"]) == ("2", "number")
    assert found["b"]["defaultValue"] == "********"
    project.ok("PUT", path, {"variables": [found["b"]]})
    assert [item["name"] for item in project.ok("GET", path)["variables"]] == ["b"]
    project.ok("DELETE", path, {"variables": ["b"]})
    assert project.ok("GET", path) == {"variables": []}
    project.refused(422, "InvalidValue", "DELETE", path, {"variables": ["b"]})


def test_a_mask_stands_for_the_stored_value_and_never_uncovers_it(project: Api, plane: Plane) -> None:
    uid = create(project, addon(variables=[{"name": "b", "isSensitive": True, "defaultValue": "s3"}]))
    path = f"{PROFILES}/{uid}/variables"
    project.ok("PUT", path, project.ok("GET", path))
    stored = plane.store.get("clusterprofile", uid)
    assert stored is not None
    assert stored.body["_variables"][0]["defaultValue"] == "s3"
    for change in ({"isSensitive": False}, {"isSensitive": False, "defaultValue": "********"}):
        project.ok("PATCH", path, {"variables": [{"name": "b", **change}]})
        assert project.ok("GET", path)["variables"][0]["defaultValue"] == ""


@pytest.mark.parametrize(
    "variable",
    [
        {"name": "9x"},
        {"name": "x", "regex": "["},
        {"name": "x", "inputType": "dropdown"},
        {"name": "x", "inputType": "dropdown", "options": [{"value": "a"}], "defaultValue": "b"},
        {"name": "x", "hidden": True, "required": True},
        {"name": "x", "regex": "^a$", "defaultValue": "b"},
        {"name": "x", "format": "number", "defaultValue": "b"},
        {"name": "x", "format": "boolean", "defaultValue": "yes"},
        {"name": "x", "format": "ipv4", "defaultValue": "1.2.3"},
        {"name": "x", "format": "ipv4cidr", "defaultValue": "10.0.0.1"},
        {"name": "x", "format": "ipv6", "defaultValue": "10.0.0.1"},
        {"name": "x", "format": "version", "defaultValue": "new"},
        {"name": "x", "format": "base64", "defaultValue": "%"},
    ],
)
def test_a_definition_that_cannot_be_is_refused(project: Api, variable: dict[str, Any]) -> None:
    error = project.refused(422, "InvalidValue", "POST", PROFILES, addon(variables=[variable]))
    assert error["details"]["field"].startswith("body.spec.variables[0].")


def test_packs_and_manifests_one_by_one(project: Api) -> None:
    uid = create(project, addon())
    base = f"{PROFILES}/{uid}/packs"
    project.ok("POST", base, {"pack": {"name": "nginx", "values": "a: 1"}})
    project.refused(422, "InvalidValue", "POST", base, {"pack": {"name": "nginx"}})
    packs = project.ok("GET", base)["items"]
    assert [pack["spec"]["name"] for pack in packs] == ["settings", "nginx"]
    nginx = packs[1]["metadata"]["uid"]
    project.ok("PUT", f"{base}/nginx", {"pack": {"name": "nginx", "uid": nginx, "values": "a: 2"}})
    assert project.ok("GET", f"{base}/nginx")["spec"]["pack"]["values"] == "a: 2"
    config = project.ok("GET", f"{base}/nginx/config", params={"packUid": nginx})
    assert config["items"][0]["spec"]["values"] == "a: 2"
    project.ok("DELETE", f"{base}/nginx")
    project.refused(404, "ResourceNotFound", "GET", f"{base}/nginx")

    manifests = f"{base}/settings/manifests"
    added = project.ok("POST", manifests, {"name": "second", "content": "kind: a"})["uid"]
    project.refused(409, "ResourceAlreadyExists", "POST", manifests, {"name": "second", "content": "kind: a"})
    project.ok("PUT", f"{manifests}/{added}", {"name": "second", "content": "kind: b"})
    project.refused(409, "ResourceAlreadyExists", "PUT", f"{manifests}/{added}", {"name": "first", "content": ""})
    assert project.ok("GET", f"{manifests}/{added}")["spec"]["draft"]["content"] == "kind: b"
    all_of_them = project.ok("GET", f"{base}/manifests")["spec"]["packs"][0]["spec"]["manifests"]
    assert [manifest["name"] for manifest in all_of_them] == ["first", "second"]
    project.ok("DELETE", f"{manifests}/{added}")
    project.refused(404, "ResourceNotFound", "GET", f"{manifests}/{added}")
    # Nothing of this is published yet.
    assert len(project.ok("GET", f"{PROFILES}/{uid}")["spec"]["published"]["packs"]) == 1


def test_a_layer_that_was_taken_out_is_missed_when_it_is_published(project: Api) -> None:
    uid = create(project, infra())
    project.ok("DELETE", f"{PROFILES}/{uid}/packs/cni-calico")
    project.refused(422, "InvalidValue", "PATCH", f"{PROFILES}/{uid}/publish")
    project.ok("POST", f"{PROFILES}/{uid}/packs", {"pack": {"name": "cni-cilium-oss"}})
    project.ok("PATCH", f"{PROFILES}/{uid}/publish")


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_export_holds_everything_but_secrets(project: Api, form: str, load: Any) -> None:
    defined = [{"name": "a", "defaultValue": "1"}, {"name": "b", "defaultValue": "s3cret", "isSensitive": True}]
    uid = create(project, addon(variables=defined))
    response = project.call("GET", f"{PROFILES}/{uid}/export", params={"format": form})
    assert response.headers["content-type"] == "application/octet-stream"
    assert "s3cret" not in response.text
    exported = load(response.text)
    assert exported["metadata"]["name"] == "extras"
    assert exported["spec"]["template"]["packs"][0]["manifests"] == [{"name": "first", "content": "kind: Namespace"}]


def test_a_profile_in_use_is_not_deleted(project: Api, plane: Plane) -> None:
    used, free = create(project, infra()), create(project, addon())
    cluster = Document(kind="cluster", name="shop", project=project.project, body={})
    plane.store.add(cluster)
    plane.store.set_references(cluster.uid, [used])
    assert "shop" in project.refused(409, "ResourceInUse", "DELETE", f"{PROFILES}/{used}")["message"]
    assert project.ok("GET", f"{PROFILES}/{used}")["status"]["inUseClusterUids"] == [cluster.uid]
    result = project.ok("DELETE", f"{PROFILES}/bulk", {"uids": [used, free, "0" * 24]})
    assert (result["deletedCount"], result["isSucceeded"]) == (1, False)
    assert {failure["uid"] for failure in result["failures"]} == {used, "0" * 24}
    project.refused(404, "ResourceNotFound", "GET", f"{PROFILES}/{free}")


def test_search_filters_sorts_and_pages(project: Api) -> None:
    for number in range(52):
        body = addon(name=f"p{number:02}")
        body["metadata"]["labels"] = {"parity": "odd" if number % 2 else "even"}
        create(project, body)
    create(project, infra("base"))

    def found(**wanted: Any) -> list[str]:
        items = project.ok("POST", "/v1/dashboard/clusterprofiles", {"filter": wanted})["items"]
        return [item["metadata"]["name"] for item in items]

    first = project.ok("POST", "/v1/dashboard/clusterprofiles", {"sort": [{"field": "profileName", "order": "desc"}]})
    assert first["items"][0]["metadata"]["name"] == "p51"
    assert (len(first["items"]), first["listmeta"]["count"]) == (50, 53)
    assert found(profileType=["cluster"]) == ["base"]
    assert found(environment=["aws"]) == ["base"]
    assert len(found(tags={"eq": ["parity:odd"]})) == 26
    assert found(profileName={"beginsWith": "P0"}) == [f"p0{number}" for number in range(10)]
    assert found(version={"gt": "1.0.0"}) == []
    summary = project.ok("GET", f"/v1/dashboard/clusterprofiles/{first['items'][0]['metadata']['uid']}")
    assert summary == first["items"][0]


def test_the_tenants_profiles_are_read_in_a_project_but_not_changed(project: Api, tenant: Api) -> None:
    uid = create(tenant, addon())
    assert project.ok("GET", f"{PROFILES}/{uid}")["metadata"]["annotations"]["scope"] == "tenant"
    project.refused(403, "OperationForbidden", "PATCH", f"{PROFILES}/{uid}/publish")
    copied = project.ok("POST", f"{PROFILES}/{uid}/clone", {"metadata": {"name": "mine"}})["uid"]
    assert project.ok("GET", f"{PROFILES}/{copied}")["metadata"]["annotations"]["scope"] == "project"
