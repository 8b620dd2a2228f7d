# SPDX-License-Identifier: GPL-3.0-or-later
"""Our units in systemd."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable
from pathlib import Path

import paletteops_agent

from . import config, files
from .commands import run
from .layout import KUBELET_ALIAS, SLICE, SYSTEMD_DIR, UNITS, Layout
from .probe import CGROUPS

WANTED_FILES = 1_048_576


def vip_command(layout: Layout) -> str:
    """Starts the VIP's holder out of the same file (or source folder) that this process runs from."""
    source = Path(str(paletteops_agent.__file__)).resolve().parent.parent
    python = sys.executable or "/usr/bin/python3"
    return f"/usr/bin/env PYTHONPATH={source} {python} -m paletteops_agent.engine.kubeadm.vip {layout.vip_config}"


def open_files() -> int:
    """As many as a container runtime likes, or the most that this host lets a process have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)


def texts(layout: Layout) -> dict[str, str]:
    return config.units(layout, vip_command(layout), open_files())


def install(layout: Layout, names: Iterable[str]) -> bool:
    """Write units; True when one changed."""
    made = texts(layout)
    changed = [name for name in names if files.write(SYSTEMD_DIR / name, made[name])]
    if changed:
        run(["systemctl", "daemon-reload"], deadline=60)
    return bool(changed)


def enable(name: str) -> None:
    if not run(["systemctl", "is-enabled", "--quiet", name], check=False, deadline=20).ok:
        run(["systemctl", "enable", "--quiet", name], deadline=60, reason="ServiceFailed")


def start(name: str) -> None:
    run(["systemctl", "start", name], deadline=120, reason="ServiceFailed")


def restart(name: str) -> None:
    run(["systemctl", "restart", name], deadline=120, reason="ServiceFailed")


def stop(name: str) -> None:
    run(["systemctl", "stop", name], check=False, deadline=120)


def active(name: str) -> bool:
    return run(["systemctl", "is-active", "--quiet", name], check=False, deadline=20).ok


def remove(names: Iterable[str] = UNITS) -> None:
    """Stop, disable and remove units, and the alias with the kubelet's."""
    found = [name for name in names if (SYSTEMD_DIR / name).exists()]
    for name in found:
        stop(name)
        run(["systemctl", "disable", "--quiet", name], check=False, deadline=60)
        run(["systemctl", "reset-failed", name], check=False, deadline=20)
        files.remove(SYSTEMD_DIR / name)
    alias = SYSTEMD_DIR / KUBELET_ALIAS
    if alias.is_symlink() and not alias.exists():
        alias.unlink()
    if found:
        run(["systemctl", "daemon-reload"], check=False, deadline=60)


def end_slice() -> None:
    """Let the slice go when nothing runs in it: systemd keeps it otherwise."""
    groups = [place for pattern in (SLICE, f"*/{SLICE}") for place in CGROUPS.glob(pattern)]
    if not any(file.read_text().strip() for group in groups for file in group.rglob("cgroup.procs")):
        stop(SLICE)
