# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the kubeadm engine that need no host: routes, ranges, versions, nodes, etcd, packs, what is taken away."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from paletteops_agent.engine import EngineError, Peer, Taint
from paletteops_agent.engine.kubeadm import (
    certificates,
    engine,
    etcd,
    network,
    nft,
    nodes,
    packs,
    preflight,
    probe,
    traces,
)
from paletteops_agent.engine.kubeadm.api import ApiError
from paletteops_agent.engine.kubeadm.config import may_label_itself


def peer(name: str, address: str, cidr: str | None) -> Peer:
    return Peer(name, name, address, False, cidr)


def test_a_route_for_each_other_member_whose_range_is_known() -> None:
    peers = [
        peer("a", "192.0.2.1", "10.244.0.0/24"),
        peer("b", "192.0.2.2", "10.244.1.0/24"),
        peer("c", "192.0.2.3", None),
    ]
    assert network.wanted_routes("192.0.2.1", peers) == [network.Route("10.244.1.0/24", "192.0.2.2")]


def test_routes_of_members_that_left_go_and_changed_ones_are_replaced() -> None:
    wanted = [network.Route("10.244.1.0/24", "192.0.2.2"), network.Route("10.244.2.0/24", "192.0.2.3")]
    present = [
        {"dst": "10.244.1.0/24", "gateway": "192.0.2.2"},
        {"dst": "10.244.2.0/24", "gateway": "192.0.2.9"},
        {"dst": "10.244.7.0/24", "gateway": "192.0.2.7"},
    ]
    add, remove = network.route_changes(wanted, present)
    assert add == [network.Route("10.244.2.0/24", "192.0.2.3")]
    assert remove == ["10.244.7.0/24"]


@pytest.mark.parametrize(
    ("addresses", "pod", "service", "said"),
    [
        (["192.0.2.1"], "10.244.0.0/16", "10.96.0.0/12", None),
        (["10.99.0.5"], "10.244.0.0/16", "10.96.0.0/12", "10.99.0.5 lies inside the service range 10.96.0.0/12"),
        (["10.244.3.4"], "10.244.0.0/16", "10.96.0.0/12", "10.244.3.4 lies inside the pod range 10.244.0.0/16"),
        (["192.0.2.1"], "10.96.0.0/16", "10.96.0.0/12", "overlap"),
        (["192.0.2.1"], "10.244.0.1/16", "10.96.0.0/12", "is not a network"),
    ],
)
def test_ranges_and_addresses(addresses: list[str], pod: str, service: str, said: str | None) -> None:
    problem = network.range_problem(addresses, {"the pod range": pod, "the service range": service})
    assert (problem is None) if said is None else (problem is not None and said in problem)


@pytest.mark.parametrize(
    ("present", "wanted", "fine"),
    [
        ("1.36.1", "1.36.3", True),
        ("1.35.4", "1.36.3", True),
        ("1.36.3", "1.36.3", True),
        ("1.34.4", "1.36.3", False),
        ("1.36.3", "1.36.1", False),
        ("1.9.0", "1.10.0", True),
    ],
)
def test_versions_go_one_minor_up_and_never_down(present: str, wanted: str, fine: bool) -> None:
    assert (engine.skew_problem(present, wanted) is None) is fine


def applied(node: dict[str, Any], change: dict[str, Any] | None) -> dict[str, Any]:
    """What a merge patch makes of an object."""

    def merge(value: Any, over: Any) -> Any:
        if not isinstance(over, dict):
            return over
        base = dict(value) if isinstance(value, dict) else {}
        for key, item in over.items():
            if item is None:
                base.pop(key, None)
            else:
                base[key] = merge(base.get(key), item)
        return base

    return dict(merge(node, change or {}))


def test_labels_and_taints_come_and_go_and_others_stay() -> None:
    node: dict[str, Any] = {
        "metadata": {"labels": {"kubernetes.io/hostname": "a", "theirs": "1"}, "resourceVersion": "1"},
        "spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]},
    }
    taints = nodes.wanted_taints(False, True, [Taint("x", "NoSchedule", "y")])
    with_ours = applied(node, nodes.patch(node, {"ours": "1"}, {"note": "n"}, taints))
    assert with_ours["metadata"]["labels"] == {"kubernetes.io/hostname": "a", "theirs": "1", "ours": "1"}
    assert {"key": "x", "value": "y", "effect": "NoSchedule"} in with_ours["spec"]["taints"]
    assert nodes.patch(with_ours, {"ours": "1"}, {"note": "n"}, taints) is None
    without = applied(with_ours, nodes.patch(with_ours, {}, {}, []))
    assert without["metadata"]["labels"] == node["metadata"]["labels"]
    assert without["spec"]["taints"] == node["spec"]["taints"]
    assert without["metadata"].get("annotations") == {}


