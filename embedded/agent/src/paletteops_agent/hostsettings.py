# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster wants of the host itself: NTP servers (a drop-in for systemd-timesyncd) and SSH keys (a marked part of
root's authorized keys). Both go when the host leaves the cluster.
"""

from __future__ import annotations

import logging
import subprocess

from . import files
from .engine import Cluster
from .paths import Paths

log = logging.getLogger("palette-agent")

_NTP = "/etc/systemd/timesyncd.conf.d/50-spectro.conf"
_KEYS = "/root/.ssh/authorized_keys"
BEGIN, END = "# BEGIN spectro cluster keys", "# END spectro cluster keys"


class HostSettings:
    """Called on each look; touches files only where they differ. A tree below some folder is left alone."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._last: tuple[object, ...] | None = None

    def __call__(self, cluster: Cluster | None) -> None:
        wanted = (
            tuple(cluster.ntp_servers) if cluster else (),
            tuple(key.strip() for key in cluster.ssh_keys) if cluster else (),
        )
        if wanted == self._last or not self._paths.is_system:
            return
        try:
            self._time_servers(wanted[0])
            self._ssh_keys(wanted[1])
        except OSError as error:
            log.warning("settings of the host: %s", error)
            return
        self._last = wanted

    def _time_servers(self, servers: tuple[str, ...]) -> None:
        path = self._paths.below(_NTP)
        if servers:
            content = f"# by palette-agent, for the cluster of this host\n[Time]\nNTP={' '.join(servers)}\n".encode()
            if files.is_same(path, content, files.PUBLIC):
                return
            files.make_folder(path.parent)
            files.write(path, content)
        elif path.exists():
            path.unlink()
            files.remove_empty(path.parent)
        else:
            return
        subprocess.run(
            ["systemctl", "try-restart", "systemd-timesyncd.service"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    def _ssh_keys(self, keys: tuple[str, ...]) -> None:
        path = self._paths.below(_KEYS)
        try:
            before = path.read_text("utf-8")
        except FileNotFoundError:
            before = ""
        after = with_keys(before, keys)
        if after == before:
            return
        if not after:
            path.unlink()
            files.remove_empty(path.parent)
            return
        files.make_folder(path.parent, 0o700)
        files.write(path, after, files.SECRET)


def with_keys(text: str, keys: tuple[str, ...]) -> str:
    """The file's text with these keys, and no others, in the marked part."""
    kept, inside = [], False
    for line in text.splitlines():
        if line == BEGIN:
            inside = True
        elif line == END:
            inside = False
        elif not inside:
            kept.append(line)
    if keys:
        kept += [BEGIN, *keys, END]
    return "".join(f"{line}\n" for line in kept)
