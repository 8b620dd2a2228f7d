# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of this host: names as kubeadm's, when each ends, read from the files themselves (works offline)."""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from .commands import run
from .layout import KUBELET_CLIENT, KUBERNETES_DIR, PKI_DIR

# names as of ``kubeadm certs check-expiration``, and the authority that signs
FILES: dict[str, str] = {
    "apiserver": "apiserver.crt",
    "apiserver-etcd-client": "apiserver-etcd-client.crt",
    "apiserver-kubelet-client": "apiserver-kubelet-client.crt",
    "etcd-healthcheck-client": "etcd/healthcheck-client.crt",
    "etcd-peer": "etcd/peer.crt",
    "etcd-server": "etcd/server.crt",
    "front-proxy-client": "front-proxy-client.crt",
    "ca": "ca.crt",
    "etcd-ca": "etcd/ca.crt",
    "front-proxy-ca": "front-proxy-ca.crt",
}
AUTHORITIES = ("ca", "etcd-ca", "front-proxy-ca")
KUBECONFIGS = ("admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf")
_DATA = re.compile(r"(?m)^\s*client-certificate-data:\s*(\S+)")


@dataclass(frozen=True)
class Found:
    name: str
    expires_at: datetime.datetime
    authority: str


def authority_of(name: str) -> str:
    if name in AUTHORITIES:
        return ""
    if name.startswith("etcd-") or name == "apiserver-etcd-client":
        return "etcd-ca"
    return "front-proxy-ca" if name.startswith("front-proxy") else "ca"


def listed() -> list[Found]:
    found = []
    for name, file in FILES.items():
        path = PKI_DIR / file
        # a worker has the authority's certificate and no key for it
        if path.is_file() and (name not in AUTHORITIES or path.with_suffix(".key").is_file()):
            found.append((name, path.read_text()))
    for name in KUBECONFIGS:
        path = KUBERNETES_DIR / name
        match = _DATA.search(path.read_text()) if path.is_file() else None
        if match:
            found.append((name, base64.b64decode(match.group(1)).decode()))
    if KUBELET_CLIENT.is_file():
        text = KUBELET_CLIENT.read_text()
        found.append(("kubelet-client", text[text.find("-----BEGIN CERTIFICATE") :]))
    answer = []
    for name, text in found:
        at = end_of(text)
        if at is not None:
            answer.append(Found(name, at, authority_of(name)))
    return sorted(answer, key=lambda item: item.name)


def end_of(certificate: str) -> datetime.datetime | None:
    shown = run(["openssl", "x509", "-noout", "-enddate"], stdin=certificate, check=False, deadline=10)
    return parse_end(shown.out) if shown.ok else None


def parse_end(text: str) -> datetime.datetime | None:
    """The time of openssl's ``notAfter=Nov 24 22:00:00 2027 GMT``."""
    try:
        stamp = " ".join(text.strip().partition("=")[2].split())
        return datetime.datetime.strptime(stamp, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return None


def due(items: list[Found], now: datetime.datetime, within: datetime.timedelta) -> list[str]:
    """Names that kubeadm can renew and that end within the time: authorities and the kubelet's own are not among."""
    return [
        item.name
        for item in items
        if item.name not in AUTHORITIES and item.name != "kubelet-client" and item.expires_at - now < within
    ]


def ca_hash(ca: Path) -> str:
    """The pin of kubeadm's discovery: SHA-256 of the authority's public key (SubjectPublicKeyInfo)."""
    key = run(["openssl", "x509", "-in", ca, "-noout", "-pubkey"], deadline=10, reason="NoAuthority").out
    body = "".join(line for line in key.splitlines() if line and not line.startswith("-----"))

    return "sha256:" + hashlib.sha256(base64.b64decode(body)).hexdigest()
