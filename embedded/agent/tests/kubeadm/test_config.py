# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration that the kubeadm engine writes, as data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from paletteops_agent.engine.kubeadm import config
from paletteops_agent.engine.kubeadm.layout import Layout
from paletteops_agent.engine.kubeadm.probe import HostFacts

FACTS = HostFacts(
    cgroup_version=2,
    cgroup_writable=True,
    in_container=False,
    may_lower_oom_score=True,
    apparmor=True,
    conntrack_writable=True,
    kernel_settings=True,
    swap=False,
    resolv_conf=True,
    nftables=True,
    snapshotter="overlayfs",
)
NSPAWN = dataclasses.replace(
    FACTS,
    cgroup_version=1,
    in_container=True,
    may_lower_oom_score=False,
    apparmor=False,
    conntrack_writable=False,
)
LAYOUT = Layout(Path("/"))
NODE = config.Node("cp1", "192.0.2.11", True, [], {"shop/zone": "a", "node-role.kubernetes.io/x": ""})


def init(**more: Any) -> dict[str, dict[str, Any]]:
    values: dict[str, Any] = {
        "node": NODE,
        "cluster_name": "shop",
        "version": "1.36.3",
        "endpoint": "192.0.2.10",
        "port": 6443,
        "bind_port": 6443,
        "pod_cidr": "10.244.0.0/16",
        "service_cidr": "10.96.0.0/12",
        "layout": LAYOUT,
        "facts": FACTS,
        "bootstrap_token": "abcdef.0123456789abcdef",
    }
    return {item["kind"]: item for item in config.init(**{**values, **more})}


