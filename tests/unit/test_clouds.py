# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of clouds, typing by cloud, and the rules for pools."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paletteops.modes.plugins.module_utils import clouds
from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import check_pools
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from hypothesis import given
from hypothesis import strategies as st

CONTROL = {"name": "control", "control_plane": True, "size": 3}


def test_values_get_the_types_of_their_cloud() -> None:
    assert clouds.typed("aws", "pool", {"instance_type": "m6i.large"}, "pools.w")["instance_type"] == "m6i.large"
    size = {"num_cpus": "4", "memory_mib": 8192, "disk_gib": 60}
    typed = clouds.typed("vsphere", "pool", {"instance_type": size}, "pools.w")
    assert typed["instance_type"] == {"num_cpus": 4, "memory_mib": 8192, "disk_gib": 60}
    assert typed["placements"] is None


def test_a_field_of_another_cloud_is_refused_and_its_owner_named() -> None:
    with pytest.raises(PaletteError, match=r"cloud_config\.datacenter belongs to vsphere, and the cloud is aws"):
        clouds.typed("aws", "cluster", {"datacenter": "plant"}, "cloud_config")


def test_a_misspelt_field_is_refused_with_the_nearest() -> None:
    with pytest.raises(PaletteError, match=r"cloud_config\.regio does not exist.*region"):
        clouds.typed("aws", "cluster", {"regio": "eu"}, "cloud_config")


def test_a_value_of_the_wrong_type_is_refused_with_its_place() -> None:
    with pytest.raises(PaletteError, match=r"pools\.w: .*num_cpus"):
        clouds.typed("vsphere", "pool", {"instance_type": {"num_cpus": "many"}}, "pools.w")
    with pytest.raises(PaletteError, match=r"pools\.w\.instance_type is m6i.large, and wants a map"):
        clouds.typed("vsphere", "pool", {"instance_type": "m6i.large"}, "pools.w")


def test_what_is_not_named_in_a_map_is_no_value_of_it() -> None:
    for cloud, option in (("vsphere", "control_plane_endpoint"), ("edge-native", "endpoint")):
        typed = clouds.typed(cloud, "cluster", {option: {"host": "h", "type": None}}, "cloud_config")
        assert typed[option]["host"] == "h"


def test_what_pools_of_a_cloud_lack_is_refused() -> None:
    with pytest.raises(PaletteError, match=r"pools\.w\.max_size is '3', and pools on edge-native have no such thing"):
        clouds.typed_pool("edge-native", {"name": "w", "max_size": 3}, "pools.w")
    pool = clouds.typed_pool("edge-native", {"name": "w", "max_size": None, "hosts": ["a"]}, "pools.w")
    assert pool["hosts"] == [{"host": "a", "state": "present"}]


def test_an_item_may_be_its_key_alone() -> None:
    typed = clouds.typed(
        "edge-native", "pool", {"hosts": ["a", 7, {"host": "b", "nic": {"ip": "192.0.2.1"}}]}, "pools.w"
    )
    assert [item["host"] for item in typed["hosts"]] == ["a", "7", "b"]
    assert [item["state"] for item in typed["hosts"]] == ["present"] * 3
    assert typed["hosts"][2]["nic"]["ip"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"hots": "a"}, r"pools\.w\.hosts\.None\.hots does not exist.*host"),
        ({"host": "a", "state": "gone"}, r"pools\.w\.hosts: .*present, absent.*gone"),
        ({"nic": {}}, r"pools\.w\.hosts: .*host"),
        (["a"], r'pools\.w\.hosts holds \["a"\]'),
        (None, r"pools\.w\.hosts holds null"),
        ({"host": "a", "nic": 7}, r"nic is 7, and wants a map"),
    ],
)
def test_an_item_that_is_neither_its_key_nor_a_map_is_refused(item: Any, words: str) -> None:
    with pytest.raises(PaletteError, match=words):
        clouds.typed("edge-native", "pool", {"hosts": [item]}, "pools.w")


