# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration that the engine writes: kubeadm's (v1beta4), containerd's, systemd's and the pod network's.

Everything here is data made from what is wanted and from what the host is able to do (``probe.HostFacts``). What is
the same for the whole cluster goes to kubeadm's documents, what differs from host to host to kubeadm's *patches*, so
that an upgrade does not carry one host's peculiarities to the others. JSON is YAML, so no YAML writer is needed.

Formats: Kubernetes' reference pages "kubeadm Configuration (v1beta4)", "Kubelet Configuration (v1beta1)" and
"kube-proxy Configuration (v1alpha1)"; containerd's configuration version 3.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .layout import (
    API_PORT,
    BRIDGE,
    CONTAINERD_UNIT,
    KUBELET_ALIAS,
    KUBELET_CONF,
    KUBELET_DIR,
    KUBERNETES_DIR,
    NETWORK_NAME,
    SLICE,
    VIP_UNIT,
    Layout,
)
from .probe import HostFacts

# instances of inotify that root has at least; pods that watch files share them with the kubelet and containerd
INOTIFY = 1024
KUBEADM_API = "kubeadm.k8s.io/v1beta4"
# kubeadm gives a call to the API a minute, and its first call waits for the API server that it has just started: an
# emulated machine needed more. What else kubeadm waits for has four minutes and more by itself.
TIMEOUTS = {"kubernetesAPICall": "5m0s"}
Json = dict[str, Any]

# sections of an edge-k8s pack's kubeadm options that may be overridden, and the documents they belong to
OVERRIDES = {
    "clusterConfiguration": "ClusterConfiguration",
    "kubeletConfiguration": "KubeletConfiguration",
    "kubeProxyConfiguration": "KubeProxyConfiguration",
}


@dataclass(frozen=True)
class Node:
    """What kubeadm needs to know of the host itself."""

    name: str
    address: str
    control_plane: bool
    taints: list[Json]
    labels: Mapping[str, str]


def documents(items: list[Json]) -> str:
    return "---\n".join(json.dumps(item, indent=1) + "\n" for item in items)


def merge(base: Any, over: Any) -> Any:
    """Maps are merged, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
    return over


def kubelet_arguments(node: Node) -> list[Json]:
    arguments = [{"name": "node-ip", "value": node.address}]
    labels = {key: value for key, value in node.labels.items() if may_label_itself(key)}
    if labels:
        arguments.append({"name": "node-labels", "value": ",".join(f"{k}={v}" for k, v in sorted(labels.items()))})
    return arguments


def may_label_itself(key: str) -> bool:
    """Kubelets may not set labels of Kubernetes' own domains (NodeRestriction), a few prefixes apart."""
    domain = key.partition("/")[0] if "/" in key else ""
    if domain in ("kubernetes.io", "k8s.io") or domain.endswith((".kubernetes.io", ".k8s.io")):
        return domain in ("kubelet.kubernetes.io", "node.kubernetes.io")
    return True


def ignored_checks(facts: HostFacts) -> list[str]:
    """Checks of kubeadm that cannot pass on such a host although Kubernetes runs there."""
    return ["SystemVerification"] if facts.in_container or facts.cgroup_version == 1 else []


def registration(node: Node, layout: Layout, facts: HostFacts) -> Json:
    return {
        "name": node.name,
        "criSocket": f"unix://{layout.containerd_socket}",
        "imagePullPolicy": "IfNotPresent",
        "taints": [{key: taint[key] for key in ("key", "value", "effect") if taint.get(key)} for taint in node.taints],
        "kubeletExtraArgs": kubelet_arguments(node),
        "ignorePreflightErrors": ignored_checks(facts),
    }


def init(
    *,
    node: Node,
    cluster_name: str,
    version: str,
    endpoint: str,
    port: int,
    bind_port: int,
    pod_cidr: str,
    service_cidr: str,
    layout: Layout,
    facts: HostFacts,
    bootstrap_token: str,
    certificate_key: str | None = None,
    override: Json | None = None,
) -> list[Json]:
    """Documents for ``kubeadm init``. ``bootstrap_token`` dies a minute later: each joining host gets its own."""
    start: Json = {
        "apiVersion": KUBEADM_API,
        "kind": "InitConfiguration",
        "bootstrapTokens": [{"token": bootstrap_token, "ttl": "1m0s", "usages": ["signing", "authentication"]}],
        "localAPIEndpoint": {"advertiseAddress": node.address, "bindPort": bind_port},
        "nodeRegistration": registration(node, layout, facts),
        "patches": {"directory": str(layout.patches)},
        "timeouts": dict(TIMEOUTS),
    }
    if certificate_key:
        start["certificateKey"] = certificate_key
    cluster: Json = {
        "apiVersion": KUBEADM_API,
        "kind": "ClusterConfiguration",
        "clusterName": cluster_name,
        "kubernetesVersion": f"v{version}",
        "controlPlaneEndpoint": join_host_port(endpoint, port),
        "networking": {"podSubnet": pod_cidr, "serviceSubnet": service_cidr},
        "apiServer": {"certSANs": sorted({endpoint, "localhost", "127.0.0.1"})},
    }
    items = [start, cluster, kubelet_cluster(), kube_proxy(facts)]
    for section, kind in OVERRIDES.items():
        if override and section in override:
            items = [merge(item, override[section]) if item["kind"] == kind else item for item in items]
    return items


