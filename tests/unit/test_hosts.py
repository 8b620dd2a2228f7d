# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of an inventory: where they belong, what keeps one from taking an agent, in which order they are patched."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.plugin_utils import hosts

Values = dict[str, Any]

STORE: Values = {
    "palette_mode": "agent",
    "palette_project": "stores",
    "palette_profiles": [{"name": "base", "version": "1.0.x"}],
    "palette_pools": [
        {"name": "control-plane", "control_plane": True, "hosts": ["a"]},
        {"name": "workers", "hosts": ["b", {"host": "c", "nic": {"nic_name": "eth0"}}]},
    ],
}
MACHINES: dict[str, Values] = {"a": {}, "b": {"palette_host_uid": "uid-of-b"}, "c": {}}


# --- where hosts belong ---


def test_hosts_are_found_by_the_pools_that_name_them() -> None:
    found = hosts.places({"store": STORE}, {**MACHINES, "spare": {"palette_mode": "agent", "palette_project": "p"}})
    assert [(host, place["cluster"], place["pool"]) for host, place in found.items()] == [
        ("a", "store", "control-plane"),
        ("b", "store", "workers"),
        ("c", "store", "workers"),
        ("spare", None, None),
    ]
    assert [place["uid"] for place in found.values()] == ["a", "uid-of-b", "c", "spare"]
    assert [place["control_plane"] for place in found.values()] == [True, False, False, False]
    assert [place["project"] for place in found.values()] == ["stores", "stores", "stores", "p"]
    assert {place["mode"] for place in found.values()} == {"agent"}


def test_a_host_may_be_named_by_its_uid() -> None:
    store = {**STORE, "palette_pools": [{"name": "workers", "hosts": ["uid-of-b"]}]}
    assert hosts.places({"store": store}, MACHINES)["b"]["cluster"] == "store"


def test_hosts_that_are_taken_away_belong_nowhere() -> None:
    pools = [
        {"name": "control-plane", "control_plane": True, "hosts": ["a", {"host": "b", "state": "absent"}]},
        {"name": "workers", "state": "absent", "hosts": ["c"]},
    ]
    found = hosts.places({"store": {**STORE, "palette_pools": pools}}, MACHINES)
    assert [place["cluster"] for place in found.values()] == ["store", None, None]


def test_clusters_of_other_modes_have_no_hosts() -> None:
    found = hosts.places({"shop": {**STORE, "palette_mode": "controller"}}, MACHINES)
    assert {place["cluster"] for place in found.values()} == {None}


@pytest.mark.parametrize("other", ["store", "market"])
def test_a_host_in_two_pools_is_refused(other: str) -> None:
    clusters = {
        "store": STORE,
        other: {**STORE, "palette_pools": [*STORE["palette_pools"], {"name": "more", "hosts": ["a"]}]},
    }
    with pytest.raises(PaletteError, match="The host 'a' is in the pool 'control-plane' of the cluster"):
        hosts.places(clusters, MACHINES)


def test_pools_for_the_module_name_uids_and_keep_the_rest() -> None:
    pools = hosts.with_uids(STORE["palette_pools"], MACHINES)
    assert pools[0] == {"name": "control-plane", "control_plane": True, "hosts": [{"host": "a"}]}
    assert pools[1]["hosts"] == [{"host": "uid-of-b"}, {"host": "c", "nic": {"nic_name": "eth0"}}]
    # registered by other means, and chosen by tags
    others: list[Values] = [{"name": "workers", "hosts": ["elsewhere"]}, {"name": "more", "host_tags": {"site": "x"}}]
    assert hosts.with_uids(others, MACHINES) == [{"name": "workers", "hosts": [{"host": "elsewhere"}]}, others[1]]


def wrong(
    seen: str, *, clusters: Values | None = None, machines: Values | None = None, unseen: bool = True
) -> list[str]:
    clusters, machines = clusters or {"store": STORE}, MACHINES if machines is None else machines
    known = {*clusters, *machines, "elsewhere"}
    return hosts.misplaced(clusters, machines, known, seen.split(), unseen)