def test_an_unknown_cloud_is_refused_with_those_there_are() -> None:
    with pytest.raises(PaletteError, match=r"'gcp' is not supported\. Supported: aws, edge-native, vsphere"):
        clouds.of("gcp")


def test_the_union_holds_every_field_of_every_cloud() -> None:
    for aspect in clouds.ASPECTS.values():
        names = {field.name for field in clouds.union(aspect)}
        assert names == {field.name for cloud in clouds.NAMES for field in clouds.table(cloud, aspect)}


@pytest.mark.parametrize(
    ("pools", "words"),
    [
        ([{"name": "w", "size": 1}], ["one pool with control_plane: true", "none", "Mark exactly one"]),
        ([CONTROL, {**CONTROL, "name": "other"}], ["'control', 'other'", "Mark exactly one"]),
        ([{**CONTROL, "size": 0}], ["pools.control.size is 0", "1, 3, 5 or 7"]),
        ([{**CONTROL, "size": 2}], ["pools.control.size is 2", "odd", "1, 3, 5 or 7"]),
        ([{**CONTROL, "size": -1}], ["pools.control.size is -1", "1, 3, 5 or 7"]),
        ([{**CONTROL, "max_size": 5}], ["pools.control.max_size is 5", "Take it out"]),
        ([{**CONTROL, "node_repave_interval": 9}], ["pools.control.node_repave_interval", "Take it out"]),
        ([CONTROL, {"name": "w", "size": -2}], ["pools.w.size is -2", "0 or more"]),
        ([CONTROL, {"name": "w", "size": 1, "min_size": 1}], ["pools.w.min_size is 1", "Set max_size"]),
        ([CONTROL, {"name": "w", "size": 3, "min_size": 5, "max_size": 2}], ["min_size is 5", "max_size, 2", "Swap"]),
        ([CONTROL, {"name": "w", "size": 9, "max_size": 4}], ["pools.w.size is 9", "0 to 4"]),
        (
            [CONTROL, {"name": "w", "size": 1, "update_strategy": {"type": "RollingUpdateScaleIn", "max_surge": "1"}}],
            ["pools.w.update_strategy", "OverrideScaling"],
        ),
    ],
)
def test_bad_pools_are_named_with_the_way_out(pools: list[dict[str, Any]], words: list[str]) -> None:
    (finding,) = check_pools(pools, None)
    for word in words:
        assert word in finding


def test_a_control_plane_cannot_be_removed() -> None:
    (finding,) = check_pools([{"name": "w", "size": 1}], [CONTROL, {"name": "w", "size": 1}])
    assert "'control' cannot be removed" in finding
    assert "Delete the cluster instead" in finding


@given(st.sampled_from([1, 3, 5, 7]), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_good_pools_are_let_through(control: int, least: int, more: int, most: int) -> None:
    worker = {"name": "w", "size": least + more, "min_size": least, "max_size": least + more + most}
    if not worker["max_size"]:
        worker = {"name": "w", "size": 0}
    assert check_pools([{**CONTROL, "size": control}, worker], None) == []


@pytest.mark.parametrize(
    ("cloud", "credentials", "sending", "words"),
    [
        ("aws", {"access_key": "A"}, True, ["credentials.secret_key", "credential_type secret"]),
        ("aws", {"secret_key": "S"}, True, ["credentials.access_key"]),
        ("aws", {"credential_type": "sts"}, True, ["credentials.sts.arn"]),
        ("aws", {"credential_type": "pod-identity"}, False, ["credentials.pod_identity.role_arn"]),
        ("vsphere", {"username": "u"}, True, ["credentials.password"]),
    ],
)
def test_what_an_account_lacks_is_named(
    cloud: str, credentials: dict[str, Any], sending: bool, words: list[str]
) -> None:
    (finding,) = clouds.of(cloud).check_account(credentials, sending)
    for word in words:
        assert word in finding


def test_secrets_are_not_asked_for_while_nothing_is_sent() -> None:
    assert clouds.of("aws").check_account({"access_key": "A"}, False) == []
    assert clouds.of("vsphere").check_account({"username": "u"}, False) == []
