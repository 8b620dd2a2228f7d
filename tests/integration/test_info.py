# SPDX-License-Identifier: GPL-3.0-or-later
"""Info modules: what they return, shaped by a query or not, both ways to run them."""

from __future__ import annotations

from typing import Any

import pytest
from support.collection import REPOSITORY
from support.project import Project
from support.runs import Ansible, Step, Values
from support.specs import AWS_ACCOUNT, PROFILE, VSPHERE_ACCOUNT

WAYS = ("action", "module")

INFO = {
    "project_info": "projects",
    "cloud_account_info": "cloud_accounts",
    "cluster_profile_info": "cluster_profiles",
    "cluster_info": "clusters",
    "edge_host_info": "edge_hosts",
    "pack_info": "packs",
    "registry_info": "registries",
}


def test_every_info_module_is_tested() -> None:
    modules = {path.stem for path in (REPOSITORY / "plugins" / "modules").glob("*_info.py")}
    assert modules == set(INFO)


def read(ansible: Ansible, way: str, module: str, **args: Any) -> Any:
    outcome = ansible.one(module, args, way=way)
    assert not outcome.changed
    assert not outcome.writes
    return outcome.result[INFO[module]]


@pytest.mark.parametrize("way", WAYS)
def test_what_was_written_is_read(project: Project, way: str) -> None:
    ansible, name = project.ansible, project.name + "-x"
    written: list[tuple[str, Values]] = [
        ("project", {"name": name, "description": "Shops", "tags": {"a": "1"}}),
        ("edge_host", {"uid": name, "name": "line-1", "architecture": "arm64", "tags": {"b": "2"}}),
        ("cloud_account", AWS_ACCOUNT.named("one")),
        ("cloud_account", VSPHERE_ACCOUNT.named("other")),
        ("cluster_profile", PROFILE.named("p")),
    ]
    made = ansible.play([Step(module, spec) for module, spec in written]).outcomes
    for (module, spec), outcome in zip(written, made, strict=True):
        (found,) = read(ansible, way, f"{module}_info", name=spec["name"])
        written_back = outcome.result[module]
        assert found == {**found, **{key: value for key, value in written_back.items() if key != "packs"}}
        assert "canary" not in str(found)
    (profile,) = read(ansible, way, "cluster_profile_info", name="p", version="1.0.0")
    assert profile["published"] is True
    assert profile["in_use_by"] == []
    manifests = {pack["name"]: pack["manifests"] for pack in profile["packs"] if pack.get("manifests")}
    assert sorted(manifests) == ["nginx", "shop"]
    assert read(ansible, way, "cluster_profile_info", name="p", version="2.0.0") == []


@pytest.mark.parametrize("way", WAYS)
def test_all_are_read_where_no_name_is_given(project: Project, way: str) -> None:
    ansible = project.ansible
    ansible.play([Step("cloud_account", AWS_ACCOUNT.named("one")), Step("cloud_account", VSPHERE_ACCOUNT.named("b"))])
    names = read(ansible, way, "cloud_account_info", query="[].{name: name, cloud: cloud}")
    assert names == [{"name": "one", "cloud": "aws"}, {"name": "b", "cloud": "vsphere"}]
    assert project.name in read(ansible, way, "project_info", query="[].name")


@pytest.mark.parametrize("way", WAYS)
def test_packs_and_registries(ansible: Ansible, way: str) -> None:
    registries = read(ansible, way, "registry_info", query="[].{name: name, kind: kind, default: is_default}")
    assert {"name": "Public Repo", "kind": "pack", "default": True} in registries
    (pack,) = read(ansible, way, "pack_info", name="kubernetes")
    assert pack["layer"] == "k8s"
    assert pack["clouds"] == ["aws", "vsphere"]
    assert pack["registries"] == ["Public Repo"]
    assert pack["versions"][0] == pack["latest_version"] == "1.33.5"
    assert pack["versions"].index("1.31.13") < pack["versions"].index("1.31.4"), "newest first, by number"
    assert pack["values"]
    aws = read(ansible, way, "pack_info", cloud="aws", query="[].name")
    assert "csi-aws-ebs" in aws
    assert "nginx" in aws
    assert "csi-vsphere-csi" not in aws


@pytest.mark.parametrize("module", sorted(INFO))
def test_a_name_that_there_is_not_gives_an_empty_list(ansible: Ansible, module: str) -> None:
    assert read(ansible, "module", module, name="none-such") == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("module", sorted(INFO))
def test_a_wrong_query_is_refused(ansible: Ansible, module: str, way: str) -> None:
    ansible.one(module, {"query": "[?name"}, way=way).refused("query is not a valid JMESPath expression", "[?name")


@pytest.mark.parametrize("module", sorted(INFO))
def test_check_mode_reads_the_same(ansible: Ansible, module: str) -> None:
    args = {"name": "kubernetes"} if module == "pack_info" else {}
    real, checked = ansible.play([Step(module, args), Step(module, args, check=True)]).outcomes
    assert real.result[INFO[module]] == checked.result[INFO[module]]
