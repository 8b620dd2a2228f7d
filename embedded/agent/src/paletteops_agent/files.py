# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole or absent, whenever the process or the machine stops."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

SECRET = 0o600
PUBLIC = 0o644


def make_folder(path: Path, mode: int = 0o755) -> list[Path]:
    """Make a folder and its parents; those that were made, outermost first. The mode holds for the last one."""
    missing = []
    folder = path
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    made = list(reversed(missing))
    for folder in made:
        folder.mkdir(mode=mode if folder == path else 0o755, exist_ok=True)
    return made


def write(path: Path, content: bytes | str, mode: int = PUBLIC, durable: bool = True) -> None:
    """Replace a file at once. With ``durable`` it is on the disk when this returns, also after a loss of power."""
    data = content.encode() if isinstance(content, str) else content
    # mkstemp makes files 0600, so a secret is at no moment readable by others
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_json(path: Path, content: Any, mode: int = PUBLIC, durable: bool = True) -> None:
    write(path, json.dumps(content, indent=1, sort_keys=True) + "\n", mode, durable)


def read_json(path: Path) -> Any:
    """The content, or None where there is no file. A file that is no JSON raises ValueError with its path."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it, or uninstall and install the agent again") from None


def is_same(path: Path, content: bytes, mode: int) -> bool:
    try:
        return path.read_bytes() == content and (path.stat().st_mode & 0o7777) == mode
    except OSError:
        return False


def remove_empty(path: Path) -> bool:
    """Remove a folder when nothing is in it; whether it is gone."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