def test_what_belongs_together_is_fine() -> None:
    assert wrong("store a b c") == []


def test_a_limit_that_cuts_hosts_off_is_named() -> None:
    (sentence,) = wrong("store a")
    assert "'store'" in sentence and "b, c" in sentence and "--limit" in sentence
    assert wrong("a b") == []  # the cluster itself is not in the play
    assert wrong("store a", unseen=False) == []  # the playbook does not need them


def test_a_host_of_no_cluster_says_what_it_is_for() -> None:
    (sentence,) = wrong("store a b c d", machines={**MACHINES, "d": {}})
    assert "'d'" in sentence and "palette_mode" in sentence
    assert wrong("store a b c d", machines={**MACHINES, "d": {"palette_mode": "agent"}}) == []


def test_a_host_that_no_pool_names_as_it_is_called_says_what_was_meant() -> None:
    pools = [{"name": "control-plane", "control_plane": True, "hosts": ["a", "line-22"]}]
    (sentence,) = wrong(
        "store a line-2", clusters={"store": {**STORE, "palette_pools": pools}}, machines={"a": {}, "line-2": {}}
    )
    assert "'line-2' belongs to no cluster" in sentence and "One names 'line-22'" in sentence


def test_a_uid_that_two_hosts_have_is_named() -> None:
    machines = {**MACHINES, "c": {"palette_host_uid": "uid-of-b"}}
    (sentence,) = wrong("store a b c", machines=machines)
    assert "'b' and 'c'" in sentence and "'uid-of-b'" in sentence and "palette_host_uid" in sentence
    assert wrong("a", machines=machines) == [], "the play sees neither"
    machines["c"] = {"palette_host_uid": "uid-of-b", "palette_api_url": "https://other.example"}
    assert wrong("store a b c", machines=machines) == [], "planes know nothing of each other"


@pytest.mark.parametrize(
    "first, second, same",
    [
        ({"ansible_host": "192.0.2.11"}, {"ansible_host": "192.0.2.11"}, True),
        (
            {"ansible_host": "192.0.2.11"},
            {"ansible_host": "192.0.2.11", "ansible_connection": "ansible.builtin.ssh"},
            True,
        ),
        ({}, {"ansible_host": "a"}, True),
        ({"ansible_host": "192.0.2.11"}, {"ansible_host": "192.0.2.12"}, False),
        (
            {"ansible_host": "192.0.2.1", "ansible_port": 2201},
            {"ansible_host": "192.0.2.1", "ansible_port": 2202},
            False,
        ),
        # behind jump hosts of their own
        (
            {"ansible_host": "192.0.2.11", "ansible_ssh_common_args": "-J site-1"},
            {"ansible_host": "192.0.2.11", "ansible_ssh_common_args": "-J site-2"},
            False,
        ),
        (
            {"ansible_host": "x", "ansible_connection": "local"},
            {"ansible_host": "x", "ansible_connection": "local"},
            False,
        ),
    ],
)
def test_a_machine_that_two_hosts_name_is_named(first: Values, second: Values, same: bool) -> None:
    found = wrong("store a b c", machines={"a": first, "b": {"palette_host_uid": "uid-of-b", **second}, "c": {}})
    assert len(found) == same
    if same:
        assert "'a' and 'b' are one machine" in found[0] and "ansible_host" in found[0]


def test_a_vip_that_is_the_address_of_a_host_of_the_cluster_is_named() -> None:
    machines = {**MACHINES, "a": {"ansible_host": "192.0.2.9"}, "d": {"palette_mode": "agent"}}
    clusters = {"store": {**STORE, "palette_vip": "192.0.2.9"}}
    (sentence,) = wrong("store a b c d", clusters=clusters, machines=machines)
    assert "'store' is 192.0.2.9" in sentence and "'a'" in sentence and "free address" in sentence
    # other sites may have the same addresses
    machines = {**MACHINES, "d": {"palette_mode": "agent", "ansible_host": "192.0.2.9"}}
    assert wrong("store a b c d", clusters=clusters, machines=machines) == []


