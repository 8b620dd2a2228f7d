# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of the user: who is meant, whether they can be had, and in which order they are taken out of a cluster."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.paletteops.modes.plugins.module_utils import clouds
from ansible_collections.paletteops.modes.plugins.module_utils.client import Client, Connection
from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import check_pools
from ansible_collections.paletteops.modes.plugins.module_utils.edge_host import (
    EdgeHost,
    foretold_hosts,
    host_index,
    host_of,
    hosts_key,
    is_ready,
    words,
)
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.module_utils.fields import decode, encode
from ansible_collections.paletteops.modes.plugins.module_utils.members import Members
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Session
from ansible_collections.paletteops.modes.plugins.module_utils.run import Run

EDGE = clouds.of("edge-native")
Values = dict[str, Any]


def item(uid: str, name: str = "", cluster: str = "", **more: Any) -> Values:
    """An item of the search for hosts."""
    return {
        "metadata": {"uid": uid, "name": name or uid, "labels": more.get("labels", {})},
        "spec": {"device": {"archType": more.get("arch", "amd64"), "hostType": "agent-mode"}},
        "status": {
            "state": more.get("state", "in-use" if cluster else "ready"),
            "health": {"state": more.get("health", "healthy"), "message": more.get("message", "")},
            "inUseClusters": [{"uid": cluster + "-uid", "name": cluster}] if cluster else [],
        },
    }


class Plane:
    """Stands in for the plane: answers searches for hosts, and keeps machines for some looks at them."""

    def __init__(self, *hosts: Values, machines: dict[str, list[str]] | None = None, looks: int = 0) -> None:
        self.hosts = list(hosts)
        self.machines = machines or {}
        self.looks = looks
        self.calls: list[str] = []
        self._left: dict[str, int] = {}

    def __call__(self, method: str, path: str, **more: Any) -> Any:
        self.calls.append(f"{method} {path}")
        if path.endswith("/edgehosts/search"):
            return {"items": self.hosts, "listmeta": {}}
        if path.endswith("/machines"):
            pool = path.split("/")[-2]
            return {
                "items": [
                    {"metadata": {"uid": "m-" + uid}, "spec": {"edgeHostUid": uid}} for uid in self.machines[pool]
                ]
            }
        if method == "DELETE":
            self._left[path] = self.looks
            return None
        assert "/machines/" in path, path
        self._left[path] -= 1
        return None if self._left[path] < 0 else {"status": {"instanceState": "Deleting"}}


class PlaneClient(Client):
    """The client with its calls answered by a :class:`Plane`, in the tenant's scope."""

    def __init__(self, plane: Plane, run: Run, check_mode: bool) -> None:
        super().__init__(Connection("http://plane.invalid", "key"), run, check_mode)
        self.plane = plane

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, Any] | None = None,
        tenant: bool = False,
        repeatable: bool = True,
    ) -> Any:
        return self.plane(method, path)

    def find(self, path: str, query: dict[str, Any] | None = None, tenant: bool = False) -> Any:
        return self.plane("GET", path)


def session(plane: Plane, folder: Path, check: bool = False, **params: Any) -> Session:
    run = Run(str(folder / "run"))
    defaults = {"wait_timeout": 3, "wait_interval": 1, "state": "present"}

    def none(line: str) -> None:
        pass

    return Session({**defaults, **params}, check, False, PlaneClient(plane, run, check), run, none, none, none)


def members(plane: Plane, folder: Path, check: bool = False) -> Members:
    return Members(session(plane, folder, check), "shop", EDGE)


def pool(name: str, *hosts: str, **more: Any) -> Values:
    return {"name": name, "hosts": [{"host": host} for host in hosts], "arch_type": "amd64", **more}


def wanted(found: Members, before: list[Values] = [], purge: list[str] = [], **more: Any) -> Values:  # noqa: B006
    named = {"name": "w", "size": None, "hosts": None, "host_tags": None, **more}
    if named["hosts"]:
        named["hosts"] = [
            {"state": "present", **({"host": one} if isinstance(one, str) else one)} for one in named["hosts"]
        ]
    return found.wanted(named, before, purge)


# --- what the API says ---


