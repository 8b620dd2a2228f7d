# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API's rate limit, kept by all processes of this user on this machine together, so that nobody meets a 429.

The figures are the vendor's: 10 requests a second for each source address and resource prefix, 50 for cluster
profiles and cloud configs, and a burst of five times that (API introduction of the vendor's documentation).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator

from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError

#: Requests a second for a resource prefix; what is not named has the default.
RATES: dict[str, float] = {"clusterprofiles": 50.0, "cloudconfigs": 50.0}
DEFAULT_RATE = 10.0
BURST_FACTOR = 5

#: The share of the limit that is used. The plane measures arrival, we measure departure: the difference needs room.
MARGIN = 0.97


def prefix(path: str) -> str:
    """The resource prefix of a path: ``/v1/cloudconfigs/aws/…`` is counted under ``cloudconfigs``."""
    parts = path.split("/")
    return parts[2] if len(parts) > 2 else parts[-1]


def rate(name: str) -> float:
    return RATES.get(name, DEFAULT_RATE)


def private_folder(path: str) -> str:
    """Makes a folder that only this user can enter, or refuses one that somebody else has prepared."""
    with contextlib.suppress(FileExistsError):
        os.makedirs(path, mode=0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PaletteError(
            f"{path} is not a folder of this user alone, so it cannot be trusted. "
            "Remove it, or set TMPDIR to another place."
        )
    return path


@contextlib.contextmanager
def locked(path: str) -> Iterator[int]:
    """An open, exclusively locked file descriptor; the lock goes with the process, however it ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


class RateLimit:
    """A leaky bucket for each resource prefix, in files that all processes of this user share.

    A file holds one figure, the bucket's next free moment on the machine's monotonic clock. Where there is no place for
    files, the limit holds for this process alone.
    """

    def __init__(self, api_url: str, folder: str | None = None) -> None:
        self.folder = folder or os.path.join(tempfile.gettempdir(), f"paletteops-{os.getuid()}")
        self.key = hashlib.sha256(api_url.encode()).hexdigest()[:16]

    def reserve(self, path: str, delay: float = 0.0) -> float:
        """Takes the next place in the bucket and returns the seconds to wait for it.

        delay   seconds for which the plane asked everybody to stay away (``Retry-After``)
        """
        name = prefix(path)
        step = 1.0 / (rate(name) * MARGIN)
        room = step * (rate(name) * BURST_FACTOR * MARGIN - 1)
        private_folder(self.folder)
        with locked(os.path.join(self.folder, f"{self.key}-{name}")) as handle:
            now = time.monotonic()
            raw = os.pread(handle, 64, 0).decode("ascii", "replace").strip("\0 \n")
            try:
                free = float(raw)
            except ValueError:
                free = 0.0
            if free > now + 3600:  # written before the machine was started anew
                free = 0.0
            free = max(free, now) + step
            if delay:
                free = max(free, now + delay + room)
            os.pwrite(handle, f"{free:<40.6f}".encode("ascii"), 0)
        return max(0.0, free - room - now)

    def wait(self, path: str, delay: float = 0.0) -> None:
        pause = self.reserve(path, delay)
        if pause > 0:
            time.sleep(pause)
