#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes by hand: kubeadm on real hosts with what a content bundle holds, and nothing of this project on them.

The measuring stick for agent mode's clusters, and the proof of a bundle's binaries. `bare.py BUNDLE` makes a cluster of
three and says how long each step took.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from e2e.hosts import Host, Hosts, HostsError, ended_by_signals, wait_until

POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/12"
SOCKET = "/run/containerd/containerd.sock"
#: packages of the hosts that Kubernetes calls
PACKAGES = ["conntrack", "iptables", "nftables", "ethtool", "socat"]

CONTAINERD = """\
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/opt/cni/bin"]
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
BinaryName = "/usr/local/bin/runc"
"""
CONTAINERD_UNIT = """\
[Service]
Type=notify
ExecStart=/usr/local/bin/containerd
Delegate=yes
KillMode=process
LimitNOFILE=20000
OOMScoreAdjust=-999
[Install]
WantedBy=multi-user.target
"""
KUBELET_UNIT = """\
[Unit]
After=containerd.service
[Service]
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \\
  --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
"""


@contextlib.contextmanager
def unpacked(bundle: Path) -> Iterator[Path]:
    """The members of a bundle in a folder."""
    with tempfile.TemporaryDirectory(prefix="paletteops-bundle-", dir="/var/tmp") as folder:
        with (
            subprocess.Popen(["zstd", "-dcq", str(bundle)], stdout=subprocess.PIPE) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as tar,
        ):
            tar.extractall(folder, filter="data")
        yield Path(folder)


def install(host: Host, content: Path) -> None:
    """Binaries, containerd and images."""
    description = json.loads((content / "bundle.json").read_text("utf-8"))
    host.shell(f"apt-get -qq update && apt-get -qq install -y --no-install-recommends {' '.join(PACKAGES)} >/dev/null")
    for source, target in (("bin", "usr/local/bin"), ("cni", "opt/cni/bin")):
        (host.root / target).mkdir(parents=True, exist_ok=True)
        for path in sorted((content / source).iterdir()):
            host.copy(path, f"/{target}/{path.name}")
    host.write("/etc/containerd/config.toml", CONTAINERD.format(pause=description["kubernetes"]["images"]["pause"]))
    host.write("/etc/systemd/system/containerd.service", CONTAINERD_UNIT)
    host.write("/etc/systemd/system/kubelet.service", KUBELET_UNIT)
    host.write("/etc/sysctl.d/90-kubernetes.conf", "net.ipv4.ip_forward = 1\n")
    host.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "enable", "-q", "--now", "containerd"])
    host.run(["systemctl", "enable", "-q", "kubelet"])
    for image in sorted((content / "images").iterdir()):
        # on the host's own disk, as an administrator would
        host.copy(image, f"/var/tmp/{image.name}")
        host.run(["ctr", "-n", "k8s.io", "images", "import", f"/var/tmp/{image.name}"])
        host.run(["rm", f"/var/tmp/{image.name}"])


def documents(host: Host, version: str) -> list[dict[str, Any]]:
    """kubeadm's configuration, for hosts whose kernel is shared with others: nothing of it is set anew."""
    return [
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": host.address},
            "nodeRegistration": {"name": host.name, "criSocket": f"unix://{SOCKET}", "imagePullPolicy": "IfNotPresent"},
        },
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "kubernetesVersion": f"v{version}",
            "controlPlaneEndpoint": f"{host.address}:6443",
            "networking": {"podSubnet": POD_RANGE, "serviceSubnet": SERVICE_RANGE},
        },
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
        },
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        },
    ]


def init(host: Host, version: str) -> str:
    """Make the cluster; the command with which others join it."""
    text = "---\n".join(json.dumps(item) + "\n" for item in documents(host, version))
    host.write("/etc/kubernetes/kubeadm.yaml", text, 0o600)
    command = "kubeadm init --config /etc/kubernetes/kubeadm.yaml --ignore-preflight-errors=SystemVerification"
    host.shell(f"{command} > /var/log/kubeadm.log 2>&1 || {{ tail -n 40 /var/log/kubeadm.log >&2; false; }}")
    return host.run(["kubeadm", "token", "create", "--print-join-command"]).strip()


def join(host: Host, join_command: str) -> None:
    command = f"{join_command} --cri-socket unix://{SOCKET} --ignore-preflight-errors=SystemVerification"
    host.shell(f"{command} > /var/log/kubeadm.log 2>&1 || {{ tail -n 40 /var/log/kubeadm.log >&2; false; }}")


def kubectl(host: Host, *words: str, check: bool = True) -> str:
    return host.run(["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *words], check=check)


def connect_pods(control_plane: Host, hosts: Sequence[Host]) -> None:
    """The pod network: a bridge on each host with its node's range, and routes to the ranges of the others."""
    ranges: dict[str, str] = {}

    def assigned() -> bool:
        text = kubectl(control_plane, "get", "nodes", "-o", "json", check=False)
        nodes = json.loads(text)["items"] if text else []
        ranges.update({node["metadata"]["name"]: node["spec"].get("podCIDR", "") for node in nodes})
        return all(ranges.get(host.name) for host in hosts)

    wait_until("each node has a range for its pods", 60, assigned, 0.3)
    for host in hosts:
        network = {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": ranges[host.name]}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
        host.write("/etc/cni/net.d/10-pods.conflist", json.dumps(network))
        for other in hosts:
            if other is not host:
                host.run(["ip", "route", "replace", ranges[other.name], "via", other.address])


def ready(control_plane: Host, count: int) -> bool:
    text = kubectl(control_plane, "get", "nodes", "-o", "json", check=False)
    nodes = json.loads(text)["items"] if text else []
    conditions = [each for node in nodes for each in node["status"].get("conditions", ()) if each["type"] == "Ready"]
    return len([each for each in conditions if each["status"] == "True"]) == count


def cluster(hosts: Sequence[Host], version: str) -> float:
    """`init` and a `join` for each other host, side by side; seconds until all nodes are ready."""
    begun = time.monotonic()
    first, *others = hosts
    words = init(first, version)
    joins = [(host, host.start_run(["bash", "-c", join_script(words)])) for host in others]
    for host, process in joins:
        out, _ = process.communicate(timeout=300)
        if process.returncode:
            raise HostsError(f"{host.name} did not join: {out[-3000:]}")
    connect_pods(first, hosts)
    wait_until("all nodes are ready", 120, lambda: ready(first, len(hosts)), 0.3)
    return time.monotonic() - begun


def join_script(join_command: str) -> str:
    return f"{join_command} --cri-socket unix://{SOCKET} --ignore-preflight-errors=SystemVerification 2>&1"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bare.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--shell", action="store_true", help="a shell when the cluster is there")
    options = parser.parse_args(arguments)
    try:
        with (
            ended_by_signals(),
            unpacked(options.bundle) as content,
            Hosts(options.count, logs=Path("/var/tmp/paletteops-bare-logs")) as hosts,
        ):
            version = json.loads((content / "bundle.json").read_text("utf-8"))["version"]
            for host in hosts:
                install(host, content)
                hosts.say(f"{host.name} has the bundle")
            seconds = cluster(list(hosts), version)
            hosts.say(f"a cluster of {options.count} by kubeadm: {seconds:.1f} s")
            print(kubectl(hosts["h1"], "get", "nodes,pods", "-A", "-o", "wide"))
            if options.shell:
                print(shlex.join(["nsenter", "-t", str(hosts["h1"].leader()), "-a"]))
                subprocess.run(["/bin/bash"])
    except HostsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