def test_a_host_of_the_search_is_read() -> None:
    host = host_of(item("u", "n", "c", labels={"a": "1", "b": "spectro__tag"}))
    assert (host["uid"], host["name"], host["tags"]) == ("u", "n", {"a": "1", "b": ""})
    assert (host["cluster"], host["cluster_uid"]) == ("c", "c-uid")
    assert words(host) == "in-use in the cluster 'c', healthy"


@pytest.mark.parametrize(
    ("raw", "ready", "said"),
    [
        (None, False, "not known"),
        (item("u", state="unpaired", health=""), False, "not paired yet"),
        (item("u", health=""), False, "no sign of life"),
        (item("u", health="unhealthy", message="disk full"), False, "unhealthy, disk full"),
        (item("u"), True, "ready, healthy"),
    ],
)
def test_a_host_is_ready_when_it_is_paired_and_healthy(raw: Values | None, ready: bool, said: str) -> None:
    host = host_of(raw) if raw else None
    assert is_ready(host) is ready
    assert said in words(host)


def test_address_of_the_control_plane_to_and_from_the_api() -> None:
    for config, endpoint in (
        ({"vip": "192.0.2.1"}, {"host": "192.0.2.1", "type": "VIP"}),
        ({"endpoint": {"host": "lb.example"}}, {"host": "lb.example", "type": "External"}),
        (
            {"endpoint": {"host": "c.example", "type": "DDNS", "ddns_search_domain": "example"}},
            {"host": "c.example", "type": "DDNS", "ddnsSearchDomain": "example"},
        ),
    ):
        body = encode(EDGE.cluster, config)
        assert body == {"controlPlaneEndpoint": endpoint}
        read = decode(EDGE.cluster, body)
        assert {key: read[key] for key in config if key == "vip"} == {k: v for k, v in config.items() if k == "vip"}
        assert encode(EDGE.cluster, {key: read[key] for key in ("vip", "endpoint")}) == body


def test_an_update_hands_back_what_the_plane_knows_of_hosts() -> None:
    raw = {"hosts": [{"hostUid": "a", "hostName": "n", "nicName": "eth0", "nic": {"macAddr": "02:00"}}]}
    body: Values = encode(EDGE.pool, pool("w", "a", "b"))
    EDGE.carry(raw, body)
    assert body["edgeHosts"] == [
        {"hostUid": "a", "hostName": "n", "nicName": "eth0", "nic": {"macAddr": "02:00"}},
        {"hostUid": "b"},
    ]


# --- who is meant ---


def test_hosts_are_meant_by_uid_or_by_name_and_counted(tmp_path: Path) -> None:
    found = members(Plane(item("u1", "one"), item("u2", "two"), item("two", "three")), tmp_path)
    made = wanted(found, hosts=["one", "two"])
    assert [one["host"] for one in made["hosts"]] == ["u1", "two"], "a uid comes before a name"
    assert made["size"] == 2
    assert found.check([], [pool("w", "u1", "two")]) == []


def test_a_name_that_several_hosts_have_is_refused_with_their_uids(tmp_path: Path) -> None:
    with pytest.raises(PaletteError, match="2 edge hosts are named 'same': u1, u2"):
        wanted(members(Plane(item("u1", "same"), item("u2", "same")), tmp_path), hosts=["same"])


def test_a_host_that_there_is_not_is_searched_anew_once_and_named_with_the_nearest(tmp_path: Path) -> None:
    plane = Plane(item("line-1"))
    found = members(plane, tmp_path)
    made = wanted(found, hosts=["lime-1", "lime-2"])
    assert made["size"] == 0
    (first, second) = found.findings
    assert "no edge host named 'lime-1'. Did you mean 'line-1'?" in first
    assert "lime-2" in second
    assert len(plane.calls) == 2


def test_a_host_that_has_come_since_is_found(tmp_path: Path) -> None:
    plane = Plane()
    found = members(plane, tmp_path)
    assert found.hosts() == {}
    plane.hosts.append(item("u1"))
    assert wanted(found, hosts=["u1"])["size"] == 1
    assert found.findings == []