def test_what_nobody_said_is_not_changed() -> None:
    node = {
        "metadata": {"labels": {"a": "1"}, "resourceVersion": "1"},
        "spec": {"taints": [{"key": "t", "effect": "e"}]},
    }
    assert nodes.patch(node, None, None, None) is None


def test_a_kubelet_leaves_alone_what_it_may_not_set() -> None:
    node = {"metadata": {"labels": {}, "resourceVersion": "1"}}
    change = nodes.patch(node, {"node-role.kubernetes.io/x": "", "mine": "1"}, {}, None, may_label_itself)
    assert change is not None and change["metadata"]["labels"] == {"mine": "1"}


def test_a_control_plane_without_workloads_gets_kubernetes_own_taint() -> None:
    assert nodes.wanted_taints(True, False, []) == [nodes.CONTROL_PLANE_TAINT]
    assert nodes.wanted_taints(True, True, []) == []
    node = {"metadata": {"resourceVersion": "1"}, "spec": {"taints": [dict(nodes.CONTROL_PLANE_TAINT)]}}
    assert applied(node, nodes.patch(node, {}, {}, []))["spec"]["taints"] == []


MEMBERS = json.dumps(
    {
        "members": [
            {"ID": 10, "name": "cp1", "peerURLs": ["https://192.0.2.1:2380"]},
            {"ID": 255, "peerURLs": ["https://192.0.2.11:2380"], "isLearner": True},
        ]
    }
)


def test_members_of_etcd_are_found_by_address() -> None:
    items = etcd.parse_members(MEMBERS)
    found = etcd.find_member(items, "192.0.2.11", "cp2")
    assert found is not None and found.hex_id == "ff" and found.learner
    assert etcd.find_member(items, "192.0.2.111", "cp9") is None


def test_snapshots_beyond_the_newest_go_and_no_other_file() -> None:
    names = [
        "etcd-20260101T000000Z.db",
        "etcd-20260103T000000Z.db",
        "etcd-20260102T000000Z-before-1.36.3.db",
        "mine.db",
    ]
    assert etcd.surplus(names, 2) == ["etcd-20260101T000000Z.db"]
    assert etcd.SNAPSHOT_NAME.match(etcd.snapshot_name(0, "before-1.36.3"))


def test_all_hosts_that_restore_one_file_become_one_cluster(tmp_path: Path) -> None:
    snapshot = tmp_path / "s.db"
    snapshot.write_bytes(b"content")
    planes = {"cp1": "192.0.2.1", "cp2": "192.0.2.2"}
    both = [etcd.restore_arguments(snapshot, tmp_path, name, planes) for name in planes]
    shared = [{word for word in words if "initial-cluster" in word} for words in both]
    assert shared[0] == shared[1] and len(shared[0]) == 2
    assert "--name=cp1" in both[0] and "--initial-advertise-peer-urls=https://192.0.2.2:2380" in both[1]
    with pytest.raises(EngineError, match="cp9"):
        etcd.restore_arguments(snapshot, tmp_path, "cp9", planes)


def test_the_manifest_of_etcd_names_the_restored_members_alone() -> None:
    manifest = "  - etcd\n    - --initial-cluster=a=https://192.0.2.9:2380\n    - --name=a\n"
    text = etcd.restored_manifest(manifest, {"a": "192.0.2.1", "b": "192.0.2.2"})
    assert "    - --initial-cluster=a=https://192.0.2.1:2380,b=https://192.0.2.2:2380\n" in text
    assert "192.0.2.9" not in text and "--name=a" in text
    with pytest.raises(EngineError):
        etcd.restored_manifest("nothing", {"a": "192.0.2.1"})


def test_certificates_that_are_due() -> None:
    end = certificates.parse_end("notAfter=Nov  4 22:00:00 2027 GMT\n")
    assert end == datetime.datetime(2027, 11, 4, 22, tzinfo=datetime.timezone.utc)
    assert certificates.parse_end("unable to load") is None
    items = [certificates.Found(name, end, "") for name in ("apiserver", "ca", "kubelet-client")]
    month = datetime.timedelta(days=30)
    assert certificates.due(items, end - datetime.timedelta(days=29), month) == ["apiserver"]
    assert certificates.due(items, end - datetime.timedelta(days=31), month) == []


