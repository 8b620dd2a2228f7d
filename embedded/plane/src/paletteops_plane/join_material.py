# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host needs to join its cluster, on its way from a control-plane host to that member: in memory alone.

It is kept for fifteen minutes at most and given once. A restart of the plane loses it; the control plane is asked
for new material then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: Seconds that material is kept, whatever its own lifetime.
LONGEST = 15 * 60.0


@dataclass(frozen=True)
class _Kept:
    material: dict[str, Any] = field(repr=False)
    #: The credential's digest of the member that it is for: another host by the same UID gets nothing.
    credential: str
    until: float


class JoinMaterial:
    """By the UID of the member that it is for."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def put(self, uid: str, credential: str, material: dict[str, Any], now: float, expires: float) -> None:
        self._drop_expired(now)
        self._kept[uid] = _Kept(material, credential, min(expires, now + LONGEST))

    def take(self, uid: str, credential: str, now: float) -> dict[str, Any] | None:
        """The material, which is gone by this; None where there is none for this member."""
        self._drop_expired(now)
        kept = self._kept.pop(uid, None)
        return kept.material if kept is not None and kept.credential == credential else None

    def forget(self, uid: str) -> None:
        self._kept.pop(uid, None)

    def _drop_expired(self, now: float) -> None:
        for uid in [uid for uid, kept in self._kept.items() if kept.until <= now]:
            del self._kept[uid]
