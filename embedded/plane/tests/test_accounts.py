# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from conftest import Api

from paletteops_plane.plane import Plane
from paletteops_plane.store import Document

AWS = "/v1/cloudaccounts/aws"
VSPHERE = "/v1/cloudaccounts/vsphere"


def aws(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"accessKey": "AKIA1", "secretKey": "s3cret", **spec}}


def vsphere(gateway: str, name: str = "v") -> dict[str, Any]:
    annotations = {"overlordUid": gateway} if gateway else {}
    spec = {"vcenterServer": "vc.example.invalid", "username": "u", "password": "p4ss", "insecure": True}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": spec}


@pytest.fixture
def gateway(tenant: Api) -> str:
    uid: str = tenant.ok("GET", "/v1/overlords")["items"][0]["metadata"]["uid"]
    return uid


def test_an_aws_account_comes_back_without_its_secret(project: Api) -> None:
    uid = project.ok("POST", AWS, aws())["uid"]
    response = project.call("GET", f"{AWS}/{uid}")
    account = response.json()
    assert account["spec"] == {"accessKey": "AKIA1", "credentialType": "secret", "partition": "aws"}
    assert account["metadata"]["annotations"] == {"scope": "project"}
    assert "s3cret" not in response.text


def test_a_vsphere_account_has_a_blank_password_since_the_contract_requires_one(project: Api, gateway: str) -> None:
    uid = project.ok("POST", VSPHERE, vsphere(gateway))["uid"]
    response = project.call("GET", f"{VSPHERE}/{uid}")
    assert response.json()["spec"]["password"] == ""
    assert "p4ss" not in response.text
    assert "p4ss" not in project.call("GET", "/v1/cloudaccounts/summary").text


def test_an_update_without_the_secret_keeps_it(project: Api, plane: Plane, gateway: str) -> None:
    uid = project.ok("POST", AWS, aws())["uid"]
    changed = aws()
    del changed["spec"]["secretKey"]
    changed["spec"]["accessKey"] = "AKIA2"
    project.ok("PUT", f"{AWS}/{uid}", changed)
    stored = plane.store.get("cloudaccount", uid)
    assert stored is not None
    assert (stored.body["spec"]["accessKey"], stored.body["spec"]["secretKey"]) == ("AKIA2", "s3cret")


def test_an_update_replaces_labels_and_merges_annotations(project: Api) -> None:
    body = aws()
    body["metadata"] |= {"labels": {"a": "1", "b": "2"}, "annotations": {"note": "x"}}
    uid = project.ok("POST", AWS, body)["uid"]
    body["metadata"] = {"name": "a", "labels": {"b": "2"}, "annotations": {"description": "d"}}
    project.ok("PUT", f"{AWS}/{uid}", body)
    metadata = project.ok("GET", f"{AWS}/{uid}")["metadata"]
    assert metadata["labels"] == {"b": "2"}
    assert metadata["annotations"] == {"note": "x", "description": "d", "scope": "project"}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"secretKey": ""}, "body.spec.secretKey"),
        ({"credentialType": "sts"}, "body.spec.sts.arn"),
        ({"credentialType": "sts", "sts": {"arn": "nonsense"}}, "body.spec.sts.arn"),
        ({"credentialType": "pod-identity"}, "body.spec.podIdentity.roleArn"),
        ({"policyARNs": ["x"]}, "body.spec.policyARNs[0]"),
    ],
)
def test_what_cannot_be_names_the_field(project: Api, spec: dict[str, Any], path: str) -> None:
    error = project.refused(422, "InvalidValue", "POST", AWS, aws(**spec))
    assert error["details"]["field"] == path


def test_a_wrong_enumeration_is_refused_with_field_and_value(project: Api) -> None:
    error = project.refused(400, "InvalidRequest", "POST", AWS, aws(credentialType="none"))
    assert "body.spec.credentialType" in error["message"] and "'none'" in error["message"]


def test_a_secret_of_a_wrong_type_is_not_repeated(project: Api) -> None:
    body = aws()
    body["spec"]["secretKey"] = 12345678
    assert "12345678" not in project.call("POST", AWS, body).text


def test_vsphere_needs_a_gateway_that_exists(project: Api) -> None:
    project.refused(422, "InvalidValue", "POST", VSPHERE, vsphere(""))
    project.refused(422, "InvalidValue", "POST", VSPHERE, vsphere("0" * 24))