def test_hosts_merge_and_leave_by_state_or_purge(tmp_path: Path) -> None:
    found = members(Plane(item("a", "A", "shop"), item("b", "", "shop"), item("c")), tmp_path)
    before = [pool("w", "a", "b")]
    assert wanted(found, before, hosts=["c"])["size"] == 3
    assert wanted(found, before, hosts=[{"host": "A", "state": "absent"}])["size"] == 1
    assert wanted(found, before, ["hosts"], hosts=["b", "c"])["size"] == 2
    assert wanted(found, before, hosts=[{"host": "gone-for-long", "state": "absent"}])["size"] == 2
    assert wanted(found, before)["size"] is None, "hosts that nobody names are left alone"
    assert found.findings == []


def test_a_size_that_is_not_the_number_of_hosts_is_found(tmp_path: Path) -> None:
    found = members(Plane(item("a")), tmp_path)
    assert wanted(found, hosts=["a"], size=1)["size"] == 1
    assert found.findings == []
    wanted(found, hosts=["a"], size=3)
    assert "pools.w.size is 3, and the pool has 1 hosts" in found.findings[0]


def test_tags_choose_free_and_healthy_hosts_and_keep_those_of_the_pool(tmp_path: Path) -> None:
    tags = {"role": "worker"}
    plane = Plane(
        item("free", labels={"role": "worker", "x": "1"}),
        item("mine", "", "shop", labels=tags, health="unhealthy"),
        item("theirs", "", "other", labels=tags),
        item("ill", labels=tags, health="unhealthy"),
        item("to-come", labels=tags, state="unpaired"),
        item("control", "", "shop", labels=tags),
        item("untagged"),
    )
    found = members(plane, tmp_path)
    made = wanted(found, [pool("cp", "control"), pool("w", "mine")], host_tags=tags, hosts=["untagged"])
    assert sorted(one["host"] for one in made["hosts"]) == ["free", "mine", "untagged"]
    assert made["size"] == 3
    assert "host_tags" not in made


def test_tags_that_no_free_host_has_are_found_with_the_reason(tmp_path: Path) -> None:
    found = members(Plane(item("theirs", "", "other", labels={"role": "worker"})), tmp_path)
    wanted(found, host_tags={"role": "worker"})
    assert "'theirs' is in-use in the cluster 'other'" in found.findings[0]
    wanted(found, host_tags={"role": "wroker"})
    assert "no host has them all" in found.findings[1]


# --- whether they can be had ---


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (item("u", "n", "other"), ["'n' is in use by the cluster 'other'", "Take it out of that one first"]),
        (item("u", "n", state="unpaired", health=""), ["'n' is registered ahead", "Install its agent"]),
        (item("u", "n", health="unhealthy", message="disk full"), ["'n' is ready, unhealthy, disk full", "Mend it"]),
        (item("u", "n", arch="arm64"), ["'n' is arm64", "the pool is amd64", "arch_type"]),
    ],
)
def test_a_host_that_cannot_be_had_is_found(tmp_path: Path, raw: Values, said: list[str]) -> None:
    (finding,) = members(Plane(raw), tmp_path).check([], [pool("w", "u")])
    for word in said:
        assert word in finding


def test_the_clusters_own_hosts_are_not_questioned(tmp_path: Path) -> None:
    found = members(Plane(item("u", "", "shop", health="unhealthy")), tmp_path)
    assert found.check([pool("w", "u")], [pool("w", "u")]) == []


def test_a_host_that_has_become_free_since_the_search_can_be_had(tmp_path: Path) -> None:
    plane = Plane(item("u", "", "other"))
    found = members(plane, tmp_path)
    assert found.hosts()["u"]["cluster"] == "other"
    plane.hosts = [item("u")]
    assert found.check([], [pool("w", "u")]) == []


def test_the_last_host_of_a_control_plane_is_kept(tmp_path: Path) -> None:
    found = members(Plane(item("a", "", "shop"), item("b")), tmp_path)
    before = [pool("cp", "a", control_plane=True)]
    (finding,) = found.check(before, [pool("cp", "b", control_plane=True)])
    assert "(a) none would stay" in finding
    assert "Leave one in" in finding
    assert found.check(before, [pool("cp", "a", "b", control_plane=True)]) == []


