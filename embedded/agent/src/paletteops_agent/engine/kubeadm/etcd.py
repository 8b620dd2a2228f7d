# SPDX-License-Identifier: GPL-3.0-or-later
"""The stacked etcd of this host: health, members, snapshots and the way back from one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paletteops_agent.engine import EngineError, EtcdHealth

from . import files
from .commands import Result, run
from .layout import ETCD_DIR, MANIFESTS_DIR, PKI_DIR

CLIENT_PORT, PEER_PORT = 2379, 2380
SNAPSHOT_NAME = re.compile(r"^etcd-\d{8}T\d{6}Z(-[a-z0-9.-]+)?\.db$")
MANIFEST = MANIFESTS_DIR / "etcd.yaml"


@dataclass(frozen=True)
class EtcdMember:
    id: int
    name: str
    peer_urls: list[str]
    learner: bool

    @property
    def hex_id(self) -> str:
        return f"{self.id:x}"


def _etcdctl(bin_dir: Path, *words: str, deadline: float = 15.0, check: bool = True) -> Result:
    return run(
        [
            bin_dir / "etcdctl",
            f"--endpoints=https://127.0.0.1:{CLIENT_PORT}",
            f"--cacert={PKI_DIR}/etcd/ca.crt",
            f"--cert={PKI_DIR}/etcd/healthcheck-client.crt",
            f"--key={PKI_DIR}/etcd/healthcheck-client.key",
            f"--command-timeout={max(2, int(deadline) - 2)}s",
            "--dial-timeout=2s",
            *words,
        ],
        deadline=deadline,
        check=check,
        reason="EtcdUnavailable",
    )


def healthy(bin_dir: Path) -> bool:
    """Whether this host's member answers with a quorum behind it."""
    return _etcdctl(bin_dir, "endpoint", "health", deadline=7, check=False).ok


def parse_members(text: str) -> list[EtcdMember]:
    return [
        EtcdMember(
            int(item["ID"]), str(item.get("name") or ""), list(item.get("peerURLs") or []), bool(item.get("isLearner"))
        )
        for item in json.loads(text).get("members") or []
    ]


def members(bin_dir: Path, deadline: float = 10.0) -> list[EtcdMember]:
    return parse_members(_etcdctl(bin_dir, "member", "list", "--write-out=json", deadline=deadline).out)


def find_member(items: list[EtcdMember], address: str, name: str) -> EtcdMember | None:
    """By address of the peer URL, else by name (a member that never started has none)."""
    for item in items:
        if any(f"//{address}:" in url or f"//[{address}]:" in url for url in item.peer_urls):
            return item
    return next((item for item in items if item.name == name), None)


def remove_member(bin_dir: Path, address: str, name: str, deadline: float = 15.0) -> bool:
    """Take a member out if it is still in; True when it was. Never the last one. EngineError without a quorum."""
    items = members(bin_dir, deadline)
    found = find_member(items, address, name)
    if found is None or len(items) == 1:
        return False
    _etcdctl(bin_dir, "member", "remove", found.hex_id, deadline=deadline)
    return True


def snapshot_name(at: float, label: str = "") -> str:
    return f"etcd-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(at))}{f'-{label}' if label else ''}.db"


def save(bin_dir: Path, path: Path) -> Path:
    """Save a snapshot; the file is there only when it is whole. It holds every secret of the cluster: 0600."""
    files.private_dir(path.parent)
    part = path.with_name(f".{path.name}.part")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    try:
        _etcdctl(bin_dir, "snapshot", "save", str(part), deadline=120)
        part.chmod(0o600)
        part.replace(path)
    finally:
        for left in path.parent.glob(f".{path.name}.part*"):
            left.unlink()
    return path


def surplus(names: list[str], keep: int) -> list[str]:
    """Which snapshots of ours are more than the newest ``keep``; files with other names are never among them."""
    ours = sorted(name for name in names if SNAPSHOT_NAME.match(name))
    return ours[: max(0, len(ours) - keep)]


def thin_out(folder: Path, keep: int) -> None:
    for name in surplus([item.name for item in folder.iterdir()], keep):
        (folder / name).unlink()


def newest(folder: Path) -> float:
    """When the newest snapshot was made, in seconds since the epoch; 0 without one."""
    times = [item.stat().st_mtime for item in folder.glob("etcd-*.db")] if folder.is_dir() else []
    return max(times, default=0.0)


def restore_arguments(snapshot: Path, data_dir: Path, name: str, members_by_name: Mapping[str, str]) -> list[str]:
    """Arguments of ``etcdutl`` that make a member's data from a snapshot.

    ``members_by_name``: addresses of all members of the new cluster. The token comes from the snapshot's content, so
    that hosts that restore the same file become one cluster, and no old member can join it. The revision is raised so
    that nobody who watches takes the past for the present.
    """
    if name not in members_by_name:
        raise EngineError("NotAMember", f"{name} is not among the members {', '.join(sorted(members_by_name))}")
    peers = {key: f"https://{address}:{PEER_PORT}" for key, address in members_by_name.items()}
    with snapshot.open("rb") as file:
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return [
        "snapshot",
        "restore",
        str(snapshot),
        f"--data-dir={data_dir}",
        f"--name={name}",
        f"--initial-cluster={','.join(f'{key}={url}' for key, url in sorted(peers.items()))}",
        f"--initial-advertise-peer-urls={peers[name]}",
        f"--initial-cluster-token=restored-{digest.hexdigest()[:16]}",
        "--bump-revision=1000000000",
        "--mark-compacted",
    ]


def restored_manifest(manifest: str, members_by_name: Mapping[str, str]) -> str:
    """kubeadm's manifest with the members of the restored cluster; the rest as it is."""
    cluster = ",".join(f"{key}=https://{address}:{PEER_PORT}" for key, address in sorted(members_by_name.items()))
    text, count = re.subn(r"(?m)^(\s*- --initial-cluster=).*$", rf"\g<1>{cluster}", manifest)
    if count != 1:
        raise EngineError("EtcdManifest", f"{MANIFEST} has no --initial-cluster; it is not kubeadm's")
    return text


def swap_data(fresh: Path) -> Path:
    """Put restored data in the place of the present; the present is kept beside it. Answers where."""
    kept = ETCD_DIR / f"member.before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    current = ETCD_DIR / "member"
    if current.exists():
        current.rename(kept)
    (fresh / "member").rename(current)
    files.remove(fresh)
    return kept


def summary(bin_dir: Path) -> EtcdHealth:
    fine = healthy(bin_dir)
    count = 0
    with contextlib.suppress(EngineError, ValueError, KeyError):
        count = len(members(bin_dir, 7))
    return EtcdHealth(fine, count)
