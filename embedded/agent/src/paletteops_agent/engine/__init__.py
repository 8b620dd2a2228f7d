# SPDX-License-Identifier: GPL-3.0-or-later
"""The seam between the agent and what runs Kubernetes on its host.

Calls block, and each is safe to repeat, also after the process was killed in the middle of it: the engine recovers or
resets its own half state first. An engine never learns who wants something; it is told a whole wanted state each time.
Two fillings: ``simulated`` (no root needed) and ``kubeadm`` (containerd, kubelet, etcd).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

ENGINES = ("kubeadm", "simulated")

#: takes one line that says what is being done, for people: "importing images"
Report = Callable[[str], None]


def silent(step: str) -> None:
    """A Report for callers that do not care."""


class EngineError(Exception):
    """What an engine could not do.

    ``reason`` is one CamelCase word for programs, ``message`` a sentence with the value that is wrong and the way out.
    ``retry`` is False where trying again cannot help before something else changes.
    """

    def __init__(self, reason: str, message: str, *, retry: bool = True) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retry = retry


@dataclass(frozen=True)
class Manifest:
    """One file of Kubernetes objects; ``content`` is YAML, with any number of documents."""

    name: str
    content: str


@dataclass(frozen=True)
class Endpoint:
    """Where the cluster's API is reached. ``type``: VIP (held by the control-plane hosts) or External."""

    host: str
    port: int = 6443
    type: str = "VIP"


@dataclass(frozen=True)
class Taint:
    key: str
    effect: str
    value: str = ""


@dataclass(frozen=True)
class Peer:
    """A host that is in the cluster. Labels, annotations and taints are None where nobody said what they are to be."""

    uid: str
    node_name: str
    address: str
    control_plane: bool
    pod_cidr: str | None = None
    schedulable: bool = True
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    taints: Sequence[Taint] | None = None


@dataclass(frozen=True)
class Cluster:
    """What a cluster is to be, as each of its hosts sees it."""

    uid: str
    name: str
    endpoint: Endpoint
    pack: str  # the Kubernetes distribution: edge-k8s
    version: str  # without a leading v: 1.36.3
    pod_cidr: str
    service_cidr: str
    kubeadm_override: Mapping[str, Any] = field(default_factory=dict)
    network_pack: str = ""
    network_version: str = ""
    network_manifests: Sequence[Manifest] = ()
    peers: Sequence[Peer] = ()
    ntp_servers: Sequence[str] = ()
    ssh_keys: Sequence[str] = ()
    next_version: str = ""  # whose content is to be here before the version becomes that; "" where none is to come


@dataclass(frozen=True)
class Member:
    """What this host is to be in the cluster."""

    uid: str
    node_name: str
    control_plane: bool
    address: str
    schedulable: bool = True
    pool: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Taint] = ()
    lead: bool = False


@dataclass(frozen=True)
class Pack:
    """A layer that is applied as manifests. ``digest`` changes whenever its content does."""

    profile_uid: str
    name: str
    version: str
    digest: str
    manifests: Sequence[Manifest] = ()
    type: str = "manifest"


@dataclass(frozen=True)
class PackStatus:
    """``state``: Pending, Deploying, Ready or Error. ``digest`` is the content that the state is about."""

    profile_uid: str
    name: str
    digest: str
    state: str
    message: str = ""


@dataclass(frozen=True, repr=False)
class JoinMaterial:
    """Secrets by which a host joins. Held in memory only; ``repr`` is left out so that no log ever shows it."""

    endpoint: str  # host:port
    token: str
    ca_cert_hashes: Sequence[str]
    certificate_key: str | None
    expires_at: str  # RFC 3339, UTC


@dataclass(frozen=True)
class NodeStatus:
    """This host's Node object, as the cluster shows it."""

    name: str
    ready: bool
    cordoned: bool
    kubernetes_version: str
    pod_cidr: str | None = None


@dataclass(frozen=True)
class EtcdHealth:
    healthy: bool
    members: int


@dataclass(frozen=True)
class Health:
    """``healthy``: what should run on this host does. ``etcd`` is None on a host that carries none."""

    healthy: bool
    message: str = ""
    etcd: EtcdHealth | None = None