@pytest.mark.parametrize(
    ("pools", "two_node", "words"),
    [
        ([{"name": "c", "control_plane": True, "size": 2}], False, ["pools.c has 2 hosts", "1, 3, 5 or 7"]),
        ([{"name": "c", "control_plane": True, "size": 3}], True, ["pools.c has 3 hosts", "exactly 2"]),
        ([{"name": "c", "control_plane": True, "size": 0}], False, ["pools.c has 0 hosts", "Name one at least"]),
    ],
)
def test_bad_pools_of_hosts_are_named(pools: list[Values], two_node: bool, words: list[str]) -> None:
    (finding,) = check_pools(pools, None, "hosts", two_node)
    for word in words:
        assert word in finding
    assert check_pools([{"name": "c", "control_plane": True, "size": 2}], None, "hosts", True) == []


# --- check mode ---


def test_check_mode_counts_what_earlier_tasks_would_have_made(tmp_path: Path) -> None:
    plane = Plane(item("u1", "", "old"), item("gone"), item("ill", health="unhealthy"), item("ahead", state="unpaired"))
    checked = session(plane, tmp_path, check=True)
    key = hosts_key(checked.client)
    checked.run.predict(checked.client.key("cluster", tenant=False), "old", None)
    checked.run.predict(key, "gone", None)
    checked.run.predict(key, "new", {"uid": "new", "name": "N", "tags": {"a": "1"}, "architecture": "arm64"})
    checked.run.predict(key, "ill", {"uid": "ill", "name": "ill", "tags": {"b": "2"}})
    checked.run.predict(key, "ahead", {"uid": "ahead", "name": "ahead", "registered": True})
    known = {host["uid"]: host for host in foretold_hosts(checked, host_index(checked.client, checked.run).entries())}
    assert sorted(known) == ["ahead", "ill", "new", "u1"]
    assert (known["u1"]["cluster"], known["u1"]["state"]) == ("", "ready")
    assert (known["new"]["name"], known["new"]["architecture"], known["new"]["tags"]) == ("N", "arm64", {"a": "1"})
    assert is_ready(known["new"])
    assert is_ready(known["ahead"])
    assert not is_ready(known["ill"]), "tags alone make nobody healthy"
    assert known["ill"]["tags"] == {"b": "2"}


def test_check_mode_knows_which_cluster_of_the_run_would_have_a_host(tmp_path: Path) -> None:
    found = members(Plane(item("u")), tmp_path, check=True)
    key = found.session.client.key("cluster", tenant=False)
    found.session.run.predict(key, "other", {"name": "other", "pools": [{"name": "w", "hosts": [{"host": "u"}]}]})
    (finding,) = found.check([], [pool("w", "u")])
    assert "in use by the cluster 'other'" in finding
    found.session.run.predict(key, "other", None)
    assert members(Plane(item("u")), tmp_path, check=True).check([], [pool("w", "u")]) == []


def test_check_mode_foretells_a_host_that_would_register(tmp_path: Path) -> None:
    plane = Plane()
    host = EdgeHost(session(plane, tmp_path, True, uid="u1", name=None, state="registered", wait=False))
    result = host.ensure()
    assert not result["changed"]
    assert (result["edge_host"]["state"], result["edge_host"]["health"]) == ("ready", "healthy")
    assert members(plane, tmp_path, check=True).check([], [pool("w", "u1")]) == []


# --- waiting and taking out ---


def test_a_host_that_does_not_come_is_given_up_with_the_reason(tmp_path: Path) -> None:
    plane = Plane(item("u1", health="unhealthy", message="disk full"))
    for uid, reason in (("u1", "unhealthy, disk full"), ("u2", "not known to the plane")):
        waiting = session(plane, tmp_path, uid=uid, name=None, state="registered", wait=False, wait_timeout=1)
        with pytest.raises(PaletteError, match=f"'{uid}' was not registered and healthy within.*{reason}"):
            EdgeHost(waiting).ensure()


def test_a_host_that_comes_is_known_to_later_tasks(tmp_path: Path) -> None:
    plane = Plane(item("u0"))
    waiting = session(plane, tmp_path, uid="u1", name=None, state="registered", wait=False)
    index = host_index(waiting.client, waiting.run)
    assert [host["uid"] for host in index.entries()] == ["u0"]
    plane.hosts.append(item("u1"))
    assert EdgeHost(waiting).ensure()["edge_host"]["uid"] == "u1"
    assert [host["uid"] for host in index.entries()] == ["u0", "u1"]


