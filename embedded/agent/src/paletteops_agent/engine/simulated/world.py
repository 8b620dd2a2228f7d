# SPDX-License-Identifier: GPL-3.0-or-later
"""What the simulated hosts of a cluster share, as real ones share etcd: one file for each cluster, under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import EngineError

Json = dict[str, Any]


def default_directory() -> Path:
    return Path(tempfile.gettempdir()) / f"paletteops-simulated-{os.getuid()}"


class World:
    """The clusters of a folder, which belongs to this user alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _make_folder(self) -> None:
        with contextlib.suppress(FileExistsError):
            self._directory.mkdir(mode=0o700, parents=True)
        found = self._directory.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise EngineError(
                "SimulationFolder",
                f"{self._directory} belongs to another user or is open to others: set simulated.directory",
                retry=False,
            )

    def _path(self, cluster_uid: str) -> Path:
        return self._directory / (re.sub(r"[^A-Za-z0-9_-]", "_", cluster_uid)[:120] + ".json")

    def read(self, cluster_uid: str) -> Json:
        """The cluster as it is; empty where there is none."""
        try:
            content: Json = json.loads(self._path(cluster_uid).read_text("utf-8"))
            return content
        except FileNotFoundError:
            return {}

    @contextlib.contextmanager
    def change(self, cluster_uid: str) -> Iterator[Json]:
        """The cluster, to be changed; an empty one is removed."""
        self._make_folder()
        path = self._path(cluster_uid)
        with open(path.with_suffix(".lock"), "a", encoding="ascii") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            content = self.read(cluster_uid)
            before = json.dumps(content, sort_keys=True)
            yield content
            if not content:
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
            elif json.dumps(content, sort_keys=True) != before:
                partial = path.with_suffix(f".{os.getpid()}.partial")
                partial.write_text(json.dumps(content), "utf-8")
                os.replace(partial, path)

    def certificate(self) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 that is its own authority, and its key; one for all clusters of the folder."""
        self._make_folder()
        certificate, key = self._directory / "api.pem", self._directory / "api.key"
        with open(self._directory / "api.lock", "a", encoding="ascii") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not certificate.exists():
                command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
                command += [
                    "-days",
                    "3650",
                    "-subj",
                    "/CN=simulated",
                    "-keyout",
                    str(key),
                    "-out",
                    f"{certificate}.new",
                ]
                command += ["-out", f"{certificate}.new", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
                try:
                    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
                except (OSError, subprocess.SubprocessError) as error:
                    raise EngineError("SimulationFolder", f"openssl made no certificate: {error}") from None
                key.chmod(0o600)
                os.replace(f"{certificate}.new", certificate)
        return certificate, key