@dataclass(frozen=True)
class Certificate:
    """``expires_at``: RFC 3339, UTC. ``authority``: the name of the CA that signed it, where it is known."""

    name: str
    expires_at: str
    authority: str | None = None


@dataclass(frozen=True)
class Bundle:
    """A verified content bundle; members are paths below its folder (``bin/kubelet``, ``images/etcd.tar``)."""

    name: str
    version: str
    architecture: str
    serial: int
    images: Mapping[str, str] = field(default_factory=dict)  # short name: full reference


@dataclass(frozen=True)
class Finding:
    """Something about the host that keeps it from becoming a member. ``check`` names it for programs."""

    check: str
    message: str


class Engine(Protocol):
    """What brings Kubernetes to a host. ``name`` is one of ENGINES."""

    name: str

    def preflight(self, cluster: Cluster, member: Member) -> list[Finding]:
        """All that stands in the way, at once; changes nothing."""

    def needs_payload(self) -> bool:
        """Whether it takes a content bundle at all. When not, ``holds`` is always true."""

    def payload(self, bundle_dir: Path, bundle: Bundle, report: Report = silent) -> None:
        """Take over a verified, unpacked bundle. ``bundle_dir`` may be removed afterwards.

        Also on a member, beside the version that it runs, which stays untouched: a host holds both until it is
        upgraded. An EngineError whose reason begins with ``Bundle`` is about the bundle: another one is fetched.
        """

    def holds(self, pack: str, version: str) -> bool:
        """Whether all of the pack in that version is here and whole."""

    def contents(self) -> list[tuple[str, str]]:
        """What it holds, as (pack, version)."""

    def bootstrap(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        """Make a new cluster of this host. Returns as soon as its API answers."""

    def join(self, cluster: Cluster, member: Member, material: JoinMaterial, report: Report = silent) -> None: ...

    def upgrade(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        """Bring this host to ``cluster.version``; after a failure the host serves with the version it had."""

    def configure(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        """Labels, taints, routes, endpoint, schedules. Cheap; called at least each minute on a running host."""

    def admit(self, control_plane: bool, lifetime_seconds: int, report: Report = silent) -> JoinMaterial: ...

    def drain(self, node_name: str, timeout: int, report: Report = silent) -> None: ...

    def uncordon(self, node_name: str) -> None: ...

    def forget(self, node_name: str, control_plane: bool, address: str, report: Report = silent) -> None:
        """Remove a host that left, or will not come back: its Node, and its member of etcd."""

    def apply(self, packs: Sequence[Pack], report: Report = silent) -> list[PackStatus]:
        """Bring the cluster's packs to these, and remove what is no longer among them. Returns without waiting long."""

    def leave(self, force: bool, report: Report = silent) -> None:
        """Take this host out of its cluster; content stays. With ``force`` the cluster need not answer."""

    def reset(self, report: Report = silent) -> None:
        """Leave by force, and remove content and everything else that the engine ever made."""

    def traces(self) -> list[str]:
        """What ``reset`` would remove, one line each (path, unit, interface), for a dry run."""

    def node(self) -> NodeStatus | None:
        """None while this host is in no cluster."""

    def health(self) -> Health: ...

    def kubeconfig(self) -> str:
        """An administrator's, for the cluster's endpoint."""

    def certificates(self) -> list[Certificate]: ...

    def renew_certificates(self, report: Report = silent) -> None: ...

    def snapshot(self, path: Path, report: Report = silent) -> None: ...

    def restore(self, path: Path, report: Report = silent) -> None: ...

    def serve(self, stop: threading.Event) -> None:
        """The engine's own background work, in a thread of its own, until ``stop`` is set. May return at once."""


@dataclass(frozen=True)
class Surroundings:
    """What an engine is given: the stylus root, its section of the configuration file, and the host's UID."""

    root: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    host_uid: str = ""


def make_engine(name: str, surroundings: Surroundings) -> Engine:
    """The engine of that name: each filling's package has ``make(Surroundings) -> Engine``.

    Loaded when asked for, so that one filling costs nothing where the other runs.
    """
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r}: there are {', '.join(ENGINES)}")
    module = import_module(f"{__name__}.{name}")
    return cast(Engine, module.make(surroundings))
