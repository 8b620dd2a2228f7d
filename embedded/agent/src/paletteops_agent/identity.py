# SPDX-License-Identifier: GPL-3.0-or-later
"""Who this host is: its UID, its name and tags by the rules of user-data, and what the plane gave it to prove it.

The claim is a random secret that is on the disk before the host registers: shown again after a lost answer, it tells
the plane that the same host asks. The credential comes with the answer, once.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import socket
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from . import files
from .masking import hide
from .paths import Paths
from .userdata import UserData

MAX_UID = 128
#: characters that a UID cannot have: those that the vendor's installer reference lists, and what is no ASCII
_UNSUPPORTED = re.compile(r"[^A-Za-z0-9_-]+")


class IdentityError(Exception):
    """The host cannot say who it is, or is not who its state says; the message has the way out."""


@dataclass
class Identity:
    """What is kept of the registration. ``token_mark`` tells whether user-data has another token since; no secret."""

    uid: str
    machine: str = ""
    claim: str = ""
    credential: str = ""
    endpoint: str = ""
    token_mark: str = ""
    refused: bool = False  # the plane no longer knows the credential

    def __repr__(self) -> str:
        return f"Identity({self.uid!r})"


def mark(token: str) -> str:
    """Tells tokens apart without keeping them."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def machine_id(paths: Paths) -> str:
    """The host's machine ID. A tree below some folder may have one of its own, and does without."""
    try:
        return paths.below("/etc/machine-id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def make_uid(data: UserData, paths: Paths) -> str:
    """stylus.site.name, else the first file of deviceUIDPaths that yields one, else prefix and machine ID."""
    name = str(data.get("site.name", ""))
    prefix = str(data.get("site.prefix", "")) or "edge"
    if name == "$random":
        return f"{prefix}-{uuid.uuid4().hex}"
    if name:
        return name
    for entry in data.get("site.deviceUIDPaths", []):
        found = _from_file(paths, str(entry["name"]), str(entry.get("regex") or ""))
        if found:
            return found
    machine = machine_id(paths)
    if re.fullmatch(r"[0-9a-f]{32}", machine):
        return f"{prefix}-{machine}"[:MAX_UID]
    raise IdentityError(
        f"{paths.below('/etc/machine-id')} holds no machine ID: run systemd-machine-id-setup, or set stylus.site.name"
    )


def _from_file(paths: Paths, name: str, pattern: str) -> str:
    try:
        content = paths.below(name).read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
    if pattern:
        found = re.search(pattern, content)
        content = found.group(0) if found else ""
    return _UNSUPPORTED.sub("", content)[:MAX_UID]


def load(paths: Paths, data: UserData, durable: bool = True) -> Identity:
    """The identity of this host, made and kept at the first call."""
    content = files.read_json(paths.identity)
    machine = machine_id(paths)
    if content is None:
        identity = Identity(uid=make_uid(data, paths), machine=machine)
        save(paths, identity, durable)
        return identity
    known = {name: content[name] for name in Identity.__dataclass_fields__ if name in content}
    identity = Identity(**known)
    hide(identity.claim, identity.credential)
    if identity.machine and machine and identity.machine != machine:
        raise IdentityError(
            f"the state in {paths.state} is that of another machine (its machine ID differs: was the disk cloned?);"
            " run palette-agent uninstall --force and install again"
        )
    name = str(data.get("site.name", ""))
    if name and name not in ("$random", identity.uid):
        if identity.credential or identity.claim:
            raise IdentityError(
                f"stylus.site.name is {name!r}, but this host is registered as {identity.uid!r}; set the name back, or"
                " run palette-agent uninstall --force and install again"
            )
        identity.uid = name
        save(paths, identity, durable)
    return identity


def save(paths: Paths, identity: Identity, durable: bool = True) -> None:
    hide(identity.claim, identity.credential)
    files.write_json(paths.identity, asdict(identity), files.SECRET, durable)


def make_claim(paths: Paths, identity: Identity, durable: bool = True) -> None:
    """Write a claim before it is first shown."""
    if not identity.claim:
        identity.claim = secrets.token_urlsafe(32)
        save(paths, identity, durable)


def host_name(data: UserData) -> str:
    return str(data.get("site.hostName", "")) or socket.gethostname()


def tags(data: UserData, paths: Paths, timeout: float = 60.0) -> dict[str, str]:
    """Tags from all three places; those that user-data names itself win. A place that fails raises IdentityError."""
    found = _tags_of_file(data, paths)
    found.update(_tags_of_script(data, paths, timeout))
    for name, value in data.get("site.tags", {}).items():
        found[str(name)] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _tags_of_file(data: UserData, paths: Paths) -> dict[str, str]:
    name = str(data.get("site.tagsFromFile.fileName", ""))
    if not name:
        return {}
    try:
        text = paths.below(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityError(f"stylus.site.tagsFromFile: {name} cannot be read: {error}") from None
    separator = str(data.get("site.tagsFromFile.separator", "")) or ":"
    found = {}
    for item in text.split(str(data.get("site.tagsFromFile.delimiter", "")) or "\n"):
        key, between, value = item.strip().partition(separator)
        if between:
            found[key.strip()] = value.strip()
    return found


def _tags_of_script(data: UserData, paths: Paths, timeout: float) -> dict[str, str]:
    name = str(data.get("site.tagsFromScript.scriptName", ""))
    if not name:
        return {}
    timeout = float(data.get("site.tagsFromScript.timeout", timeout))
    try:
        done = subprocess.run(
            [str(paths.below(name))], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=True
        )
        answer = json.loads(done.stdout)
        if not isinstance(answer, Mapping):
            raise ValueError("it wrote no JSON object")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise IdentityError(f"stylus.site.tagsFromScript: {name} failed: {error}") from None
    return {str(key): _text(value) for key, value in answer.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
