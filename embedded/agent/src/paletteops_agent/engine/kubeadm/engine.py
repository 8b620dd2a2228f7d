# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: a host's part in a Kubernetes cluster, by kubeadm.

Each call may be repeated, and begun again after a kill. What a call is about to do is in the journal before it is
done; a host that was killed between the start of ``bootstrap`` or ``join`` and its end is reset by the next call.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from paletteops_agent.engine import (
    Bundle,
    Certificate,
    Cluster,
    EngineError,
    Finding,
    Health,
    JoinMaterial,
    Member,
    NodeStatus,
    Pack,
    PackStatus,
    Report,
    silent,
)

from . import (
    certificates,
    config,
    etcd,
    files,
    network,
    nodes,
    payload,
    preflight,
    probe,
    services,
    traces,
    vip,
)
from .api import MERGE, Api, ApiError, control_plane_api, kubelet_api, node_ready
from .commands import Result, run, wait_until
from .layout import (
    ADMIN_CONF,
    BRIDGE,
    CONTAINERD_UNIT,
    ETCD_DIR,
    KUBELET_UNIT,
    MANIFESTS_DIR,
    PKI_DIR,
    SYSTEMD_DIR,
    UNITS,
    VIP_UNIT,
    Layout,
)
from .packs import Packs

log = logging.getLogger(__name__)
Json = dict[str, Any]

SNAPSHOT_EVERY = 6 * 3600
SNAPSHOTS_KEPT = 5
RENEW_WITHIN = datetime.timedelta(days=30)
#: for so long a node is what it was while no API server answers
NODE_UNKNOWN_SECONDS = 120.0
STATIC_PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
OWN_NETWORK = "cni-bridge"
KUBERNETES_PACK = "edge-k8s"
# stands for a profile in the list of what the network pack made
NETWORK_PROFILE = "network"
JOIN_LIFETIME = 900
# kubeadm has deadlines of its own for what init and join wait for; this is for one that hangs
ARRIVAL_DEADLINE = 1200
UPLOAD_KEY_LIFETIME = 3600.0
# a control plane that was upgraded has to answer without a break for so many seconds
SETTLED_AFTER = 12