def test_a_name_that_is_no_uid_is_named() -> None:
    machines = {**MACHINES, "d.example": {"palette_mode": "agent"}}
    (sentence,) = wrong("store a b c d.example", machines=machines)
    assert "would be 'd.example'" in sentence and "palette_host_uid" in sentence
    assert wrong("store a b c", machines=machines) == []
    machines["d.example"] = {"palette_mode": "agent", "palette_host_uid": "d"}
    assert wrong("store a b c d.example", machines=machines) == []


def test_a_host_outside_the_group_is_named() -> None:
    pools = [*STORE["palette_pools"], {"name": "more", "hosts": ["elsewhere"]}]
    (sentence,) = wrong("store a b c", clusters={"store": {**STORE, "palette_pools": pools}})
    assert "'elsewhere'" in sentence and "palette_hosts" in sentence


RANGES = {
    "cluster": {
        "config": {"clusterConfiguration": {"networking": {"podSubnet": "10.1.0.0/16", "serviceSubnet": "10.2.0.0/16"}}}
    }
}


@pytest.mark.parametrize(
    "values, found",
    [
        (RANGES, ["10.1.0.0/16", "10.2.0.0/16"]),
        (
            "cluster: {config: {clusterConfiguration: {networking: {podSubnet: '10.1.0.0/16,fd00::/64'}}}}",
            ["10.1.0.0/16", "fd00::/64"],
        ),
        ("cluster: [", []),
        ("just text", []),
        (None, []),
    ],
)
def test_ranges_are_those_of_the_profiles_in_the_inventory(values: Any, found: list[str]) -> None:
    defined = [
        {"name": "base", "packs": [{"name": "edge-k8s", "values": values}]},
        {"name": "other", "packs": [{"name": "edge-k8s", "values": RANGES}]},
    ]
    assert hosts.ranges({**STORE, "palette_cluster_profiles": defined}) == found


# --- what keeps a host from taking an agent ---

GOOD: Values = {
    "machine": "x86_64",
    "python": "3.11.2",
    "systemd": True,
    "os": {"id": "debian", "name": "Debian 12"},
    "hostname": "a",
    "resolves": ["192.0.2.11"],
    "addresses": ["192.0.2.11/24"],
    "commands": ["bash", "jq"],
    "cgroups": {"version": 2, "controllers": ["cpu", "memory", "pids"]},
    "swap": [],
    "cpus": 2,
    "memory_mib": 4000,
    "disks": {"/opt": 30000},
    "ports": [22],
    "container": False,
    "time_services": ["chronyd.service"],
    "engines": [],
    "clusters": [],
    "inotify": 128,
    "fips": False,
    "plane": {"error": "", "skew": 1.0},
    "agent": {"program": False, "note": None, "user_data": "missing"},
}
WANTS: Values = {
    "architectures": ["amd64", "arm64"],
    "commands": ["bash", "jq"],
    "install_packages": True,
    "family": "debian",
    "requirements": {"cpus": 2, "memory_mib": 3800, "disk_gib": 20},
    "fips": False,
    "ports": [6443, 10250],
    "ranges": ["10.1.0.0/16"],
    "ignore": [],
    "plane": "https://plane.example",
    "from": "agent",
    "checksum": "0" * 64,
    "uid": "a",
    "user_data": {},
    "record": {},
}


#: An agent that the role has installed.
OWN: Values = {"program": True, "note": {"wanted": "older"}, "user_data": "same"}


def judged(facts: Values, wants: Values) -> dict[str, str]:
    content = {**copy.deepcopy(GOOD), **facts}
    return {found["check"]: found["finding"] for found in hosts.judge(content, {**WANTS, **wants})}


def test_a_good_host_has_no_findings() -> None:
    assert judged({}, {}) == {}


