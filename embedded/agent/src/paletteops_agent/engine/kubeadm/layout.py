# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything of the engine lies on a host. One place for paths, unit names and names of things in the kernel.

What Kubernetes fixes (``/etc/kubernetes``, ``/var/lib/kubelet``, ``/var/lib/etcd``) stays where kubeadm wants it; the
rest is below the agent's own folders, so that a container engine of the host never meets it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SLICE = "spectro.slice"
CONTAINERD_UNIT = "spectro-containerd.service"
KUBELET_UNIT = "spectro-kubelet.service"
# kubeadm starts and stops a unit of this name and no other; it is an alias of ours
KUBELET_ALIAS = "kubelet.service"
VIP_UNIT = "spectro-vip.service"
UNITS = (CONTAINERD_UNIT, KUBELET_UNIT, VIP_UNIT)

BRIDGE = "cni-spectro0"
NETWORK_NAME = "spectro"
# names of interfaces that network packs make on a host; those that were there before the agent are left alone
FOREIGN_INTERFACE_PREFIXES = ("cali", "vxlan.calico", "tunl", "cilium", "lxc", "flannel", "kube-ipvs", "kube-bridge")
# routes carry this number (rt_protos), so that they can be told from the host's own
ROUTE_PROTOCOL = 183
NFT_TABLE = "spectro-pods"

KUBERNETES_DIR = Path("/etc/kubernetes")
KUBELET_DIR = Path("/var/lib/kubelet")
ETCD_DIR = Path("/var/lib/etcd")
PKI_DIR = KUBERNETES_DIR / "pki"
MANIFESTS_DIR = KUBERNETES_DIR / "manifests"
ADMIN_CONF = KUBERNETES_DIR / "admin.conf"
ADMIN_PEM = Path("/run/spectro/private/admin.pem")
KUBELET_CONF = KUBERNETES_DIR / "kubelet.conf"
KUBELET_CLIENT = KUBELET_DIR / "pki" / "kubelet-client-current.pem"
SYSTEMD_DIR = Path("/etc/systemd/system")
API_PORT = 6443


@dataclass(frozen=True)
class Layout:
    """Paths below ``root`` (STYLUS_ROOT); the state folder holds secrets for moments and is 0700."""

    root: Path = Path("/")

    @property
    def home(self) -> Path:
        return self.root / "opt/spectrocloud/kubernetes"

    @property
    def versions(self) -> Path:
        """One folder for each version, with ``bin`` and ``cni`` in it."""
        return self.home / "versions"

    @property
    def current(self) -> Path:
        """A link to the version in use; switching it is how the binaries of a host change at once."""
        return self.home / "current"

    @property
    def bin(self) -> Path:
        return self.current / "bin"

    @property
    def cni_bin(self) -> Path:
        return self.current / "cni"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def cni_conf(self) -> Path:
        return self.home / "cni.d"

    @property
    def patches(self) -> Path:
        return self.state / "patches"

    @property
    def containerd_config(self) -> Path:
        return self.home / "containerd.toml"

    @property
    def containerd_root(self) -> Path:
        return self.root / "var/lib/spectro/containerd"

    @property
    def containerd_state(self) -> Path:
        return Path("/run/spectro/containerd")

    @property
    def containerd_socket(self) -> Path:
        return self.containerd_state / "containerd.sock"

    @property
    def cni_data(self) -> Path:
        """Addresses in use by pods: on a memory file system, because no pod outlives a boot."""
        return Path("/run/spectro/cni")

    @property
    def snapshots(self) -> Path:
        return self.root / "var/lib/spectro/etcd-snapshots"

    @property
    def vip_config(self) -> Path:
        return self.state / "vip.json"

    def imported_marker(self, version: str) -> Path:
        """Lies in containerd's root: images and the word that they are there vanish together."""
        return self.containerd_root / f"spectro-imported-{version}"