class KubeadmEngine:
    """``root``: STYLUS_ROOT, below which binaries, images and state lie."""

    name = "kubeadm"

    def __init__(self, root: Path = Path("/")) -> None:
        self.layout = Layout(root)
        self._facts: probe.HostFacts | None = None
        self._upload_key: tuple[str, str, float] = ("", "", 0.0)
        self._node_seen: tuple[str, float, NodeStatus | None] = ("", 0.0, None)

    # -- what is known of this host ------------------------------------------------------------------------------

    @property
    def facts(self) -> probe.HostFacts:
        if self._facts is None:
            self._facts = probe.facts(self.layout.containerd_root)
        return self._facts

    @property
    def _journal_path(self) -> Path:
        return self.layout.state / "member.json"

    def _journal(self) -> Json | None:
        value = files.read_json(self._journal_path)
        return value if isinstance(value, dict) else None

    def _keep(self, journal: Json) -> Json:
        files.private_dir(self.layout.state)
        files.write_json(self._journal_path, journal)
        return journal

    def _in(self) -> Json:
        """The journal of a host that is in a cluster; EngineError otherwise."""
        journal = self._journal()
        if journal is None or journal["phase"] not in ("in", "upgrading"):
            raise EngineError("NotInCluster", "this host is in no cluster")
        return journal

    def _before(self) -> Json:
        return traces.load(self.layout.state / "before.json")

    def _api(self, journal: Json, timeout: float = 10.0) -> Api:
        if journal["control_plane"]:
            return control_plane_api(journal["address"], journal["bind_port"], timeout)
        return kubelet_api(journal["endpoint"], journal["port"], timeout)

    def _admin(self) -> tuple[Json, Api]:
        journal = self._in()
        if not journal["control_plane"]:
            raise EngineError("NotControlPlane", "only a control-plane host can do this")
        return journal, self._api(journal)

    def _kubectl(self, *words: str, stdin: str | None = None, deadline: float = 60.0) -> Result:
        journal = self._in()
        home = files.private_dir(self.layout.state / "kubectl")
        return run(
            [
                self.layout.bin / "kubectl",
                f"--kubeconfig={ADMIN_CONF}",
                f"--server=https://{config.join_host_port(journal['address'], journal['bind_port'])}",
                *words,
            ],
            stdin=stdin,
            deadline=deadline,
            check=False,
            path=self.layout.bin,
            env={"HOME": str(home), "KUBECACHEDIR": str(home / "cache")},
        )

    def _kubeadm(self, binary: Path, words: list[str], document: list[Json], *, deadline: float, reason: str) -> Result:
        """Run kubeadm with a configuration file that only root may read and that is gone afterwards."""
        place = files.private_dir(self.layout.state) / f"kubeadm-{words[0]}.yaml"
        try:
            files.write(place, config.documents(document), 0o600)
            return run([binary / "kubeadm", *words, "--config", place], deadline=deadline, path=binary, reason=reason)
        finally:
            files.remove(place)

    # -- content -------------------------------------------------------------------------------------------------

    def needs_payload(self) -> bool:
        return True

    def preflight(self, cluster: Cluster, member: Member) -> list[Finding]:
        return preflight.findings(cluster, member, self.layout, self.facts, ours=self._journal() is not None)

    def payload(self, bundle_dir: Path, bundle: Bundle, report: Report = silent) -> None:
        """Take binaries and images of an unpacked bundle; ``bundle_dir`` is not needed afterwards."""
        self._before()
        version = bundle.version
        if payload.complete(self.layout, version) and payload.image_names(self.layout):
            return
        report("installing binaries")
        payload.install(self.layout, bundle_dir, version, bundle.images)
        if payload.current_version(self.layout) is None:
            files.point(self.layout.current, self.layout.versions / version)
        journal = self._journal()
        report("starting containerd")
        payload.ensure_containerd(self.layout, self.facts, journal["own_network"] if journal else True)
        payload.import_images(self.layout, bundle_dir, version, self.facts, report)

    def holds(self, pack: str, version: str) -> bool:
        """Whether binaries and images of a version are here. One pack of Kubernetes is known, whatever its name."""
        return payload.complete(self.layout, version)

    def contents(self) -> list[tuple[str, str]]:
        return [(KUBERNETES_PACK, version) for version in payload.all_complete(self.layout)]

    # -- coming in -----------------------------------------------------------------------------------------------

    def _is_in(self, cluster: Cluster) -> bool:
        """Whether this host is wholly in ``cluster``; clears what a kill left. EngineError: in another cluster."""
        journal = self._journal()
        if journal is None:
            leftovers = preflight.foreign_kubernetes()
            if leftovers:
                raise EngineError("ForeignKubernetes", f"another Kubernetes is on this host: {', '.join(leftovers)}")
            return False
        if journal["phase"] in ("in", "upgrading"):
            if journal["cluster_uid"] != cluster.uid:
                raise EngineError(
                    "InAnotherCluster",
                    f"this host is in the cluster {journal['cluster_name']} ({journal['cluster_uid']}); "
                    "it has to leave that first",
                )
            return True
        log.warning("a %s was cut off; the host is reset", journal["phase"])
        self.leave(force=True)
        return False

    def _begin(self, cluster: Cluster, member: Member, phase: str) -> Json:
        """Services and files that bootstrap and join need; the journal says that it began."""
        version = cluster.version
        if not payload.complete(self.layout, version):
            raise EngineError("NoPayload", f"Kubernetes {version} is not on this host; import its content bundle first")
        problem = network.range_problem(
            [member.address, *network.literal_addresses(cluster.endpoint.host)],
            {"the pod range": cluster.pod_cidr, "the service range": cluster.service_cidr},
        )
        if problem:
            raise EngineError("RangesOverlap", problem)
        self._before()
        journal = self._keep(
            {
                "phase": phase,
                "cluster_uid": cluster.uid,
                "cluster_name": cluster.name,
                "node_name": member.node_name,
                "control_plane": member.control_plane,
                "address": member.address,
                "endpoint": cluster.endpoint.host,
                "endpoint_type": cluster.endpoint.type,
                "port": cluster.endpoint.port,
                "bind_port": config.default_bind_port(cluster.endpoint.type, cluster.endpoint.port),
                "version": version,
                "own_network": cluster.network_pack == OWN_NETWORK,
                "network_pack": cluster.network_pack,
                "cluster_pod_cidr": cluster.pod_cidr,
                "pod_cidr": None,
                "control_planes": {member.node_name: member.address} if member.control_plane else {},
            }
        )
        self._settings()
        files.point(self.layout.current, self.layout.versions / version)
        payload.ensure_containerd(self.layout, self.facts, journal["own_network"])
        services.install(self.layout, [KUBELET_UNIT, VIP_UNIT])
        services.enable(KUBELET_UNIT)
        self._write_patches()
        return journal

    def _write_patches(self) -> None:
        files.private_dir(self.layout.patches)
        files.write_json(self.layout.patches / "kubeletconfiguration0+merge.json", config.kubelet_patch(self.facts))

    def _settings(self) -> None:
        run(["modprobe", "-a", "overlay", "br_netfilter", "nf_conntrack"], check=False, deadline=20)
        for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
            with contextlib.suppress(OSError):
                (Path("/proc/sys") / name).write_text("1")

    def _node(self, member: Member) -> config.Node:
        taints = nodes.wanted_taints(member.control_plane, member.schedulable, member.taints)
        return config.Node(member.node_name, member.address, member.control_plane, taints, member.labels)

    def bootstrap(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        """Make the first control plane; returns when its API server answers."""
        if self._is_in(cluster):
            return self.configure(cluster, member, report)
        has_vip = self._has_vip(cluster, member)
        if has_vip:
            # refused before anything is written
            vip.refuse_duplicate(cluster.endpoint.host, vip.interface_of(member.address))
        report("preparing services")
        journal = self._begin(cluster, member, "bootstrapping")
        if has_vip:
            report("taking the virtual address")
            vip.take(cluster.endpoint.host, vip.interface_of(member.address))
        report("initialising the control plane")
        document = config.init(
            node=self._node(member),
            cluster_name=cluster.name,
            version=cluster.version,
            endpoint=cluster.endpoint.host,
            port=cluster.endpoint.port,
            bind_port=journal["bind_port"],
            pod_cidr=cluster.pod_cidr,
            service_cidr=cluster.service_cidr,
            layout=self.layout,
            facts=self.facts,
            bootstrap_token=_token(),
            override=dict(cluster.kubeadm_override),
        )
        self._kubeadm(self.layout.bin, ["init"], document, deadline=ARRIVAL_DEADLINE, reason="InitFailed")
        self._arrived(journal, cluster, member, report)

    def join(self, cluster: Cluster, member: Member, material: JoinMaterial, report: Report = silent) -> None:
        """Join as a worker or a control plane; returns when kubeadm is through."""
        if self._is_in(cluster):
            return self.configure(cluster, member, report)
        if member.control_plane and not material.certificate_key:
            raise EngineError("JoinMaterial", "a control plane cannot join without the key of the certificates")
        report("preparing services")
        journal = self._begin(cluster, member, "joining")
        report("joining the cluster")
        document = config.join(
            node=self._node(member),
            endpoint=material.endpoint,
            token=material.token,
            ca_cert_hashes=list(material.ca_cert_hashes),
            certificate_key=material.certificate_key,
            bind_port=journal["bind_port"],
            layout=self.layout,
            facts=self.facts,
        )
        self._kubeadm(self.layout.bin, ["join"], document, deadline=ARRIVAL_DEADLINE, reason="JoinFailed")
        self._arrived(journal, cluster, member, report)

    def _arrived(self, journal: Json, cluster: Cluster, member: Member, report: Report) -> None:
        self._keep({**journal, "phase": "in", "since": time.time()})
        report("configuring the node")
        # what does not work yet (a Node without its range) is made good by the next configure
        with contextlib.suppress(EngineError):
            wait_until(lambda: bool(self._learn_range()), deadline=15, reason="NoRange", message="", every=0.5)
        self.configure(cluster, member, report)

    def _has_vip(self, cluster: Cluster, member: Member) -> bool:
        return member.control_plane and cluster.endpoint.type == "VIP" and cluster.endpoint.host != member.address

    # -- being in ------------------------------------------------------------------------------------------------

    def _learn_range(self) -> str | None:
        """The pod range of this host's Node, kept in the journal once it is known."""
        journal = self._in()
        if not journal["pod_cidr"]:
            with contextlib.suppress(ApiError):
                node = self._api(journal, timeout=5).node(journal["node_name"])
                cidr = ((node or {}).get("spec") or {}).get("podCIDR")
                if cidr:
                    journal = self._keep({**journal, "pod_cidr": cidr})
        return journal["pod_cidr"]  # type: ignore[no-any-return]

    def configure(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        """Keep what belongs to a running host: network, routes, VIP, labels, taints, snapshots, certificates."""
        journal = self._in()
        planes = {peer.node_name: peer.address for peer in cluster.peers if peer.control_plane}
        if member.control_plane:
            planes[member.node_name] = member.address
        if planes != journal["control_planes"]:
            journal = self._keep({**journal, "control_planes": planes})
        self._services(journal)
        problems: list[str] = []
        pod_cidr = self._learn_range()
        if journal["own_network"]:
            if pod_cidr:
                network.write_conflist(self.layout, pod_cidr)
            network.sync_rules(cluster.pod_cidr)
            problems += network.sync_routes(network.wanted_routes(member.address, cluster.peers))
        if self._has_vip(cluster, member):
            self._ensure_vip(cluster, member)
        problems += self._sync_nodes(cluster, member)
        if member.lead and not journal["own_network"] and cluster.network_manifests:
            contents = [manifest.content for manifest in cluster.network_manifests]
            digest = hashlib.sha256("\0".join(contents).encode()).hexdigest()
            with self._api_errors():
                self._packs().apply(NETWORK_PROFILE, cluster.network_pack, cluster.network_version, digest, contents)
        if journal["control_plane"] and journal["phase"] == "in":
            problems += self._maintain(report)
        if problems:
            raise EngineError("ConfigureFailed", "; ".join(problems))

    def _services(self, journal: Json) -> None:
        for unit in (CONTAINERD_UNIT, KUBELET_UNIT):
            if not services.active(unit):
                services.start(unit)

    def _ensure_vip(self, cluster: Cluster, member: Member) -> None:
        wanted = vip.VipConfig(
            cluster.endpoint.host,
            vip.interface_of(member.address),
            member.node_name,
            member.address,
            cluster.endpoint.port,
        )
        changed = vip.write_config(self.layout.vip_config, wanted)
        changed = services.install(self.layout, [VIP_UNIT]) or changed
        services.enable(VIP_UNIT)
        if changed and services.active(VIP_UNIT):
            services.restart(VIP_UNIT)
        elif not services.active(VIP_UNIT):
            services.start(VIP_UNIT)

    def _sync_nodes(self, cluster: Cluster, member: Member) -> list[str]:
        """Labels, annotations and taints: a control plane's own, a worker's labels; the lead sees to all peers."""
        journal = self._in()
        api = self._api(journal, timeout=5)
        todo: list[Any] = [member]
        if member.lead and journal["control_plane"]:
            todo += [peer for peer in cluster.peers if peer.node_name != member.node_name]
        problems = []
        for item in todo:
            admin = journal["control_plane"]
            try:
                node = api.node(item.node_name)
                if node is None:
                    continue
                change = nodes.patch(
                    node,
                    item.labels,
                    item.annotations,
                    nodes.wanted_taints(item.control_plane, item.schedulable, item.taints)
                    if admin and item.taints is not None
                    else None,
                    (lambda key: True) if admin else config.may_label_itself,
                )
                if change:
                    api.request("PATCH", f"/api/v1/nodes/{item.node_name}", change, content_type=MERGE)
            except ApiError as error:
                # 409: changed by another in between; both are for the next time
                if not error.passing and error.status != 409:
                    problems.append(f"node {item.node_name}: {error.message}")
        return problems

    def _maintain(self, report: Report) -> list[str]:
        problems = []
        if time.time() - etcd.newest(self.layout.snapshots) >= SNAPSHOT_EVERY and etcd.healthy(self.layout.bin):
            report("saving an etcd snapshot")
            try:
                self._snapshot("")
            except EngineError as error:
                problems.append(f"snapshot: {error}")
        if self._certificates_due():
            try:
                self.renew_certificates(report)
            except EngineError as error:
                problems.append(f"certificates: {error}")
        return problems

    def _certificates_due(self) -> bool:
        """Looked at once an hour, by a file's time: openssl is asked ten times for it."""
        mark = self.layout.state / "certificates-seen"
        with contextlib.suppress(OSError):
            if 0 <= time.time() - mark.stat().st_mtime < 3600:
                return False
        files.write(mark, "")
        os.utime(mark)
        now = datetime.datetime.now(datetime.timezone.utc)
        return bool(certificates.due(certificates.listed(), now, RENEW_WITHIN))

    # -- upgrade -------------------------------------------------------------------------------------------------

    def upgrade(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        """Bring this host to ``cluster.version``; returns when its node is Ready with it."""
        journal = self._in()
        version, present = cluster.version, journal["version"]
        if journal["phase"] == "in" and present == version:
            return
        if present == version and not journal.get("applying"):
            # an upgrade that was begun is no longer wanted, and has changed no more than this host's kubelet
            self._switch(journal, str(journal.get("target") or present), present)
            journal.pop("target", None)
            self._keep({**journal, "phase": "in"})
            return
        target = journal.get("target") if journal["phase"] == "upgrading" else None
        if target not in (None, version) and payload.version_key(version) < payload.version_key(str(target)):
            raise EngineError("VersionSkew", f"an upgrade to {target} has begun; it cannot go back to {version}")
        problem = skew_problem(present, version)
        if problem:
            raise EngineError("VersionSkew", problem)
        if not payload.complete(self.layout, version):
            raise EngineError("NoPayload", f"Kubernetes {version} is not on this host; import its content bundle first")
        if journal["control_plane"] and journal["phase"] == "in":
            report("saving an etcd snapshot")
            self._snapshot(f"before-{version}")
        journal = self._keep({**journal, "phase": "upgrading", "target": version})
        binary = self.layout.versions / version / "bin"
        self._write_patches()
        document = config.upgrade(version=version, layout=self.layout, facts=self.facts)
        if journal["control_plane"] and (journal.get("applying") == version or self._cluster_version() != version):
            journal = self._keep({**journal, "applying": version})
            report("upgrading the control plane")
            words = ["upgrade", "apply", "--yes"]
        else:
            report("upgrading the node's configuration")
            words = ["upgrade", "node"]
        self._kubeadm(binary, words, document, deadline=900, reason="UpgradeFailed")
        report("restarting services with the new version")
        self._switch(journal, present, version)
        report("waiting for the node")
        try:
            self._wait_for_version(journal, version)
        except EngineError:
            # a control plane may be newer than its kubelet: the host serves on with the one it had
            self._switch(journal, version, present)
            raise
        journal.pop("target", None)
        journal.pop("applying", None)
        self._keep({**journal, "phase": "in", "version": version})
        payload.prune(self.layout, version)

    def _switch(self, journal: Json, present: str, version: str) -> None:
        """Run kubelet and containerd of another version; pods go on meanwhile."""
        services.stop(KUBELET_UNIT)
        files.point(self.layout.current, self.layout.versions / version)
        services.install(self.layout, [KUBELET_UNIT, CONTAINERD_UNIT])
        payload.ensure_containerd(self.layout, self.facts, journal["own_network"])
        binaries = [self.layout.versions / name / "bin/containerd" for name in (present, version)]
        if not same_file(*binaries):
            services.restart(CONTAINERD_UNIT)
        services.start(KUBELET_UNIT)

    def _cluster_version(self) -> str:
        """The version in kubeadm's own record of the cluster."""
        _, api = self._admin()
        try:
            found = api.request("GET", "/api/v1/namespaces/kube-system/configmaps/kubeadm-config")
        except ApiError as error:
            raise EngineError("ApiUnavailable", error.message) from error
        for line in str((found.get("data") or {}).get("ClusterConfiguration") or "").splitlines():
            key, _, value = line.partition(":")
            if key == "kubernetesVersion":
                return value.strip().lstrip("v")
        raise EngineError("ApiUnavailable", "the cluster's kubeadm-config names no version")

    def _wait_for_version(self, journal: Json, version: str) -> None:
        seen = {"text": "no answer"}

        def reached() -> bool:
            try:
                node = self._api(journal, timeout=5).node(journal["node_name"])
            except ApiError as error:
                seen["text"] = error.message
                return False
            status = ((node or {}).get("status") or {}).get("nodeInfo") or {}
            seen["text"] = f"version {status.get('kubeletVersion')}, ready: {node_ready(node or {})}"
            return status.get("kubeletVersion") == f"v{version}" and node_ready(node or {})

        wait_until(
            reached, deadline=300, reason="NodeNotReady", message=lambda: f"the node did not get Ready: {seen['text']}"
        )
        if not journal["control_plane"]:
            return
        # a kubelet of another minor version starts the control plane's containers anew, a moment after it is Ready
        since = {"fine": time.monotonic()}
        api = self._api(journal, timeout=5)

        def settled() -> bool:
            if not (api.ready() and etcd.healthy(self.layout.bin) and reached()):
                since["fine"] = time.monotonic()
            return time.monotonic() - since["fine"] >= SETTLED_AFTER

        wait_until(
            settled,
            deadline=240,
            reason="ControlPlaneNotReady",
            message=lambda: f"the control plane does not stay up with {version}: {seen['text']}",
        )

    # -- for the others ------------------------------------------------------------------------------------------

    def admit(
        self, control_plane: bool, lifetime_seconds: int = JOIN_LIFETIME, report: Report = silent
    ) -> JoinMaterial:
        """Material for one host to join, for 15 minutes at most."""
        journal, api = self._admin()
        lifetime = max(60, min(int(lifetime_seconds), JOIN_LIFETIME))
        expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=lifetime)
        token = _token()
        key = None
        with self._api_errors():
            api.request("POST", SECRETS, token_secret(token, expires))
            if control_plane:
                report("uploading certificates, encrypted")
                key = self._certificate_key(journal["cluster_uid"])
                self._upload_certificates(journal, api, key, expires)
        endpoint = config.join_host_port(journal["endpoint"], journal["port"])
        return JoinMaterial(
            endpoint=endpoint,
            token=token,
            ca_cert_hashes=[certificates.ca_hash(PKI_DIR / "ca.crt")],
            certificate_key=key,
            expires_at=expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def _certificate_key(self, cluster_uid: str) -> str:
        """The key for uploads, the same for a while: there is one upload a cluster, and a new key for the next host
        would lock out those that were admitted before and are still on their way. In memory only."""
        known, key, until = self._upload_key
        if known != cluster_uid or time.monotonic() >= until:
            key = secrets.token_hex(32)
            self._upload_key = (cluster_uid, key, time.monotonic() + UPLOAD_KEY_LIFETIME)
        return key

    def _upload_certificates(self, journal: Json, api: Api, key: str, expires: datetime.datetime) -> None:
        document = config.init(
            node=config.Node(journal["node_name"], journal["address"], True, [], {}),
            cluster_name=journal["cluster_name"],
            version=journal["version"],
            endpoint=journal["endpoint"],
            port=journal["port"],
            bind_port=journal["bind_port"],
            pod_cidr=journal["cluster_pod_cidr"],
            service_cidr="",
            layout=self.layout,
            facts=self.facts,
            bootstrap_token=_token(),
            certificate_key=key,
        )
        for item in document:
            if item["kind"] == "ClusterConfiguration":
                item.pop("networking")
        words = ["init", "phase", "upload-certs", "--upload-certs"]
        self._kubeadm(self.layout.bin, words, document, deadline=60, reason="UploadFailed")
        # kubeadm lets the Secret live for two hours, by a token that owns it; ours lives as long as the material
        kept = api.request("GET", f"{SECRETS}/kubeadm-certs")
        for owner in (kept.get("metadata") or {}).get("ownerReferences") or []:
            if owner.get("kind") == "Secret":
                change = {"stringData": {"expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}}
                api.request("PATCH", f"{SECRETS}/{owner['name']}", change, content_type=MERGE)

    @contextlib.contextmanager
    def _api_errors(self) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            raise EngineError("ApiUnavailable", error.message) from error

    def drain(self, node_name: str, timeout: int = 300, report: Report = silent) -> None:
        """Cordon a node and evict its pods, as disruption budgets allow. A node that is not there is drained."""
        _, api = self._admin()
        report(f"draining {node_name}")
        end = time.monotonic() + timeout
        said = ""

        def answers() -> bool:
            nonlocal said
            try:
                api.node(node_name)
            except ApiError as error:
                said = error.message
                return not error.passing
            said = ""
            return True

        with contextlib.suppress(EngineError):  # kubectl would give up at once where no API server answers
            wait_until(answers, deadline=timeout, reason="DrainFailed", message="")
        if not said:
            left = max(1, math.ceil(end - time.monotonic()))
            done = self._kubectl(
                "drain",
                node_name,
                "--ignore-daemonsets",
                "--delete-emptydir-data",
                "--force",
                f"--timeout={left}s",
                deadline=left + 30,
            )
            if done.ok or f'nodes "{node_name}" not found' in done.err:
                return
            said = done.said()
        limit = f" within {timeout} s" if time.monotonic() >= end else ""
        raise EngineError("DrainFailed", f"{node_name} was not drained{limit}: {said}")

    def uncordon(self, node_name: str, report: Report = silent) -> None:
        _, api = self._admin()
        with self._api_errors():
            change = {"spec": {"unschedulable": None}}
            api.request("PATCH", f"/api/v1/nodes/{node_name}", change, content_type=MERGE)

    def forget(self, node_name: str, control_plane: bool, address: str, report: Report = silent) -> None:
        """Take a host that left, or that is lost, out of etcd and out of the cluster."""
        journal, api = self._admin()
        if node_name == journal["node_name"]:
            raise EngineError("OwnNode", f"{node_name} is this host; another control-plane host has to forget it")
        if control_plane:
            report(f"removing {node_name} from etcd")
            etcd.remove_member(self.layout.bin, address, node_name)
        with self._api_errors():
            if api.node(node_name) is not None:
                try:
                    api.request("DELETE", f"/api/v1/nodes/{node_name}")
                except ApiError as error:
                    if error.status != 404:
                        raise

    def _packs(self) -> Packs:
        _, api = self._admin()
        return Packs(api, self._kubectl)

    def apply(self, packs: Sequence[Pack], report: Report = silent) -> list[PackStatus]:
        """Make the cluster have these packs and none that were applied before and are not among them."""
        applier = self._packs()
        answer = []
        for pack in packs:
            report(f"applying {pack.name}")
            try:
                with self._api_errors():
                    applier.apply(
                        pack.profile_uid, pack.name, pack.version, pack.digest, [m.content for m in pack.manifests]
                    )
                answer.append(pack_status(pack, "Ready", ""))
            except EngineError as error:
                answer.append(pack_status(pack, "Error", error.message))
        keep = [(pack.profile_uid, pack.name) for pack in packs]
        journal = self._in()
        if not journal["own_network"]:
            keep.append((NETWORK_PROFILE, journal["network_pack"]))
        with self._api_errors():
            applier.remove_others(keep)
        return answer

    # -- going out -----------------------------------------------------------------------------------------------

    def leave(self, force: bool = False, report: Report = silent) -> None:
        """Leave the cluster, be clean. Binaries and images stay for the next one. Works without the cluster too."""
        journal = self._journal()
        if journal is None:
            return
        before = self._before()
        was_in = journal["phase"] in ("in", "upgrading")
        self._keep({**journal, "phase": "leaving"})
        report("letting the virtual address go")
        services.remove([VIP_UNIT])
        if journal["endpoint_type"] == "VIP" and journal["control_plane"] and journal["endpoint"] != journal["address"]:
            with contextlib.suppress(EngineError):
                vip.let_go(journal["endpoint"], vip.interface_of(journal["address"]))
        files.remove(self.layout.vip_config)
        if journal["control_plane"] and was_in and (MANIFESTS_DIR / "etcd.yaml").exists() and not force:
            report("leaving etcd")
            # no quorum, say: whoever stays takes it out (forget)
            with contextlib.suppress(EngineError):
                etcd.remove_member(self.layout.bin, journal["address"], journal["node_name"])
        report("stopping pods")
        services.remove([KUBELET_UNIT])
        if services.active(CONTAINERD_UNIT):
            with contextlib.suppress(EngineError):
                self._kubeadm(self.layout.bin, ["reset"], config.reset(self.layout), deadline=120, reason="ResetFailed")
            self._remove_containers()
        services.stop(CONTAINERD_UNIT)
        report("removing what is left")
        traces.clean(self.layout, before)
        for item in (self.layout.patches, self.layout.snapshots, self.layout.state / "kubectl"):
            files.remove(item)
        # what a kill left of a call to kubeadm may hold a token
        for item in self.layout.state.glob("kubeadm-*.yaml"):
            files.remove(item)
        files.remove(self.layout.state / "certificates-seen")
        files.remove(self._journal_path)

    def _remove_containers(self) -> None:
        """Containers that kubeadm could not remove."""
        for name in payload.ctr(self.layout, "tasks", "ls", "-q", check=False).out.split():
            payload.ctr(self.layout, "tasks", "rm", "--force", name, check=False, deadline=20)
        for name in payload.ctr(self.layout, "containers", "ls", "-q", check=False).out.split():
            payload.ctr(self.layout, "containers", "rm", name, check=False, deadline=20)

    def reset(self, report: Report = silent) -> None:
        """Leave whatever there is and remove everything that the engine ever put on the host."""
        self.leave(force=True, report=report)
        report("removing binaries and images")
        if not self.layout.home.exists() and not self.layout.containerd_root.exists():
            return
        before = self._before()
        services.remove()
        traces.clean(self.layout, before)
        traces.unmount_below([str(self.layout.containerd_root)])
        files.remove(self.layout.containerd_root)
        files.remove(self.layout.home)
        traces.clean_folders(before)
        services.end_slice()

    def traces(self) -> list[str]:
        """What ``reset`` would remove."""
        found = [f"unit {name}" for name in UNITS if (SYSTEMD_DIR / name).exists()]
        places = [self.layout.home, self.layout.containerd_root, self.layout.snapshots, self.layout.containerd_state]
        journal = self._journal()
        if journal is not None:
            found.append(f"membership of this host in the cluster {journal['cluster_name']}")
            places += [Path(folder) for folder in traces.OWN_FOLDERS]
        found += [f"path {place}" for place in places if place.exists()]
        if BRIDGE in traces.interfaces():
            found.append(f"interface {BRIDGE}")
        return found

    def serve(self, stop: threading.Event) -> None:
        """Nothing: what has to go on by itself is in units of its own."""

    # -- looking -------------------------------------------------------------------------------------------------

    def node(self) -> NodeStatus | None:
        """This host's Node; None outside a cluster.

        While no API server answers it stays for a while what it was, since one that starts anew, as in an upgrade, says
        nothing of the node; then it is not ready.
        """
        journal = self._journal()
        if journal is None or journal["phase"] not in ("in", "upgrading"):
            return None
        try:
            node = self._api(journal, timeout=5).node(journal["node_name"])
        except ApiError:
            cluster, at, known = self._node_seen
            if cluster == journal["cluster_uid"] and time.monotonic() - at < NODE_UNKNOWN_SECONDS:
                return known
            node = None
        if node is None:
            return NodeStatus(journal["node_name"], False, False, journal["version"], journal["pod_cidr"])
        spec, info = node.get("spec") or {}, (node.get("status") or {}).get("nodeInfo") or {}
        found = NodeStatus(
            journal["node_name"],
            node_ready(node),
            bool(spec.get("unschedulable")),
            str(info.get("kubeletVersion") or "").lstrip("v") or journal["version"],
            spec.get("podCIDR"),
        )
        self._node_seen = str(journal["cluster_uid"]), time.monotonic(), found
        return found

    def cluster_uid(self) -> str | None:
        """The cluster that this host is in, also while it comes or goes."""
        journal = self._journal()
        return str(journal["cluster_uid"]) if journal else None

    def health(self) -> Health:
        journal = self._journal()
        if journal is None or journal["phase"] not in ("in", "upgrading"):
            return Health(True)
        problems = [f"{unit} does not run" for unit in (CONTAINERD_UNIT, KUBELET_UNIT) if not services.active(unit)]
        if not journal["control_plane"]:
            return Health(not problems, "; ".join(problems))
        if not self._api(journal, timeout=4).ready():
            problems.append("the host's API server is not ready")
        found = etcd.summary(self.layout.bin)
        if not found.healthy:
            problems.append("etcd is not healthy")
        return Health(not problems, "; ".join(problems), found)

    def kubeconfig(self) -> str:
        self._admin()
        return ADMIN_CONF.read_text(encoding="utf-8")

    def certificates(self) -> list[Certificate]:
        if self._journal() is None:
            return []
        return [
            Certificate(item.name, item.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"), item.authority or None)
            for item in certificates.listed()
        ]

    def renew_certificates(self, report: Report = silent) -> None:
        """Renew what kubeadm made, and start anew who uses it. A worker's kubelet renews its own by itself."""
        journal = self._in()
        if not journal["control_plane"]:
            return
        report("renewing certificates")
        run(
            [self.layout.bin / "kubeadm", "certs", "renew", "all"],
            deadline=60,
            path=self.layout.bin,
            reason="RenewFailed",
        )
        report("restarting the control plane")
        self._restart_static_pods()
        api = self._api(journal, timeout=5)
        wait_until(
            lambda: api.ready() and etcd.healthy(self.layout.bin),
            deadline=180,
            reason="ControlPlaneNotReady",
            message="the control plane did not come back after its certificates were renewed",
        )

    def _containers(self, name: str) -> list[str]:
        wanted = f'labels."io.kubernetes.container.name"=={name}'
        return payload.ctr(self.layout, "containers", "ls", "-q", wanted, check=False, deadline=20).out.split()

    def _running(self, name: str) -> list[str]:
        """Containers of a static pod whose process runs."""
        tasks = payload.ctr(self.layout, "tasks", "ls", check=False, deadline=20).out.splitlines()
        alive = {line.split()[0] for line in tasks if line.split()[2:3] == ["RUNNING"]}
        return [item for item in self._containers(name) if item in alive]

    def _restart_static_pods(self) -> None:
        """End the containers of the control plane; the kubelet starts others."""
        before = {name: set(self._running(name)) for name in STATIC_PODS}

        def signal_all(signal: str) -> None:
            for name, items in before.items():
                for item in items & set(self._running(name)):
                    payload.ctr(self.layout, "tasks", "kill", "--signal", signal, item, check=False, deadline=20)

        signal_all("SIGTERM")
        with contextlib.suppress(EngineError):
            # an API server waits for its watchers, up to a minute
            wait_until(
                lambda: not any(items & set(self._running(name)) for name, items in before.items()),
                deadline=10,
                reason="StillThere",
                message="",
            )
        signal_all("SIGKILL")
        wait_until(
            lambda: all(set(self._running(name)) - items for name, items in before.items()),
            deadline=180,
            reason="ControlPlaneNotReady",
            message="the control plane's containers were not started again",
        )

    # -- etcd snapshots ------------------------------------------------------------------------------------------

    def _snapshot(self, label: str) -> Path:
        path = etcd.save(self.layout.bin, self.layout.snapshots / etcd.snapshot_name(time.time(), label))
        etcd.thin_out(self.layout.snapshots, SNAPSHOTS_KEPT)
        return path

    def snapshot(self, path: Path, report: Report = silent) -> None:
        """Save etcd's content to a file. Those of the schedule are in ``snapshots()``."""
        self._admin()
        report("saving an etcd snapshot")
        etcd.save(self.layout.bin, path)

    def snapshots(self) -> list[Path]:
        return sorted(self.layout.snapshots.glob("etcd-*.db")) if self.layout.snapshots.is_dir() else []

    def restore(self, path: Path, report: Report = silent) -> None:
        """Put etcd's content back to a snapshot. With several control planes: the same file on each of them, one
        after the other or at once; each waits until enough of them have it. The present data is kept beside."""
        journal = self._journal()
        if journal is None or not journal["control_plane"]:
            raise EngineError("NotControlPlane", "etcd is on control-plane hosts of a cluster only")
        etcdutl = self.layout.bin / "etcdutl"
        run([etcdutl, "snapshot", "status", path], deadline=60, reason="SnapshotUnreadable")
        planes: dict[str, str] = journal["control_planes"]
        held = files.private_dir(self.layout.state / "held-manifests")
        report("stopping the control plane")
        for name in STATIC_PODS:
            manifest = MANIFESTS_DIR / f"{name}.yaml"
            if manifest.exists():
                files.write(held / manifest.name, manifest.read_text(encoding="utf-8"), 0o600)
                manifest.unlink()
        wait_until(
            lambda: not any(self._running(name) for name in STATIC_PODS),
            deadline=120,
            reason="ControlPlaneStaysUp",
            message="the control plane's containers do not stop",
        )
        report("restoring etcd")
        fresh = ETCD_DIR / ".restored"
        files.remove(fresh)
        arguments = etcd.restore_arguments(path, fresh, journal["node_name"], planes)
        run([etcdutl, *arguments], deadline=300, reason="RestoreFailed")
        kept = etcd.swap_data(fresh)
        log.info("etcd's data from before is in %s", kept)
        report("starting the control plane")
        manifest = held / "etcd.yaml"
        files.write(manifest, etcd.restored_manifest(manifest.read_text(encoding="utf-8"), planes), 0o600)
        for name in STATIC_PODS:
            text = (held / f"{name}.yaml").read_text(encoding="utf-8")
            files.write(MANIFESTS_DIR / f"{name}.yaml", text, 0o600)
        files.remove(held)
        report("waiting for etcd" + (f" on {len(planes) // 2 + 1} of {len(planes)} hosts" if len(planes) > 1 else ""))
        api = self._api(journal, timeout=5)
        wait_until(
            lambda: etcd.healthy(self.layout.bin) and api.ready(),
            deadline=300 if len(planes) == 1 else 1800,
            reason="ControlPlaneNotReady",
            message="the control plane did not come up; with several control planes, restore the same file on each",
        )


SECRETS = "/api/v1/namespaces/kube-system/secrets"
TOKEN_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def _token() -> str:
    letters = [secrets.choice(TOKEN_LETTERS) for _ in range(22)]
    return f"{''.join(letters[:6])}.{''.join(letters[6:])}"


def token_secret(token: str, expires: datetime.datetime) -> Json:
    """A bootstrap token for joining (Kubernetes documentation, "Authenticating with Bootstrap Tokens")."""
    token_id, _, secret = token.partition(".")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "stringData": {
            "token-id": token_id,
            "token-secret": secret,
            "expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        },
    }


def skew_problem(present: str, wanted: str) -> str | None:
    """Why a host cannot go from one version to another, or None (Kubernetes' version skew policy)."""
    have, want = payload.version_key(present), payload.version_key(wanted)
    if want < have:
        return f"Kubernetes {present} cannot go back to {wanted}"
    if have[0] != want[0] or want[1] - have[1] > 1:
        return f"Kubernetes {present} cannot go to {wanted} at once: one minor version at a time"
    return None


def same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second) or (
            first.stat().st_size == second.stat().st_size and first.read_bytes() == second.read_bytes()
        )
    except OSError:
        return False


def pack_status(pack: Pack, state: str, message: str) -> PackStatus:
    return PackStatus(pack.profile_uid, pack.name, pack.digest, state, message)
