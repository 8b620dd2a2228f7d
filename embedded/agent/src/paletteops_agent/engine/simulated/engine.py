# SPDX-License-Identifier: GPL-3.0-or-later
"""The seam's calls, simulated: each takes the time that the real thing takes, divided by ``speed``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from .. import (
    Bundle,
    Certificate,
    Cluster,
    EngineError,
    EtcdHealth,
    Finding,
    Health,
    JoinMaterial,
    Member,
    NodeStatus,
    Pack,
    PackStatus,
    Report,
    Surroundings,
    silent,
)
from .api import ApiServer
from .world import Json, World, default_directory

#: seconds that each call takes at speed 1, as measured on hosts
SECONDS = {
    "bootstrap": 45.0,
    "join": 30.0,
    "upgrade": 60.0,
    "drain": 15.0,
    "admit": 2.0,
    "forget": 2.0,
    "leave": 5.0,
    "renew_certificates": 5.0,
    "snapshot": 2.0,
    "restore": 20.0,
}
READY_SECONDS = 10.0
PACK_SECONDS = 15.0
CERTIFICATES = ("admin.conf", "apiserver", "apiserver-etcd-client", "apiserver-kubelet-client", "etcd-server")
_CALLS = tuple(SECONDS) + ("apply", "configure")


def _now() -> datetime:
    return datetime.now(timezone.utc)


def rfc3339(when: datetime) -> str:
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")


class SimulatedEngine:
    """What it did is in a file below the stylus root, so that it is still so after a restart."""

    name = "simulated"

    def __init__(self, surroundings: Surroundings) -> None:
        options = surroundings.options
        self._speed = _number(options, "speed", 1.0)
        self._tls = bool(options.get("tls", True))
        self._serves_api = bool(options.get("api", True))
        self._faults = _faults(options.get("faults") or [])
        self._world = World(Path(options.get("directory") or default_directory()))
        self._path = surroundings.root / "opt/spectrocloud/simulated/host.json"
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._api: ApiServer | None = None
        self._host: Json = {"cluster": None, "failed": {}}
        with contextlib.suppress(FileNotFoundError):
            self._host = json.loads(self._path.read_text("utf-8"))

    # --- what it keeps ---

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._host), "utf-8")
        partial.chmod(0o600)
        partial.replace(self._path)

    @property
    def _cluster_uid(self) -> str:
        return str(self._host["cluster"] or "")

    def _take(self, call: str, node: str, report: Report, step: str) -> None:
        """Spend the time of a call, and fail where a fault says so."""
        report(step)
        self._stop.wait(SECONDS.get(call, 0.0) / self._speed)
        with self._lock:
            counts: dict[str, int] = self._host["failed"]
            for place, fault in enumerate(self._faults):
                key = f"{place} {call} {node}"
                if fault["call"] == call and node.startswith(fault["node"]) and counts.get(key, 0) < fault["times"]:
                    counts[key] = counts.get(key, 0) + 1
                    self._save()
                    raise EngineError(fault["reason"], fault["message"])
            key = f"name {call}"
            if node.startswith(f"fail-{call}-") and not counts.get(key):
                counts[key] = 1
                self._save()
                raise EngineError("Simulated", f"{call} fails once on a node of this name")

    # --- content ---

    def preflight(self, cluster: Cluster, member: Member) -> list[Finding]:
        if member.node_name.startswith("fail-preflight-"):
            return [Finding("simulated", "a node of this name has findings")]
        return []

    def needs_payload(self) -> bool:
        return False

    def payload(self, bundle_dir: Path, bundle: Bundle, report: Report = silent) -> None:
        report("nothing to import")

    def holds(self, pack: str, version: str) -> bool:
        return True

    def contents(self) -> list[tuple[str, str]]:
        return []

    # --- life of a member ---

    def bootstrap(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        self._take("bootstrap", member.node_name, report, "starting the control plane")
        with self._world.change(cluster.uid) as shared:
            if not shared.get("nodes"):
                shared.clear()
                shared.update(
                    name=cluster.name,
                    version=cluster.version,
                    created_at=rfc3339(_now()),
                    token=secrets.token_urlsafe(24),
                    nodes={},
                    tokens={},
                    packs={},
                )
            _enrol(shared, cluster, member, READY_SECONDS / self._speed)
        self._become_member(cluster, member)

    def join(self, cluster: Cluster, member: Member, material: JoinMaterial, report: Report = silent) -> None:
        self._take("join", member.node_name, report, f"joining {material.endpoint}")
        with self._world.change(cluster.uid) as shared:
            expiry = shared.get("tokens", {}).get(_digest(material.token))
            if expiry is None or expiry < time.time():
                raise EngineError("JoinRefused", "the cluster does not know the join token, or it has expired")
            if member.control_plane and not material.certificate_key:
                raise EngineError("JoinRefused", "a control-plane host needs a certificate key")
            _enrol(shared, cluster, member, READY_SECONDS / self._speed)
        self._become_member(cluster, member)

    def _become_member(self, cluster: Cluster, member: Member) -> None:
        with self._lock:
            self._host.update(
                cluster=cluster.uid,
                node_name=member.node_name,
                control_plane=member.control_plane,
                certificates_at=time.time(),
            )
            self._save()
        self._keep_api()

    def upgrade(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        self._take("upgrade", member.node_name, report, f"upgrading to {cluster.version}")
        with self._world.change(cluster.uid) as shared:
            node = _node(shared, member.node_name)
            node["version"] = cluster.version
            node["ready_at"] = time.time() + READY_SECONDS / self._speed
            if member.control_plane:
                shared["version"] = cluster.version
            self._host["certificates_at"] = time.time()
            self._save()

    def configure(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        self._fail_if_asked("configure", member.node_name)
        with self._world.change(cluster.uid) as shared:
            node = shared.get("nodes", {}).get(member.node_name)
            if node is not None:
                node.update(_described(member))
        self._keep_api()

    def leave(self, force: bool, report: Report = silent) -> None:
        uid, name = self._cluster_uid, str(self._host.get("node_name", ""))
        if uid:
            self._take("leave", name, report, "leaving the cluster")
            self._close_api()
            with self._world.change(uid) as shared:
                node = shared.get("nodes", {}).get(name)
                if node is not None:
                    node["gone"] = True
                if all(one.get("gone") for one in shared.get("nodes", {}).values()):
                    shared.clear()
        with self._lock:
            self._host = {"cluster": None, "failed": self._host["failed"]}
            self._save()

    def reset(self, report: Report = silent) -> None:
        self.leave(True, report)
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._path.parent.rmdir()

    def traces(self) -> list[str]:
        return [str(self._path)] if self._path.exists() else []

    # --- what a lead does ---

    def admit(self, control_plane: bool, lifetime_seconds: int, report: Report = silent) -> JoinMaterial:
        self._take("admit", self._name, report, "making join material")
        token = f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"
        expires = time.time() + lifetime_seconds
        with self._world.change(self._cluster_uid) as shared:
            _require(shared)
            now = time.time()
            shared["tokens"] = {key: until for key, until in shared["tokens"].items() if until > now}
            shared["tokens"][_digest(token)] = expires
        return JoinMaterial(
            endpoint=f"127.0.0.1:{self._port() or 6443}",
            token=token,
            ca_cert_hashes=["sha256:" + hashlib.sha256(self._cluster_uid.encode()).hexdigest()],
            certificate_key=secrets.token_hex(32) if control_plane else None,
            expires_at=rfc3339(datetime.fromtimestamp(expires, timezone.utc)),
        )

    def drain(self, node_name: str, timeout: int, report: Report = silent) -> None:
        with self._world.change(self._cluster_uid) as shared:
            node = _require(shared)["nodes"].get(node_name)
            if node is None:
                return
            node["cordoned"] = True
        self._take("drain", node_name, report, f"draining {node_name}")

    def uncordon(self, node_name: str) -> None:
        with self._world.change(self._cluster_uid) as shared:
            _node(shared, node_name)["cordoned"] = False

    def forget(self, node_name: str, control_plane: bool, address: str, report: Report = silent) -> None:
        self._take("forget", node_name, report, f"forgetting {node_name}")
        with self._world.change(self._cluster_uid) as shared:
            _require(shared)["nodes"].pop(node_name, None)

    def apply(self, packs: Sequence[Pack], report: Report = silent) -> list[PackStatus]:
        self._fail_if_asked("apply", self._name)
        found = []
        now = time.time()
        with self._world.change(self._cluster_uid) as shared:
            applied = _require(shared)["packs"]
            wanted = {f"{pack.profile_uid} {pack.name}": pack for pack in packs}
            for key in [key for key in applied if key not in wanted]:
                del applied[key]
            for key, pack in wanted.items():
                entry = applied.get(key)
                if entry is None or entry["digest"] != pack.digest:
                    report(f"applying {pack.name}")
                    entry = applied[key] = {
                        "name": pack.name,
                        "version": pack.version,
                        "digest": pack.digest,
                        "ready_at": now + PACK_SECONDS / self._speed,
                    }
                broken = any("simulate-error" in manifest.content for manifest in pack.manifests)
                state = "Error" if broken else "Ready" if now >= entry["ready_at"] else "Deploying"
                message = "a manifest asks for a simulated error" if broken else ""
                found.append(PackStatus(pack.profile_uid, pack.name, pack.digest, state, message))
        return found

    # --- what it shows ---

    @property
    def _name(self) -> str:
        return str(self._host.get("node_name", ""))

    def _shared(self) -> Json:
        return self._world.read(self._cluster_uid) if self._cluster_uid else {}

    def node(self) -> NodeStatus | None:
        entry = self._shared().get("nodes", {}).get(self._name)
        if entry is None or entry.get("gone"):
            return None
        return NodeStatus(
            name=self._name,
            ready=time.time() >= entry["ready_at"],
            cordoned=entry["cordoned"],
            kubernetes_version=entry["version"],
            pod_cidr=entry["pod_cidr"],
        )

    def health(self) -> Health:
        shared = self._shared()
        if not self._cluster_uid:
            return Health(True)
        if self.node() is None:
            return Health(False, "the cluster does not know this node")
        if not self._host.get("control_plane"):
            return Health(True)
        members = sum(1 for one in shared["nodes"].values() if one["control_plane"] and not one.get("gone"))
        return Health(True, etcd=EtcdHealth(True, members))

    def kubeconfig(self) -> str:
        self._keep_api()
        if self._api is None:
            return _kubeconfig("https://127.0.0.1:6443", "", str(self._shared().get("token", "")), self._cluster_uid)
        authority = self._api.authority
        return _kubeconfig(self._api.url, authority, str(self._shared().get("token", "")), self._cluster_uid)

    def certificates(self) -> list[Certificate]:
        if not self._host.get("control_plane"):
            return []
        until = datetime.fromtimestamp(self._host["certificates_at"], timezone.utc) + timedelta(days=365)
        return [
            Certificate(name, rfc3339(until), "etcd-ca" if name.startswith("etcd") else "ca") for name in CERTIFICATES
        ]

    def renew_certificates(self, report: Report = silent) -> None:
        self._take("renew_certificates", self._name, report, "renewing certificates")
        with self._lock:
            self._host["certificates_at"] = time.time()
            self._save()

    def snapshot(self, path: Path, report: Report = silent) -> None:
        self._take("snapshot", self._name, report, "taking a snapshot")
        path.write_text(json.dumps(_require(self._shared())), "utf-8")

    def restore(self, path: Path, report: Report = silent) -> None:
        try:
            content = json.loads(path.read_text("utf-8"))
            _require(content)
        except (OSError, ValueError, TypeError):
            raise EngineError("SnapshotWrong", f"{path} is no snapshot of this engine", retry=False) from None
        self._take("restore", self._name, report, "restoring")
        with self._world.change(self._cluster_uid) as shared:
            shared.clear()
            shared.update(content)

    def serve(self, stop: threading.Event) -> None:
        """Answers kubectl while the host is in the control plane."""
        self._keep_api()
        stop.wait()
        self._stop.set()
        self._close_api()

    # --- the API ---

    def _port(self) -> int | None:
        return None if self._api is None else self._api.port

    def _keep_api(self) -> None:
        with self._lock:
            wanted = self._serves_api and bool(self._cluster_uid) and bool(self._host.get("control_plane"))
            if wanted and self._api is None and not self._stop.is_set():
                certificate = self._world.certificate() if self._tls else None
                self._api = ApiServer(self._shared, int(self._host.get("port", 0)), certificate)
                if self._host.get("port") != self._api.port:
                    self._host["port"] = self._api.port
                    self._save()

    def _close_api(self) -> None:
        with self._lock:
            if self._api is not None:
                self._api.close()
                self._api = None

    def _fail_if_asked(self, call: str, node: str) -> None:
        self._take(call, node, silent, call)


def _number(options: Mapping[str, Any], name: str, default: float) -> float:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise ValueError(f"simulated.{name} is {value!r}; it must be a number above 0")
    return float(value)


def _faults(given: Any) -> list[dict[str, Any]]:
    faults = []
    for place, fault in enumerate(given):
        if not isinstance(fault, Mapping) or fault.get("call") not in _CALLS:
            raise ValueError(f"simulated.faults[{place}].call must be one of {', '.join(_CALLS)}")
        faults.append(
            {
                "call": fault["call"],
                "node": str(fault.get("node", "")),
                "times": int(fault.get("times", 1)),
                "reason": str(fault.get("reason", "Simulated")),
                "message": str(fault.get("message", f"{fault['call']} is made to fail")),
            }
        )
    return faults


def _require(shared: Json) -> Json:
    if "nodes" not in shared:
        raise EngineError("ClusterGone", "the cluster does not answer")
    return shared


def _node(shared: Json, name: str) -> Json:
    try:
        found: Json = _require(shared)["nodes"][name]
    except KeyError:
        raise EngineError("NodeUnknown", f"the cluster has no node {name!r}") from None
    return found


def _enrol(shared: Json, cluster: Cluster, member: Member, delay: float) -> None:
    """Add a node, or bring back one of the same name."""
    nodes: dict[str, Json] = shared["nodes"]
    before = nodes.get(member.node_name, {})
    used = {one["number"] for one in nodes.values()}
    number = before.get("number", next(place for place in range(1, 1 << 16) if place not in used))
    nodes[member.node_name] = {
        "number": number,
        "pod_cidr": _pod_range(cluster.pod_cidr, number),
        "version": cluster.version,
        "created_at": rfc3339(_now()),
        "ready_at": time.time() + delay,
        "cordoned": False,
        **_described(member),
    }


def _described(member: Member) -> Json:
    return {
        "control_plane": member.control_plane,
        "schedulable": member.schedulable,
        "address": member.address,
        "labels": dict(member.labels),
        "annotations": dict(member.annotations),
        "taints": [{"key": one.key, "value": one.value, "effect": one.effect} for one in member.taints],
    }


def _pod_range(cidr: str, number: int) -> str | None:
    import ipaddress

    try:
        network = ipaddress.ip_network(cidr, strict=False)
        if network.version != 4 or network.prefixlen > 24:
            return None
        return f"{network.network_address + 256 * (number - 1)}/24"
    except ValueError:
        return None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _kubeconfig(server: str, authority: str, token: str, name: str) -> str:
    """As YAML (JSON is YAML)."""
    cluster: Json = {"server": server}
    if authority:
        cluster["certificate-authority-data"] = authority
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "admin", "context": {"cluster": name, "user": "admin"}}],
        "current-context": "admin",
        "preferences": {},
    }
    return json.dumps(content, indent=1) + "\n"