def kubelet_cluster() -> Json:
    """What all kubelets of the cluster share."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "rotateCertificates": True,
    }


def kubelet_patch(facts: HostFacts) -> Json:
    """What this host's kubelet needs, as a merge patch."""
    patch: Json = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": facts.cgroup_driver,
    }
    if facts.cgroup_version == 1:
        patch["failCgroupV1"] = False
    if facts.swap:
        patch["failSwapOn"] = False
        patch["memorySwap"] = {"swapBehavior": "NoSwap"}
    if not facts.resolv_conf:
        patch["resolvConf"] = ""
    return patch


def kube_proxy(facts: HostFacts) -> Json:
    config: Json = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": facts.proxy_mode,
    }
    if not facts.conntrack_writable:
        # zero: leave what the kernel has
        config["conntrack"] = {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        }
    return config


def join(
    *,
    node: Node,
    endpoint: str,
    token: str,
    ca_cert_hashes: list[str],
    certificate_key: str | None,
    bind_port: int,
    layout: Layout,
    facts: HostFacts,
) -> list[Json]:
    """Document for ``kubeadm join``; ``endpoint`` is host:port."""
    item: Json = {
        "apiVersion": KUBEADM_API,
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {"token": token, "apiServerEndpoint": endpoint, "caCertHashes": list(ca_cert_hashes)}
        },
        "nodeRegistration": registration(node, layout, facts),
        "patches": {"directory": str(layout.patches)},
        "timeouts": dict(TIMEOUTS),
    }
    if node.control_plane:
        item["controlPlane"] = {
            "localAPIEndpoint": {"advertiseAddress": node.address, "bindPort": bind_port},
            "certificateKey": certificate_key,
        }
    return [item]


def upgrade(*, version: str, layout: Layout, facts: HostFacts) -> list[Json]:
    """Document for ``kubeadm upgrade apply`` and ``kubeadm upgrade node``."""
    common: Json = {
        "certificateRenewal": True,
        "etcdUpgrade": True,
        "imagePullPolicy": "IfNotPresent",
        "patches": {"directory": str(layout.patches)},
        "ignorePreflightErrors": ignored_checks(facts),
    }
    return [
        {
            "apiVersion": KUBEADM_API,
            "kind": "UpgradeConfiguration",
            "apply": {**common, "kubernetesVersion": f"v{version}"},
            "node": common,
            "timeouts": dict(TIMEOUTS),
        }
    ]


def reset(layout: Layout) -> list[Json]:
    """Document for ``kubeadm reset``; the etcd member is taken out by the engine itself, with a deadline."""
    return [
        {
            "apiVersion": KUBEADM_API,
            "kind": "ResetConfiguration",
            "criSocket": f"unix://{layout.containerd_socket}",
            "force": True,
            "cleanupTmpDir": True,
            "skipPhases": ["remove-etcd-member"],
        }
    ]


def containerd(layout: Layout, facts: HostFacts, pause_image: str, own_network: bool) -> str:
    """containerd's configuration. ``own_network``: the pod network is the engine's own and not a pack's pods'."""
    return toml(
        {
            "version": 3,
            "root": str(layout.containerd_root),
            "state": str(layout.containerd_state),
            "grpc": {"address": str(layout.containerd_socket)},
            "plugins": {
                "io.containerd.cri.v1.images": {
                    "snapshotter": facts.snapshotter,
                    "pinned_images": {"sandbox": pause_image},
                },
                "io.containerd.cri.v1.runtime": {
                    "disable_apparmor": not facts.apparmor,
                    "restrict_oom_score_adj": not facts.may_lower_oom_score,
                    "cni": {
                        "bin_dirs": [str(layout.cni_bin), "/opt/cni/bin"],
                        "conf_dir": str(layout.cni_conf) if own_network else "/etc/cni/net.d",
                    },
                    "containerd": {
                        "default_runtime_name": "runc",
                        "runtimes": {
                            "runc": {
                                "runtime_type": "io.containerd.runc.v2",
                                "options": {
                                    "BinaryName": str(layout.bin / "runc"),
                                    "SystemdCgroup": facts.cgroup_driver == "systemd",
                                },
                            }
                        },
                    },
                },
                # both have fixed paths that a containerd of the host may use
                "io.containerd.nri.v1.nri": {"disable": True},
                "io.containerd.internal.v1.opt": {"path": str(layout.containerd_root / "opt")},
            },
        }
    )


