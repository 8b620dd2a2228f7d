# SPDX-License-Identifier: GPL-3.0-or-later
"""One plane: its store, its clock, its settings, and what a fresh data file holds."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paletteops_plane.clock import Clock
from paletteops_plane.join_material import JoinMaterial
from paletteops_plane.limits import Limiter
from paletteops_plane.store import Document, Store, new_uid

ADMIN_EMAIL = "admin@localhost"
ORGANIZATION = "Default"
FIRST_PROJECT = "Default"
FIRST_GATEWAY = "pcg-default"


@dataclass(frozen=True)
class Settings:
    """How a plane runs; what the command line sets."""

    data: Path
    #: Where the first API key of a fresh data file goes.
    key_file: Path | None = None
    #: Factor of the simulated provisioner: 1 is realistic minutes.
    speed: float = 60.0
    limits: bool = True
    test_controls: bool = False
    #: The certificate of the plane's own authority when it speaks TLS.
    ca_file: Path | None = None
    #: The folder with the content bundles that hosts get.
    content: Path | None = None


@dataclass
class Plane:
    """What a handler works on."""

    settings: Settings
    store: Store
    clock: Clock
    limiter: Limiter | None
    #: Faults that a test asked for; each part of the plane looks for those of its own kind.
    faults: list[dict[str, Any]] = field(default_factory=list)
    #: ``(seconds, function)``: called again and again while the plane runs, on the thread of the requests.
    background: list[tuple[float, Callable[[Plane], None]]] = field(default_factory=list)
    #: Called before each request, so that it finds things as they are by now.
    before_request: list[Callable[[Plane], None]] = field(default_factory=list)
    #: Clusters in motion by uid, and when the next thing happens to them (seconds of the plane's clock).
    moving: dict[str, float] = field(default_factory=dict)
    #: Called with the uids of hosts whose desired state may have changed; within the transaction that changed it.
    hosts_changed: list[Callable[[set[str]], None]] = field(default_factory=list)
    #: Called when the plane is about to end, so that whoever waits is answered.
    ending: list[Callable[[], None]] = field(default_factory=list)
    join_material: JoinMaterial = field(default_factory=JoinMaterial)
    #: When this plane started (seconds of its clock): before that it heard of nobody.
    started: float = 0.0

    @classmethod
    def open(cls, settings: Settings) -> Plane:
        """Open the data file, or make a fresh one. ``StoreError`` when it cannot be used."""
        store = Store(settings.data)
        plane = cls(settings, store, Clock(store), Limiter() if settings.limits else None)
        plane.started = plane.clock.now().timestamp()
        if store.setting("initialised") is None:
            _fill(plane)
        return plane

    def close(self) -> None:
        self.store.close()

    @property
    def tenant_uid(self) -> str:
        uid: str = self.store.setting("tenant_uid")
        return uid

    def secret(self, purpose: str) -> bytes:
        """A random secret of this data file for one purpose, made on first use."""
        name = f"secret:{purpose}"
        value: str | None = self.store.setting(name)
        if value is None:
            value = secrets.token_hex(32)
            self.store.set_setting(name, value)
        return bytes.fromhex(value)

    def new_metadata(
        self,
        name: str,
        uid: str,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """The metadata of a new object (v1ObjectMeta)."""
        now = self.clock.timestamp()
        metadata: dict[str, Any] = {"name": name, "uid": uid, "creationTimestamp": now, "lastModifiedTimestamp": now}
        if labels:
            metadata["labels"] = labels
        if annotations:
            metadata["annotations"] = annotations
        return metadata

    def touch(self, document: Document) -> None:
        """Store a changed document with the time of its change. ``NameTaken``."""
        document.body["metadata"]["lastModifiedTimestamp"] = self.clock.timestamp()
        self.store.save(document)


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(path)


def beside(data: Path, suffix: str) -> Path:
    """A file that belongs to a data file and lies beside it."""
    return data.with_name(data.name + suffix)


def _fill(plane: Plane) -> None:
    """What a fresh data file holds: an administrator with a key, a project, a private cloud gateway.

    The key and the password go to files of their owner alone, before the store says that it is filled: a start that
    is killed in between is done again.
    """
    from paletteops_plane.auth import create_api_key, hash_password

    settings, store = plane.settings, plane.store
    with store.transaction():
        store.set_setting("tenant_uid", new_uid())
        store.set_setting("began", plane.clock.timestamp())
        password = secrets.token_urlsafe(18)
        user = Document(kind="user", name=ADMIN_EMAIL, body={"_password": hash_password(password)})
        user.body |= {
            "metadata": plane.new_metadata(ADMIN_EMAIL, user.uid),
            "spec": {"emailId": ADMIN_EMAIL, "firstName": "Tenant", "lastName": "Admin"},
        }
        store.add(user)
        _, key = create_api_key(plane, "initial", user, expiry=None)

        project = Document(kind="project", name=FIRST_PROJECT, body={})
        project.body |= {"spec": {"logoUrl": "", "teams": [], "users": []}, "status": {"isDisabled": False}}
        project.body["metadata"] = plane.new_metadata(FIRST_PROJECT, project.uid)
        store.add(project)

        gateway = Document(kind="overlord", name=FIRST_GATEWAY, body={})
        gateway.body |= {
            "metadata": plane.new_metadata(FIRST_GATEWAY, gateway.uid),
            "kind": "overlord",
            "spec": {"isSelfHosted": False, "isSystem": False, "tenantUid": plane.tenant_uid, "ipPools": []},
            "status": {"health": {"state": "Healthy"}, "isActive": True, "isReady": True, "state": "Running"},
        }
        store.add(gateway)

        write_private(settings.key_file or beside(settings.data, ".key"), key + "\n")
        sign_in = {"emailId": ADMIN_EMAIL, "password": password, "org": ORGANIZATION}
        write_private(beside(settings.data, ".admin"), json.dumps(sign_in) + "\n")
        store.set_setting("initialised", True)
