# SPDX-License-Identifier: GPL-3.0-or-later
"""Content bundles, good ones and every kind of bad ones."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paletteops_agent.hostinfo import architecture

MEMBERS = {"bin/kubelet": (b"#!/bin/sh\n" * 100, "0755"), "images/pause.tar": (b"\0\1" * 5000, "0644")}


class Keys:
    """A key pair, made by openssl."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.private = folder / "private.pem"
        curve = ["-pkeyopt", "ec_paramgen_curve:P-256"]
        _openssl("genpkey", "-algorithm", "EC", *curve, "-out", str(self.private))
        self.public = _openssl("pkey", "-in", str(self.private), "-pubout").decode()

    def sign(self, content: bytes, folder: Path) -> bytes:
        (folder / "to-sign").write_bytes(content)
        return _openssl("dgst", "-sha256", "-sign", str(self.private), str(folder / "to-sign"))


def _openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60).stdout


@dataclass
class Maker:
    """Makes a bundle; the fields say where it is to differ from a good one."""

    folder: Path
    keys: Keys
    version: str = "1.35.4"
    name: str = "edge-k8s"
    arch: str = field(default_factory=architecture)
    serial: int = 1
    members: dict[str, tuple[bytes, str]] = field(default_factory=lambda: dict(MEMBERS))
    #: of bundle.json: what is listed otherwise than it is
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    signature: bytes | None = None
    #: entries of the archive instead of the members, as they are
    entries: list[tuple[tarfile.TarInfo, bytes]] | None = None
    more: list[tuple[tarfile.TarInfo, bytes]] = field(default_factory=list)
    tail: bytes = b""
    format: int = tarfile.USTAR_FORMAT

    def bundle_json(self) -> bytes:
        members = {
            name: {
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "mode": mode,
                **self.listed.get(name, {}),
            }
            for name, (content, mode) in self.members.items()
        }
        content = {
            "format": 1,
            "name": self.name,
            "version": self.version,
            "architecture": self.arch,
            "created": "2026-01-01T00:00:00Z",
            "serial": self.serial,
            "kubernetes": {"images": {"pause": "registry.k8s.io/pause:3.10"}},
            "members": members,
            **self.manifest,
        }
        return json.dumps(content).encode()

    def archive(self) -> bytes:
        stream = io.BytesIO()
        manifest = self.bundle_json()
        signature = self.keys.sign(manifest, self.folder) if self.signature is None else self.signature
        with tarfile.open(fileobj=stream, mode="w", format=self.format) as archive:
            _add(archive, *entry("bundle.json", manifest))
            if signature:
                _add(archive, *entry("bundle.json.sig", signature))
            given = self.entries
            if given is None:
                given = [entry(name, content) for name, (content, _) in self.members.items()]
            for item in [*given, *self.more]:
                _add(archive, *item)
        return stream.getvalue() + self.tail

    def make(self, name: str = "") -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / (name or f"{self.name}-{self.version}-{self.arch}.tar.zst")
        path.write_bytes(compress(self.archive()))
        return path


def compress(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=content, check=True, capture_output=True, timeout=120).stdout


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **facts: Any
) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.mode = kind, len(content), 0o644
    for key, value in facts.items():
        setattr(made, key, value)
    return made, content


def _add(archive: tarfile.TarFile, made: tarfile.TarInfo, content: bytes) -> None:
    archive.addfile(made, io.BytesIO(content))