def test_init_names_the_cluster_its_endpoint_and_ranges() -> None:
    documents = init()
    cluster = documents["ClusterConfiguration"]
    assert cluster["controlPlaneEndpoint"] == "192.0.2.10:6443"
    assert cluster["kubernetesVersion"] == "v1.36.3"
    assert cluster["networking"] == {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12"}
    assert "192.0.2.10" in cluster["apiServer"]["certSANs"]
    assert documents["InitConfiguration"]["localAPIEndpoint"]["advertiseAddress"] == "192.0.2.11"


def test_the_token_of_init_is_ours_and_short_lived() -> None:
    tokens = init()["InitConfiguration"]["bootstrapTokens"]
    assert [token["ttl"] for token in tokens] == ["1m0s"]


def test_kubelets_do_not_claim_labels_of_kubernetes_own_domains() -> None:
    arguments = init()["InitConfiguration"]["nodeRegistration"]["kubeletExtraArgs"]
    assert {"name": "node-labels", "value": "shop/zone=a"} in arguments
    assert {"name": "node-ip", "value": "192.0.2.11"} in arguments


@pytest.mark.parametrize(
    ("key", "may"),
    [
        ("zone", True),
        ("shop.example/zone", True),
        ("node.kubernetes.io/pool", True),
        ("kubernetes.io/role", False),
        ("node-role.kubernetes.io/worker", False),
        ("x.k8s.io/y", False),
    ],
)
def test_labels_that_a_node_may_set(key: str, may: bool) -> None:
    assert config.may_label_itself(key) is may


def test_overrides_are_merged_into_their_document() -> None:
    documents = init(
        override={
            "clusterConfiguration": {"apiServer": {"extraArgs": [{"name": "v", "value": "2"}]}},
            "kubeletConfiguration": {"maxPods": 50},
        }
    )
    assert documents["ClusterConfiguration"]["apiServer"]["extraArgs"] == [{"name": "v", "value": "2"}]
    assert documents["ClusterConfiguration"]["apiServer"]["certSANs"]
    assert documents["KubeletConfiguration"]["maxPods"] == 50


def test_what_a_host_cannot_do_is_in_its_patch_and_not_in_the_clusters() -> None:
    patch = config.kubelet_patch(NSPAWN)
    assert patch["cgroupDriver"] == "cgroupfs" and patch["failCgroupV1"] is False
    assert "cgroupDriver" not in init(facts=NSPAWN)["KubeletConfiguration"]
    assert config.kubelet_patch(FACTS)["cgroupDriver"] == "systemd"
    assert "failSwapOn" not in config.kubelet_patch(FACTS)
    assert config.kubelet_patch(dataclasses.replace(FACTS, swap=True))["failSwapOn"] is False


def test_proxy_mode_and_conntrack_follow_the_kernel() -> None:
    assert init()["KubeProxyConfiguration"] == {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
    }
    old = init(facts=dataclasses.replace(NSPAWN, nftables=False))["KubeProxyConfiguration"]
    assert old["mode"] == "iptables" and old["conntrack"]["maxPerCore"] == 0


def test_a_slow_machine_gets_time_for_its_api_server() -> None:
    joined = config.join(
        node=NODE,
        endpoint="192.0.2.10:6443",
        token="abcdef.0123456789abcdef",
        ca_cert_hashes=[],
        certificate_key="00",
        bind_port=6443,
        layout=LAYOUT,
        facts=FACTS,
    )
    upgraded = config.upgrade(version="1.36.3", layout=LAYOUT, facts=FACTS)
    for item in (init()["InitConfiguration"], *joined, *upgraded):
        assert item["timeouts"]["kubernetesAPICall"] == "5m0s"


def test_checks_are_ignored_only_where_they_cannot_pass() -> None:
    assert config.ignored_checks(FACTS) == []
    assert config.ignored_checks(NSPAWN) == ["SystemVerification"]


def test_join_of_a_worker_and_of_a_control_plane() -> None:
    common: dict[str, Any] = {
        "endpoint": "192.0.2.10:6443",
        "token": "abcdef.0123456789abcdef",
        "ca_cert_hashes": ["sha256:00"],
        "bind_port": 6443,
        "layout": LAYOUT,
        "facts": FACTS,
    }
    (worker,) = config.join(node=dataclasses.replace(NODE, control_plane=False), certificate_key=None, **common)
    assert "controlPlane" not in worker
    assert worker["discovery"]["bootstrapToken"]["caCertHashes"] == ["sha256:00"]
    (plane,) = config.join(node=NODE, certificate_key="k", **common)
    assert plane["controlPlane"]["certificateKey"] == "k"
    assert plane["controlPlane"]["localAPIEndpoint"]["advertiseAddress"] == "192.0.2.11"


def test_documents_are_one_yaml_stream_of_json() -> None:
    text = config.documents([{"kind": "A"}, {"kind": "B"}])
    assert [json.loads(part)["kind"] for part in text.split("---\n")] == ["A", "B"]


def test_containerd_has_its_own_places() -> None:
    text = config.containerd(LAYOUT, NSPAWN, "registry.k8s.io/pause:3.10.2", own_network=True)
    assert 'root = "/var/lib/spectro/containerd"' in text
    assert 'address = "/run/spectro/containerd/containerd.sock"' in text
    assert 'conf_dir = "/opt/spectrocloud/kubernetes/cni.d"' in text
    assert "restrict_oom_score_adj = true" in text and "disable_apparmor = true" in text
    assert "SystemdCgroup = false" in text
    assert '"/run/containerd' not in text and '"/var/lib/containerd' not in text
    other = config.containerd(LAYOUT, FACTS, "pause:1", own_network=False)
    assert 'conf_dir = "/etc/cni/net.d"' in other and "SystemdCgroup = true" in other


def test_toml_of_nested_maps() -> None:
    tomllib = pytest.importorskip("tomllib")
    value = {"version": 3, "a": {"b.c": {"on": True, "list": ["x"], "text": 'q"uote'}}}
    assert tomllib.loads(config.toml(value)) == value


def test_the_pod_network_of_a_node() -> None:
    bridge = json.loads(config.conflist("10.244.3.0/24", "/run/spectro/cni"))["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.3.0/24"}]]
    assert bridge["ipMasq"] is False


def test_units_run_what_is_current_and_do_not_take_names_of_others() -> None:
    units = config.units(LAYOUT, "/usr/bin/vip", 4096)
    assert set(units) == {"spectro-containerd.service", "spectro-kubelet.service", "spectro-vip.service"}
    assert "ExecStart=/opt/spectrocloud/kubernetes/current/bin/kubelet" in units["spectro-kubelet.service"]
    assert "Alias=kubelet.service" in units["spectro-kubelet.service"]
    assert all("Slice=spectro.slice" in text for text in units.values())
    assert "LimitNOFILE=4096" in units["spectro-containerd.service"]


def test_a_vip_has_the_port_of_the_api_server() -> None:
    assert config.default_bind_port("VIP", 7443) == 7443
    assert config.default_bind_port("External", 443) == 6443