@pytest.mark.parametrize(
    "check, word, facts, wants",
    [
        ("architecture", "riscv64", {"machine": "riscv64"}, {}),
        ("systemd", "systemd", {"systemd": False}, {}),
        ("python", "3.6.8", {"python": "3.6.8"}, {}),
        ("commands", "jq", {"commands": ["bash"]}, {"install_packages": False}),
        ("commands", "Debian 12", {"commands": ["bash"]}, {"family": ""}),
        ("cgroups", "memory", {"cgroups": {"version": 1, "controllers": ["cpu", "pids"]}}, {}),
        ("swap", "/dev/sda3", {"swap": ["/dev/sda3"]}, {}),
        ("cpus", "1", {"cpus": 1}, {}),
        ("memory", "2000 MiB", {"memory_mib": 2000}, {}),
        ("disk", "/opt: 9.7 GiB", {"disks": {"/opt": 10000}}, {}),
        ("inotify", "64", {"inotify": 64}, {}),
        ("fips", "FIPS", {}, {"fips": True}),
        ("ports", "6443", {"ports": [22, 6443]}, {}),
        ("name", "'a'", {"resolves": []}, {}),
        ("addresses", "10.1.2.3/24 lies in 10.1.0.0/16", {"addresses": ["10.1.2.3/24"]}, {}),
        ("time", "chronyd", {"time_services": []}, {}),
        ("clock", "94 s behind", {"plane": {"error": "", "skew": -94.2}}, {}),
        ("plane", "refused", {"plane": {"error": "refused", "skew": None}}, {}),
        ("plane", "palette_ca_path", {"plane": {"error": "bad", "certificate": True, "skew": None}}, {}),
        ("engines", "docker.service", {"engines": ["docker.service"]}, {}),
        ("kubernetes", "/etc/rancher", {"clusters": ["/etc/rancher/k3s"]}, {}),
        ("agent", "did not install", {"agent": {"program": True, "note": None, "user_data": "other"}}, {}),
        ("agent", "palette_agent_file", {}, {"from": ""}),
        ("agent", "no file /x/agent", {}, {"from": "/x/agent", "checksum": "", "missing_file": True}),
        ("project", "'retail'", {"agent": {**OWN, "note": {"project": "retail"}}}, {"project": "stores"}),
        ("record", "'a'", {}, {"record": {"uid": "a", "state": "ready"}}),
        ("checksum", "missing", {}, {"checksum": ""}),
        ("checksum", "'abc'", {}, {"checksum": "abc"}),
        ("uid", "'a.example'", {}, {"uid": "a.example"}),
        ("user_data", "install.reboot", {}, {"user_data": {"install": {"reboot": True}}}),
    ],
)
def test_each_finding_names_the_value_and_can_be_ignored(check: str, word: str, facts: Values, wants: Values) -> None:
    found = judged(facts, wants)
    assert set(found) == {check}
    assert word in found[check]
    assert found[check].count(". ") >= 1, "there is no way out in it"
    assert judged(facts, {**wants, "ignore": [check]}) == {}


def test_what_can_be_installed_is_no_finding() -> None:
    assert judged({"commands": []}, {}) == {}


def test_a_record_that_was_made_ahead_is_no_finding() -> None:
    assert judged({}, {"record": {"uid": "a", "state": "unpaired"}}) == {}


def test_a_record_of_a_host_whose_agent_is_gone_is_a_finding_also_where_the_role_has_been() -> None:
    gone = {"program": False, "note": {"wanted": "older"}, "user_data": "missing"}
    found = judged({"agent": gone}, {"record": {"uid": "a", "state": "ready"}})
    assert set(found) == {"record"} and "Delete it" in found["record"]
    # an installation that was interrupted before an agent ran
    assert judged({"agent": gone}, {"record": {"uid": "a", "state": "unpaired"}}) == {}
    assert judged({"agent": gone}, {}) == {}


def test_the_clock_of_a_container_is_its_machines() -> None:
    assert judged({"time_services": [], "container": True}, {}) == {}


