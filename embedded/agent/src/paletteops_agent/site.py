# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reconciler needs of its host, and of whoever wants the state, who may be a plane or somebody on the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .config import Trust
from .engine import Cluster, JoinMaterial


class SiteError(Exception):
    """Whoever wants the state cannot be reached, or does not have what is asked for. It is tried again."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Site(Protocol):
    """What a reconciler needs of whoever wants the state. Calls block, and may come from three threads."""

    def bundle(self, pack: str, version: str, report: Callable[[str], None]) -> Path:
        """The file of a content bundle, not verified yet; SiteError, ContentError."""

    def used(self, bundle: Path, good: bool) -> None:
        """The file is no longer needed; where it was not good it must not be offered again."""

    def material(self) -> JoinMaterial | None:
        """What this host joins by; None while there is none."""

    def hand_over(self, member_uid: str, material: JoinMaterial) -> None: ...

    def publish_kubeconfig(self, text: str) -> None: ...

    def send_logs(self, request: str) -> None: ...

    def event(self, reason: str, message: str, error: bool = False) -> None: ...

    def changed(self) -> None:
        """``Reconciler.observed`` has something new to say."""


@dataclass(frozen=True)
class Host:
    """What a reconciler must know of its host. ``settings`` brings NTP servers and SSH keys to the host."""

    architecture: str
    trust: Trust
    content: Path
    boot_id: str = ""
    settings: Callable[[Cluster | None], None] = lambda cluster: None