def test_join_tokens_end_when_they_should() -> None:
    until = datetime.datetime(2026, 1, 1, 0, 15, tzinfo=datetime.timezone.utc)
    secret = engine.token_secret("abcdef.0123456789abcdef", until)
    assert secret["stringData"]["expiration"] == "2026-01-01T00:15:00Z"
    assert secret["metadata"]["name"] == "bootstrap-token-abcdef"


def test_objects_of_kubectls_output() -> None:
    text = '{"kind": "A", "metadata": {"name": "a"}}\n{"kind": "List", "items": [{"kind": "B"}, {"kind": "C"}]}\n'
    assert [item["kind"] for item in packs.read_objects(text)] == ["A", "B", "C"]
    assert packs.read_objects("") == []


def test_namespaces_and_definitions_come_first() -> None:
    items = [{"kind": "Deployment"}, {"kind": "Namespace"}, {"kind": "CustomResourceDefinition"}, {"kind": "Service"}]
    first, rest = packs.in_order(items)
    assert [item["kind"] for item in first] == ["Namespace", "CustomResourceDefinition"]
    assert [item["kind"] for item in rest] == ["Deployment", "Service"]


def test_the_list_of_a_pack_can_be_read_again() -> None:
    keys = [packs.ObjectKey("v1", "ConfigMap", "shop", "a"), packs.ObjectKey("v1", "Namespace", "", "shop")]
    item = packs.inventory_object("n", keys, "d", "1")
    assert sorted(packs.inventory_keys(item)) == sorted(keys)
    assert packs.inventory_keys(None) == []
    names = {packs.inventory_name(uid, name) for uid in ("p", "q") for name in ("My Pack", "my-pack", "ä" * 90)}
    assert len(names) == 6 and all(len(name) <= 63 for name in names)


SAVED = """*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A KUBE-SERVICES -j RETURN
COMMIT
"""


def test_of_rules_only_jumps_into_chains_that_go_are_taken() -> None:
    found = traces.doomed_rules(SAVED.splitlines(), {"KUBE-SERVICES"})
    assert found == [
        ["-D", "PREROUTING", "-m", "comment", "--comment", "kubernetes service portals", "-j", "KUBE-SERVICES"]
    ]


def test_mounts_are_taken_from_the_deepest_up_and_the_folder_itself_is_not() -> None:
    table = "\n".join(
        f"1 1 0:1 / {point} rw - tmpfs tmpfs rw"
        for point in (
            "/",
            "/var/lib/kubelet",
            "/var/lib/kubelet/a",
            "/var/lib/kubelet/a/b\\040c",
            "/var/lib/kubelets/x",
        )
    )
    assert traces.mounts_below(["/var/lib/kubelet"], table) == ["/var/lib/kubelet/a/b c", "/var/lib/kubelet/a"]


@pytest.mark.parametrize(
    ("before", "goes"),
    [
        ({"apparmor": ["lsb_release"]}, True),
        ({"apparmor": ["cri-containerd.apparmor.d", "lsb_release"]}, False),
        # a record of an agent that did not look
        ({}, False),
    ],
)
def test_the_profile_of_containers_goes_when_it_came_with_them(
    tmp_path: Path, before: dict[str, Any], goes: bool
) -> None:
    loaded = ["cri-containerd.apparmor.d (enforce)", "lsb_release (enforce)", "a name (of a kind) (complain)"]
    (tmp_path / "profiles").write_text("\n".join(loaded) + "\n")
    assert traces.profiles(tmp_path) == {"cri-containerd.apparmor.d", "lsb_release", "a name (of a kind)"}
    traces.clean_profiles(before, tmp_path, tmp_path / "proc")
    asked = tmp_path / ".remove"
    assert (asked.read_text() if asked.exists() else "") == ("cri-containerd.apparmor.d" if goes else "")


