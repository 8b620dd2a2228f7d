# SPDX-License-Identifier: GPL-3.0-or-later
"""The plane's own clock: real time, until a test shifts or freezes it.

Whatever the plane writes down or compares (creation times, expiry of keys, the provisioner's steps) is this clock's
time. A shift or a freeze is stored, so that time does not run backwards when the plane starts again.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paletteops_plane.store import Store

_SETTING = "clock"


def rfc3339(moment: datetime) -> str:
    """A moment as the API writes it: UTC, milliseconds, ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """The moment of an RFC 3339 text; without a zone it is UTC."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Clock:
    """Time as the plane sees it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        state = store.setting(_SETTING) or {}
        self._offset: float = state.get("offset", 0.0)
        self._frozen_at: float | None = state.get("frozen_at")

    def now(self) -> datetime:
        """The moment, aware, in UTC."""
        return datetime.fromtimestamp(self._seconds(), UTC)

    def timestamp(self) -> str:
        """The moment as the API writes it."""
        return rfc3339(self.now())

    @property
    def frozen(self) -> bool:
        return self._frozen_at is not None

    def set(self, moment: datetime) -> None:
        self._shift_to(moment.timestamp())

    def advance(self, seconds: float) -> None:
        self._shift_to(self._seconds() + timedelta(seconds=seconds).total_seconds())

    def freeze(self, frozen: bool) -> None:
        """Stop or go on; going on starts from the moment at which the clock stood."""
        now = self._seconds()
        self._frozen_at = now if frozen else None
        self._offset = now - time.time()
        self._save()

    def _seconds(self) -> float:
        return self._frozen_at if self._frozen_at is not None else time.time() + self._offset

    def _shift_to(self, seconds: float) -> None:
        if self._frozen_at is not None:
            self._frozen_at = seconds
        self._offset = seconds - time.time()
        self._save()

    def _save(self) -> None:
        self._store.set_setting(_SETTING, {"offset": self._offset, "frozen_at": self._frozen_at})