def toml(value: Mapping[str, Any], name: str = "") -> str:
    """Plain TOML of nested maps, strings, numbers, booleans and lists of strings."""
    lines = [f"{_key(key)} = {json.dumps(item)}" for key, item in value.items() if not isinstance(item, Mapping)]
    text = "".join(f"{line}\n" for line in lines)
    if name and lines:
        text = f"\n[{name}]\n{text}"
    for key, item in value.items():
        if isinstance(item, Mapping):
            text += toml(item, f"{name}.{_key(key)}" if name else _key(key))
    return text


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else json.dumps(name)


def units(layout: Layout, vip_command: str, nofile: int) -> dict[str, str]:
    """systemd units by name. ``vip_command`` runs the holder of the VIP (``vip.py``)."""
    path = f"{layout.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        CONTAINERD_UNIT: f"""# Made by the agent; removed by it
[Unit]
Description=Container runtime of the agent
StartLimitIntervalSec=0
After=network.target local-fs.target

[Service]
Type=notify
Slice={SLICE}
Environment=PATH={path}
ExecStartPre=-/bin/sh -c 'modprobe -a overlay br_netfilter 2>/dev/null'
ExecStart={layout.bin}/containerd --config {layout.containerd_config}
Delegate=yes
KillMode=process
Restart=always
RestartSec=2
LimitNOFILE={nofile}
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
""",
        "spectro-kubelet.service": f"""# Made by the agent; removed by it
[Unit]
Description=Kubelet of the agent
StartLimitIntervalSec=0
After=network-online.target {CONTAINERD_UNIT}
Wants=network-online.target
Requires={CONTAINERD_UNIT}
ConditionPathExists={KUBELET_DIR}/config.yaml

[Service]
Slice={SLICE}
Environment=PATH={path}
EnvironmentFile=-{KUBELET_DIR}/kubeadm-flags.env
ExecStartPre=-/bin/sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
ExecStartPre=-/bin/sh -c 'echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables'
ExecStartPre=-/bin/sh -c 'cd /proc/sys/fs/inotify; \\
  [ $$(cat max_user_instances) -ge {INOTIFY} ] || echo {INOTIFY} > max_user_instances'
ExecStart={layout.bin}/kubelet --bootstrap-kubeconfig={KUBERNETES_DIR}/bootstrap-kubelet.conf \\
  --kubeconfig={KUBELET_CONF} --config={KUBELET_DIR}/config.yaml $KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
Alias={KUBELET_ALIAS}
""",
        VIP_UNIT: f"""# Made by the agent; removed by it
[Unit]
Description=Holder of the control plane's virtual address
StartLimitIntervalSec=0
After=network-online.target
Wants=network-online.target
ConditionPathExists={layout.vip_config}

[Service]
Slice={SLICE}
ExecStart={vip_command}
ExecStopPost={vip_command} --release
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
""",
    }


def conflist(pod_cidr: str, cni_data: str) -> str:
    """The pod network of one node: a bridge with the node's range; what leaves the pod network is masqueraded by a
    rule of the engine, because the plugin's own would hide pods from pods of other nodes."""
    network = ipaddress.ip_network(pod_cidr)
    return (
        json.dumps(
            {
                "cniVersion": "1.0.0",
                "name": NETWORK_NAME,
                "plugins": [
                    {
                        "type": "bridge",
                        "bridge": BRIDGE,
                        "isGateway": True,
                        "hairpinMode": True,
                        "ipMasq": False,
                        "ipam": {
                            "type": "host-local",
                            "dataDir": cni_data,
                            "ranges": [[{"subnet": str(network)}]],
                            "routes": [{"dst": "0.0.0.0/0"}],
                        },
                    },
                    {"type": "portmap", "capabilities": {"portMappings": True}},
                ],
            },
            indent=1,
        )
        + "\n"
    )


def join_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def default_bind_port(endpoint_type: str, port: int) -> int:
    """A VIP is the API server's own address, so both have one port; behind an external endpoint it is Kubernetes'."""
    return port if endpoint_type == "VIP" else API_PORT