def test_processes_under_a_profile_are_seen(tmp_path: Path) -> None:
    for number, label in ((1, "unconfined"), (20, "cri-containerd.apparmor.d (enforce)")):
        (tmp_path / str(number) / "attr").mkdir(parents=True)
        (tmp_path / str(number) / "attr" / "current").write_text(f"{label}\n")
    assert traces.confined("cri-containerd.apparmor.d", tmp_path)
    assert not traces.confined("docker-default", tmp_path)
    (tmp_path / "profiles").write_text("cri-containerd.apparmor.d (enforce)\n")
    traces.clean_profiles({"apparmor": []}, tmp_path, tmp_path)
    assert not (tmp_path / ".remove").exists()


@pytest.mark.parametrize(
    ("sysctls", "present", "left", "came"),
    [
        ({}, [traces.BRIDGE_SETTING], set(), True),
        # a bridge that did without it may do so again; one that came since may need it
        ({}, [traces.BRIDGE_SETTING], {"virbr0"}, True),
        ({}, [traces.BRIDGE_SETTING], {"virbr0", "docker0"}, False),
        ({traces.BRIDGE_SETTING: "0"}, [traces.BRIDGE_SETTING], set(), False),
        ({}, [], set(), False),
    ],
)
def test_the_filter_of_bridges_goes_when_it_came_with_the_cluster(
    sysctls: dict[str, str], present: list[str], left: set[str], came: bool
) -> None:
    before = {"sysctls": sysctls, "interfaces": ["eth0", "lo", "virbr0"]}
    assert traces.filter_came(before, present, left) is came


def test_commands_that_are_missing_are_named_with_their_package() -> None:
    assert preflight.missing_commands([*preflight.COMMANDS, "nft"]) == []
    found = preflight.missing_commands([name for name in preflight.COMMANDS if name != "openssl"])
    assert [item.message for item in found] == [
        "the command openssl is missing; install openssl",
        "neither nft nor iptables is there; install nftables",
    ]


def test_a_look_at_the_disk_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for root in (tmp_path / "var" / "lib" / "containerd", tmp_path / "there"):
        assert probe.snapshotter(root) in ("overlayfs", "native")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_netlink_messages_are_read_as_they_are_written() -> None:
    name = nft.attribute(nft.TABLE_ATTRIBUTE, b"kube-proxy\0")
    policy = nft.attribute(nft.POLICY_ATTRIBUTE, b"\0\0\0\1")
    assert len(name) % 4 == 0
    stream = nft.message(7, 0, 1, 2, payload=name + policy) + nft.message(nft.DONE, 0, 1, 0)
    (kind, body), (last, _) = nft.messages(stream)
    assert (kind, last) == (7, nft.DONE)
    assert body[0] == 2
    assert dict(nft.attributes(body[4:])) == {1: b"kube-proxy\0", 5: b"\0\0\0\1"}


def test_netlink_rubbish_ends_the_reading() -> None:
    assert list(nft.messages(b"\0" * 40)) == []
    assert list(nft.attributes(b"\1\0\1\0rest")) == []


def test_hosts_that_join_side_by_side_get_one_key_of_the_certificates(tmp_path: Path) -> None:
    lead = engine.KubeadmEngine(tmp_path)
    first = lead._certificate_key("a")
    assert len(first) == 64 and lead._certificate_key("a") == first
    assert lead._certificate_key("b") != first
    assert engine.KubeadmEngine(tmp_path)._certificate_key("a") != first


class Answering:
    """Stands for the client of an API server that may be away."""

    def __init__(self) -> None:
        self.away = False

    def node(self, name: str) -> dict[str, object] | None:
        if self.away:
            raise ApiError(0, "NoAnswer", "connection refused")
        ready = {"type": "Ready", "status": "True"}
        return {"status": {"conditions": [ready], "nodeInfo": {"kubeletVersion": "v1.36.3"}}}


def test_a_node_stays_what_it_was_while_the_api_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = engine.KubeadmEngine(tmp_path)
    journal = {"phase": "in", "cluster_uid": "one", "node_name": "h1", "version": "1.36.3", "pod_cidr": None}
    here._keep(journal)
    api = Answering()
    monkeypatch.setattr(here, "_api", lambda journal, timeout: api)
    found = here.node()
    assert found is not None and found.ready
    api.away = True
    assert here.node() == found
    monkeypatch.setattr(engine, "NODE_UNKNOWN_SECONDS", 0.0)
    late = here.node()
    assert late is not None and not late.ready
    monkeypatch.undo()
    monkeypatch.setattr(here, "_api", lambda journal, timeout: api)
    here._keep({**journal, "cluster_uid": "another"})
    other = here.node()
    assert other is not None and not other.ready, "what was so in another cluster says nothing of this one"
