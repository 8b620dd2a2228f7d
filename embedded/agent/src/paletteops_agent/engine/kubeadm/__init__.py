# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes on this host by kubeadm: containerd, kubelet and stacked etcd out of a content bundle.

Tried for real on amd64: at length on Debian 12 hosts under systemd-nspawn (cgroup v1 hybrid); a cluster of one, from
preflight to reset, on a virtual machine with cgroup v2, the systemd cgroup driver, AppArmor and swap. What was tried is
listed in ``embedded/agent/tests/kubeadm/README.md``. Nothing here depends on the architecture, but arm64 was not tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paletteops_agent.engine import Surroundings

if TYPE_CHECKING:
    from .engine import KubeadmEngine


def make(surroundings: Surroundings) -> KubeadmEngine:
    """The engine for a host; it takes no options, for it finds out by looking."""
    # the VIP's holder is a process of its own and needs none of this
    from .engine import KubeadmEngine

    return KubeadmEngine(surroundings.root)