def test_a_host_that_others_saw_ready_is_not_looked_at_again_until_something_changes(tmp_path: Path) -> None:
    plane = Plane(item("u1"), item("u2"))

    def waiting(uid: str) -> EdgeHost:
        return EdgeHost(session(plane, tmp_path, uid=uid, name=None, state="registered", wait=False, wait_interval=60))

    for uid in ("u1", "u2"):
        assert waiting(uid).ensure()["edge_host"]["uid"] == uid
    assert len(plane.calls) == 1
    waiting("u1").delete({"metadata": {"uid": "u1"}})
    assert waiting("u2").ensure()["edge_host"]["uid"] == "u2"
    assert [call.rpartition("/")[2] for call in plane.calls] == ["search", "u1", "search"]


def test_looks_come_sooner_at_first_and_then_at_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    looks: list[float] = []

    class Late(Plane):
        def __call__(self, method: str, path: str, **more: Any) -> Any:
            looks.append(now[0] - 1000)
            if now[0] >= 1016:
                self.hosts.append(item("u1"))
            return super().__call__(method, path, **more)

    limits: Values = {"wait_timeout": 60, "wait_interval": 5}
    EdgeHost(session(Late(), tmp_path, uid="u1", name=None, state="registered", wait=False, **limits)).ensure()
    assert looks == [0.0, 1.0, 2.0, 3.0, 4.5, 6.75, 10.125, 15.125, 20.125]


def test_machines_leave_before_pools_change_and_control_planes_one_by_one(tmp_path: Path) -> None:
    plane = Plane(machines={"cp": ["a", "b", "c"], "w": ["d", "e", "f"]}, looks=1)
    found = members(plane, tmp_path)
    before = [pool("cp", "a", "b", "c", control_plane=True), pool("w", "d", "e", "f")]
    found.take_out("/config", before, [pool("cp", "a", control_plane=True), pool("w", "f")])
    seen = [call.replace("/config/machinePools/", "").replace("/machines", "") for call in plane.calls]
    assert seen[:4] == ["GET cp", "DELETE cp/m-b", "GET cp/m-b", "GET cp/m-b"], "it is waited for"
    assert seen[4:8] == ["GET cp", "DELETE cp/m-c", "GET cp/m-c", "GET cp/m-c"]
    assert seen[8:11] == ["GET w", "DELETE w/m-d", "DELETE w/m-e"], "workers leave together"


def test_new_workers_come_before_others_leave(tmp_path: Path) -> None:
    found = members(Plane(), tmp_path)
    before = [pool("cp", "a", "b", "c", control_plane=True), pool("w", "d"), pool("v", "e"), pool("u", "f", "g")]
    after = [pool("cp", "a", "b", "x", control_plane=True), pool("w", "y"), pool("v", "e", "z"), pool("u", "f", "d")]
    hosts = {one["name"]: [item["host"] for item in one["hosts"]] for one in found.grown(before, after)}
    assert hosts == {"cp": ["a", "b", "c"], "w": ["d", "y"], "v": ["e"], "u": ["f", "g"]}
    assert found.grown(before, after)[1]["size"] == 2
    assert found.grown(before, before[:1]) == before


def test_hosts_of_a_pool_that_is_removed_leave_only_where_they_go_on_to_another(tmp_path: Path) -> None:
    plane = Plane(machines={"old": ["a", "b"]})
    members(plane, tmp_path).take_out("/config", [pool("old", "a", "b")], [pool("new", "b")])
    assert [call for call in plane.calls if call.startswith("DELETE")] == [
        "DELETE /config/machinePools/old/machines/m-b"
    ]


def test_a_machine_that_does_not_leave_ends_the_task_with_what_to_do(tmp_path: Path) -> None:
    plane = Plane(machines={"w": ["a", "b"]}, looks=99)
    with pytest.raises(PaletteError, match="'a' has not left the cluster 'shop' within wait_timeout, 3 s") as refused:
        members(plane, tmp_path).take_out("/config", [pool("w", "a", "b")], [pool("w", "b")])
    assert refused.value.details["changed"] is True
