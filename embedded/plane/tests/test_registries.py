# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from conftest import Api

from paletteops_plane.catalogue import INFRASTRUCTURE_LAYERS, catalogue
from paletteops_plane.templates import CLOUDS, OPTIONAL_LAYERS


def helm(name: str = "mine", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"endpoint": "https://charts.example.com", "auth": {"type": "noAuth"}, **spec},
    }


def public_repo(api: Api) -> str:
    found = api.ok("GET", "/v1/registries/metadata")["items"]
    uids = [item["uid"] for item in found if item["name"] == "Public Repo"]
    assert len(uids) == 1
    uid: str = uids[0]
    return uid


def test_every_cloud_has_several_versions_of_every_layer() -> None:
    for cloud in CLOUDS:
        for layer in set(INFRASTRUCTURE_LAYERS) - set(OPTIONAL_LAYERS.get(cloud, ())):
            names = {pack.name for pack in catalogue().packs if pack.layer == layer and pack.fits(cloud)}
            assert any(len(catalogue().versions(name)) > 1 for name in names), (cloud, layer)


def test_a_pack_is_found_as_the_vendors_provider_looks_for_it(project: Api) -> None:
    registry = public_repo(project)
    assert project.ok("GET", f"/v1/registries/pack/{registry}/sync/status")["isSyncSupported"] is True
    tags = project.ok("GET", f"/v1/packs/kubernetes/registries/{registry}")["tags"]
    newest = tags[0]
    filters = f"spec.name=kubernetesANDspec.version={newest['version']}ANDspec.cloudTypes_in_aws,all"
    found = project.ok("GET", "/v1/packs", params={"filters": filters})["items"]
    assert [item["metadata"]["uid"] for item in found] == [newest["packUid"]]
    assert found[0]["spec"]["registryUid"] == registry
    by_uid = project.ok("GET", "/v1/packs", params={"filters": f"metadata.uid={newest['packUid']}"})["items"]
    assert by_uid == found
    wanted = {
        "name": {"eq": "kubernetes"},
        "type": ["spectro", "helm", "manifest", "oci"],
        "layer": ["kernel", "os", "k8s", "cni", "csi", "addon"],
        "environment": ["all"],
        "registryUid": [registry],
    }
    latest = project.ok("POST", "/v1/packs/search", {"filter": wanted, "sort": None})["items"]
    assert [item["spec"]["registries"][0]["latestVersion"] for item in latest] == [newest["version"]]
    assert project.ok("GET", f"/v1/packs/{newest['packUid']}")["registryUid"] == registry


def test_search_by_cloud_layer_and_kind(project: Api) -> None:
    def names(**wanted: Any) -> set[str]:
        items = project.ok("POST", "/v1/packs/search", {"filter": wanted})["items"]
        return {item["spec"]["name"] for item in items}

    assert names(environment=["vsphere"], layer=["csi"]) == {"csi-vsphere-csi"}
    assert names(type=["helm"]) == {"argo-cd", "cert-manager"}
    assert "lb-metallb-helm" in names(addOnType=["load balancer"])
    ordered = project.ok("POST", "/v1/packs/search", {"sort": [{"field": "displayName", "order": "desc"}]})["items"]
    titles = [item["spec"]["displayName"] for item in ordered]
    assert titles == sorted(titles, reverse=True)


def test_what_is_not_in_the_catalogue_is_not_found(project: Api) -> None:
    registry = public_repo(project)
    project.refused(404, "ResourceNotFound", "GET", f"/v1/packs/nonsense/registries/{registry}")
    project.refused(404, "ResourceNotFound", "GET", f"/v1/packs/kubernetes/registries/{'0' * 24}")
    project.refused(404, "ResourceNotFound", "GET", f"/v1/packs/{'0' * 24}")
    project.refused(404, "ResourceNotFound", "GET", f"/v1/registries/helm/{registry}")


def test_a_helm_registry_is_added_changed_and_deleted(tenant: Api) -> None:
    body = helm(auth={"type": "basic", "username": "u", "password": "s3cret"})
    tenant.ok("POST", "/v1/registries/helm/validate", body["spec"])
    uid = tenant.ok("POST", "/v1/registries/helm", body)["uid"]
    path = f"/v1/registries/helm/{uid}"
    response = tenant.call("GET", path)
    assert response.json()["spec"]["auth"] == {"type": "basic", "username": "u"}
    assert "s3cret" not in response.text
    assert tenant.ok("GET", f"{path}/sync/status")["isSyncSupported"] is False
    del body["spec"]["auth"]["password"]
    body["spec"] |= {"endpoint": "https://other.example.com", "isPrivate": True}
    tenant.ok("PUT", path, body)
    assert tenant.ok("GET", path)["spec"]["isPrivate"] is True
    names = [item["name"] for item in tenant.ok("GET", "/v1/registries/metadata?scope=tenant")["items"]]
    assert names == ["mine"]
    tenant.refused(409, "ResourceAlreadyExists", "POST", "/v1/registries/helm", helm())
    tenant.ok("DELETE", path)
    tenant.refused(404, "ResourceNotFound", "GET", path)


@pytest.mark.parametrize(
    "spec", [{"endpoint": "charts"}, {"auth": {"type": "basic", "username": "u"}}, {"auth": {"type": "token"}}]
)
def test_a_registry_that_cannot_be_is_refused(tenant: Api, spec: dict[str, Any]) -> None:
    tenant.refused(422, "InvalidValue", "POST", "/v1/registries/helm", helm(**spec))
    tenant.refused(422, "InvalidValue", "POST", "/v1/registries/oci/basic/validate", helm(**spec)["spec"])


def test_the_catalogues_registries_stay_as_they_are(tenant: Api) -> None:
    uid = tenant.ok("GET", "/v1/registries/helm")["items"][0]["metadata"]["uid"]
    tenant.refused(403, "OperationForbidden", "DELETE", f"/v1/registries/helm/{uid}")
    tenant.refused(409, "ResourceAlreadyExists", "POST", "/v1/registries/helm", helm("Public Helm"))


def test_a_chart_of_a_tenants_registry_is_taken_as_it_is_named(tenant: Api) -> None:
    spec = {
        "endpoint": "https://oci.example.com",
        "auth": {"type": "noAuth"},
        "providerType": "helm",
        "baseContentPath": "c",
    }
    uid = tenant.ok("POST", "/v1/registries/oci/basic", {"metadata": {"name": "mine"}, "spec": spec})["uid"]
    assert tenant.ok("GET", f"/v1/registries/oci/{uid}/basic")["spec"]["baseContentPath"] == "c"
    pack = {"name": "own-chart", "type": "oci", "registryUid": uid, "tag": "0.3.0"}
    body: dict[str, Any] = {
        "metadata": {"name": "p"},
        "spec": {"template": {"type": "add-on", "cloudType": "all", "packs": [pack]}},
    }
    profile = tenant.ok("POST", "/v1/clusterprofiles", body, params={"publish": True})["uid"]
    taken = tenant.ok("GET", f"/v1/clusterprofiles/{profile}")["spec"]["published"]["packs"][0]
    assert (taken["version"], taken["layer"], taken["registryUid"]) == ("0.3.0", "addon", uid)
    tenant.refused(409, "ResourceInUse", "DELETE", f"/v1/registries/oci/{uid}/basic")
    del pack["tag"]
    body["metadata"]["name"] = "q"
    tenant.refused(422, "InvalidValue", "POST", "/v1/clusterprofiles", body)
    tenant.ok("DELETE", f"/v1/clusterprofiles/{profile}")
    tenant.ok("DELETE", f"/v1/registries/oci/{uid}/basic")
