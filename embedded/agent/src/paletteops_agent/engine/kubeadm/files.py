# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole or not there, and the folders that hold them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any


def write(path: Path, content: str, mode: int = 0o644) -> bool:
    """Write ``content`` so that a reader sees the old or the new file; True when it changed. Survives a power cut."""
    with contextlib.suppress(OSError):
        if path.read_text(encoding="utf-8") == content and stat.S_IMODE(path.stat().st_mode) == mode:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.fchmod(handle, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    return True


def write_json(path: Path, value: Any, mode: int = 0o600) -> bool:
    return write(path, json.dumps(value, indent=1, sort_keys=True) + "\n", mode)


def read_json(path: Path) -> Any | None:
    """None when there is no such file, or none that can be read as JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def private_dir(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def point(link: Path, target: Path) -> None:
    """Make ``link`` point to ``target`` in one step."""
    fresh = link.with_name(f".{link.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(target)
    os.replace(fresh, link)


def remove(path: Path) -> None:
    """Remove a file, a link or a tree; a folder that something is mounted on is emptied and stays."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        if os.path.ismount(path):
            for item in path.iterdir():
                remove(item)
        else:
            shutil.rmtree(path, ignore_errors=True)
            if path.exists():
                # a mount in the way: take what can be taken
                for item in path.iterdir():
                    remove(item)
    elif path.exists():
        path.unlink()


def clone_tree(source: Path, target: Path) -> None:
    """Copy a folder of files, by hard link where the file system has both."""
    target.mkdir(parents=True, exist_ok=True)
    for item in sorted(source.iterdir()):
        place = target / item.name
        if item.is_dir():
            clone_tree(item, place)
            continue
        try:
            os.link(item, place)
        except OSError:
            shutil.copy2(item, place)