def test_validate_goes_through_the_gateway_for_vsphere(project: Api, gateway: str) -> None:
    spec = vsphere(gateway)["spec"]
    project.ok("POST", f"/v1/overlords/vsphere/{gateway}/account/validate", {"account": spec})
    project.ok("POST", "/v1/clouds/vsphere/account/validate", spec)
    bad = {**spec, "username": "INVALID"}
    path = f"/v1/overlords/vsphere/{gateway}/account/validate"
    project.refused(400, "CredentialsInvalid", "POST", path, {"account": bad})
    project.refused(
        404, "ResourceNotFound", "POST", f"/v1/overlords/vsphere/{'0' * 24}/account/validate", {"account": spec}
    )


def test_names_are_unique_per_scope_only(project: Api, tenant: Api) -> None:
    project.ok("POST", AWS, aws("same"))
    project.refused(409, "ResourceAlreadyExists", "POST", AWS, aws("same"))
    tenant.ok("POST", AWS, aws("same"))
    scopes = [item["metadata"]["annotations"]["scope"] for item in project.ok("GET", AWS)["items"]]
    assert sorted(scopes) == ["project", "tenant"]


def test_another_project_sees_nothing(project: Api, tenant: Api) -> None:
    uid = project.ok("POST", AWS, aws())["uid"]
    other = Api(tenant.client, tenant.key, tenant.ok("POST", "/v1/projects", {"metadata": {"name": "other"}})["uid"])
    for method in ("GET", "DELETE"):
        other.refused(404, "ResourceNotFound", method, f"{AWS}/{uid}")
    other.refused(404, "ResourceNotFound", "PUT", f"{AWS}/{uid}", aws())
    tenant.refused(404, "ResourceNotFound", "GET", f"{AWS}/{uid}")


def test_a_project_reads_but_does_not_change_the_tenants(project: Api, tenant: Api) -> None:
    uid = tenant.ok("POST", AWS, aws())["uid"]
    project.ok("GET", f"{AWS}/{uid}")
    project.refused(403, "OperationForbidden", "DELETE", f"{AWS}/{uid}")
    tenant.ok("DELETE", f"{AWS}/{uid}")


def test_an_account_in_use_is_not_deleted(project: Api, plane: Plane) -> None:
    uid = project.ok("POST", AWS, aws())["uid"]
    cluster = Document(kind="cluster", name="shop", project=project.project, body={})
    plane.store.add(cluster)
    plane.store.set_references(cluster.uid, [uid])
    error = project.refused(409, "ResourceInUse", "DELETE", f"{AWS}/{uid}")
    assert "shop" in error["message"]
    plane.store.delete(cluster.uid)
    project.ok("DELETE", f"{AWS}/{uid}")
    project.refused(404, "ResourceNotFound", "GET", f"{AWS}/{uid}")


def test_an_account_is_of_one_cloud(project: Api) -> None:
    uid = project.ok("POST", AWS, aws())["uid"]
    project.refused(404, "ResourceNotFound", "GET", f"{VSPHERE}/{uid}")


def test_a_list_pages_by_fifty_and_limit_zero_is_all(project: Api) -> None:
    for number in range(53):
        project.ok("POST", AWS, aws(f"a{number:02}"))
    first = project.ok("GET", AWS)
    assert len(first["items"]) == 50
    assert first["listmeta"]["count"] == 53
    rest = project.ok("GET", AWS, params={"continue": first["listmeta"]["continue"]})
    assert [item["metadata"]["name"] for item in rest["items"]] == ["a50", "a51", "a52"]
    assert rest["listmeta"]["continue"] == ""
    assert len(project.ok("GET", AWS, params={"limit": 0})["items"]) == 53
    assert len(project.ok("GET", AWS, params={"limit": 60})["items"]) == 50
    for mark in ("!!", "Ð", "b2Zmc2V0Oi0x", "AAAA"):
        project.refused(400, "InvalidRequest", "GET", AWS, params={"continue": mark})


def test_filters_and_order(project: Api) -> None:
    for name in ("b", "a", "ANDY"):
        project.ok("POST", AWS, aws(name))

    def names(**query: str) -> list[str]:
        return [item["metadata"]["name"] for item in project.ok("GET", AWS, params=query)["items"]]

    assert names(orderBy="metadata.name=-1") == ["b", "a", "ANDY"]
    assert names(filters="metadata.name=ANDYANDspec.partition=aws") == ["ANDY"]
    assert names(filters="metadata.name_in_a,b", orderBy="metadata.name=1") == ["a", "b"]
    assert names(filters="metadata.name!=a") == ["b", "ANDY"]
    project.refused(400, "InvalidRequest", "GET", AWS, params={"filters": "nonsense"})
    project.refused(400, "InvalidRequest", "GET", AWS, params={"orderBy": "metadata.name=2"})