def test_where_the_role_has_been_its_own_ports_and_services_do_not_count() -> None:
    used = {"ports": [6443], "engines": ["kubelet.service"], "clusters": ["/etc/kubernetes/kubelet.conf"]}
    assert judged({"agent": OWN, **used}, {"record": {"uid": "a", "state": "in-use"}}) == {}


def test_an_unreachable_host_is_one_finding() -> None:
    (found,) = hosts.judge(None, {**WANTS, "unreachable": "No route to host"})
    assert found["check"] == "connection" and "No route to host" in found["finding"]


def test_a_host_without_python_is_told_so() -> None:
    bare = {"machine": "x86_64", "python": "", "systemd": True, "agent": {"program": False, "note": None}}
    assert [found["check"] for found in hosts.judge(bare, WANTS)] == ["python"]


# --- who is left alone ---

PLACES = hosts.places({"store": STORE}, {**MACHINES, "spare": {"palette_mode": "agent"}})
FINDING = [{"check": "swap", "finding": "Swap is on."}]


def test_a_finding_stops_all_hosts_of_the_cluster_and_no_others() -> None:
    noted: dict[str, Values] = {name: {"palette__findings": []} for name in PLACES}
    noted["b"]["palette__findings"] = FINDING
    stopped = hosts.stopped(PLACES, list(PLACES), noted)
    assert set(stopped) == {"a", "b", "c"}
    assert stopped["b"] == "Swap is on."
    assert "'store'" in stopped["a"] and stopped["a"].endswith("b.")


def test_a_host_that_failed_before_stops_its_cluster_too() -> None:
    noted: dict[str, Values] = {name: {"palette__findings": []} for name in PLACES}
    del noted["c"]["palette__findings"]
    assert set(hosts.stopped(PLACES, list(PLACES), noted)) == {"a", "b", "c"}


def test_a_finding_of_a_spare_host_stops_nobody_else() -> None:
    noted: dict[str, Values] = {name: {"palette__findings": []} for name in PLACES}
    noted["spare"]["palette__findings"] = FINDING
    assert set(hosts.stopped(PLACES, list(PLACES), noted)) == {"spare"}


def test_a_cluster_hears_why_its_hosts_are_not_ready() -> None:
    noted: dict[str, Values] = {
        "a": {"palette__registered": {"edge_host": {}}},
        "b": {"palette__failure": "Swap is on."},
        "c": {},
    }
    sentences = hosts.problems(PLACES, "store", noted)
    assert [sentence.partition(":")[0] for sentence in sentences] == ["b", "c"]
    assert "Swap is on." in sentences[0]


# --- patching ---


def fleet(workers: int) -> dict[str, Values]:
    names = [f"w{number}" for number in range(workers)]
    store = {
        **STORE,
        "palette_pools": [
            {"name": "workers", "hosts": names},
            {"name": "control-plane", "control_plane": True, "hosts": ["c1", "c2"]},
        ],
    }
    return hosts.places({"store": store}, {name: {} for name in [*names, "c1", "c2"]})


@pytest.mark.parametrize(
    "size, steps",
    [(1, [1] * 5), ("2", [2, 2, 1]), ("40%", [2, 2, 1]), ("10%", [1] * 5), ("100%", [5]), (9, [5])],
)
def test_control_planes_go_one_by_one_and_workers_in_batches(size: Any, steps: list[int]) -> None:
    found = fleet(5)
    ordered = hosts.batches(found, found, size)
    assert ordered[:2] == [["c1"], ["c2"]]
    assert [len(batch) for batch in ordered[2:]] == steps


def test_only_hosts_of_the_play_are_patched() -> None:
    assert hosts.batches(fleet(3), ["w1", "c2"], 2) == [["c2"], ["w1"]]


@pytest.mark.parametrize("size", ["0", "-1", "many", "0%", "101%", ""])
def test_a_batch_of_no_size_is_refused(size: str) -> None:
    with pytest.raises(PaletteError, match="palette_patch_batch"):
        hosts.batches(fleet(1), ["w0"], size)
