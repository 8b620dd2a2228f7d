# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying out the ``stages`` of user-data, as Kairos does it: what ``userdata.STEPS`` lists, in that order.

What was on the host before is noted first, so that an uninstallation puts it back: files and folders, kernel settings,
the host's name. What commands did cannot be undone.

Below a root that is not the running system's only files, folders and environments are made; the rest is left out, with
a warning.
"""

from __future__ import annotations

import base64
import contextlib
import grp
import logging
import os
import pwd
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import files, hostinfo
from .paths import Paths
from .userdata import STAGE_NAMES, UserData, content_of, permissions

log = logging.getLogger("palette-agent")

COMMAND_SECONDS = 600
#: of a file that is kept so that it can be put back
MAX_KEPT = 4 << 20
#: what of a step touches the running system itself
_SYSTEM_ONLY = ("commands", "sysctl", "hostname", "modules", "systemctl")


class StageError(Exception):
    """A step that could not be carried out: stage, step, and what was wrong."""


class Traces:
    """What stages changed, on the disk before each change."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        content = files.read_json(paths.staged) or {}
        self.files: dict[str, dict[str, Any]] = content.get("files", {})
        self.folders: list[str] = content.get("folders", [])
        self.sysctl: dict[str, str] = content.get("sysctl", {})
        self.host_name: str | None = content.get("host_name")
        self.done: dict[str, str] = content.get("done", {})  # stage: the boot and user-data that it was done for

    def save(self) -> None:
        files.make_folder(self._paths.state, 0o700)
        content = {
            "files": self.files,
            "folders": self.folders,
            "sysctl": self.sysctl,
            "host_name": self.host_name,
            "done": self.done,
        }
        files.write_json(self._paths.staged, content, files.SECRET)

    def file(self, path: Path) -> None:
        """Note a file before it is written; the first time alone, when it is still somebody else's."""
        name = str(path)
        if name in self.files:
            return
        entry: dict[str, Any] = {"before": None}
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if status.st_size <= MAX_KEPT:
                kept = base64.b64encode(path.read_bytes()).decode()
                entry = {"before": kept, "mode": status.st_mode & 0o7777, "owner": [status.st_uid, status.st_gid]}
            else:
                entry = {"before": "too large to be kept"}
        self.files[name] = entry
        self.save()

    def folder(self, path: Path) -> None:
        """Make a folder, and note each one that was not there."""
        missing = []
        while not path.exists():
            missing.append(path)
            path = path.parent
        if missing:
            self.folders = [*self.folders, *(str(one) for one in reversed(missing))]
            self.save()
            files.make_folder(missing[0])


def run(data: UserData, paths: Paths, stage: str, again: bool = False) -> bool:
    """Carry out one stage; whether it was. Once a boot and user-data, unless ``again``."""
    traces = Traces(paths)
    mark = f"{hostinfo.boot_id()} {_digest(data, stage)}"
    if not again and traces.done.get(stage) == mark:
        return False
    for step in data.steps(stage):
        name = str(step.get("name") or "without a name")
        try:
            _step(step, paths, traces)
        except (OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
            raise StageError(f"stages.{stage}, step {name}: {error}") from None
    traces.done[stage] = mark
    traces.save()
    return True


def run_all(data: UserData, paths: Paths, again: bool = False) -> None:
    """All stages that were not carried out since the host started."""
    for stage in STAGE_NAMES:
        run(data, paths, stage, again)


def _digest(data: UserData, stage: str) -> str:
    import hashlib

    return hashlib.sha256(repr(list(data.steps(stage))).encode()).hexdigest()[:16]


def _step(step: Mapping[str, Any], paths: Paths, traces: Traces) -> None:
    name = str(step.get("name") or "without a name")
    if not paths.is_system:
        left_out = [key for key in _SYSTEM_ONLY if step.get(key)]
        if left_out:
            log.warning("step %s: %s not carried out below %s", name, ", ".join(left_out), paths.root)
    if step.get("if") and paths.is_system and not _succeeds(str(step["if"])):
        log.info("step %s: its condition does not hold", name)
        return
    for folder in step.get("directories") or []:
        path = paths.below(str(folder["path"]))
        traces.folder(path)
        os.chmod(path, permissions(folder.get("permissions"), 0o755))
        _own(path, folder, paths)
    for file in step.get("files") or []:
        _file(file, paths, traces)
    if step.get("environment"):
        _environment(step, paths, traces)
    if not paths.is_system:
        return
    if step.get("hostname"):
        if traces.host_name is None:
            traces.host_name = socket.gethostname()
            traces.save()
        _run(["hostnamectl", "set-hostname", str(step["hostname"])])
    for key, value in (step.get("sysctl") or {}).items():
        _sysctl(str(key), str(value), traces)
    for module in step.get("modules") or []:
        _run(["modprobe", "--", str(module)])
    for command in step.get("commands") or []:
        _run(["/bin/sh", "-c", str(command)])
    for verb in ("mask", "enable", "disable", "start"):
        for unit in (step.get("systemctl") or {}).get(verb) or []:
            _run(["systemctl", verb, "--", str(unit)])


def _file(file: Mapping[str, Any], paths: Paths, traces: Traces) -> None:
    path = paths.below(str(file["path"]))
    content = content_of(file)
    mode = permissions(file.get("permissions"), 0o644)
    traces.folder(path.parent)
    if not files.is_same(path, content, mode):
        traces.file(path)
        files.write(path, content, mode)
    _own(path, file, paths)


def brings(data: UserData, path: str) -> bytes | None:
    """What stages write to a file, whatever their conditions say; None where they do not."""
    steps = [step for stage in STAGE_NAMES for step in data.steps(stage)]
    found = [file for step in steps for file in step.get("files") or [] if file.get("path") == path]
    return content_of(found[-1]) if found else None


def _own(path: Path, entry: Mapping[str, Any], paths: Paths) -> None:
    if not paths.is_system:
        return
    owner, group = entry.get("owner"), entry.get("group")
    if entry.get("owner_string"):
        user, _, group_name = str(entry["owner_string"]).partition(":")
        owner = pwd.getpwnam(user).pw_uid
        group = grp.getgrnam(group_name).gr_gid if group_name else pwd.getpwnam(user).pw_gid
    if owner is not None or group is not None:
        os.chown(path, -1 if owner is None else int(owner), -1 if group is None else int(group))


def _environment(step: Mapping[str, Any], paths: Paths, traces: Traces) -> None:
    """Set variables in an environment file; its other lines stay."""
    path = paths.below(str(step.get("environment_file") or "/etc/environment"))
    wanted = {str(name): str(value) for name, value in step["environment"].items()}
    try:
        lines = path.read_text("utf-8").splitlines()
        mode = path.stat().st_mode & 0o7777
    except FileNotFoundError:
        lines, mode = [], 0o644
    kept = [line for line in lines if line.partition("=")[0].strip() not in wanted]
    text = "".join(f"{line}\n" for line in [*kept, *(f'{name}="{value}"' for name, value in wanted.items())])
    if not files.is_same(path, text.encode(), mode):
        traces.folder(path.parent)
        traces.file(path)
        files.write(path, text, mode)


def _sysctl(key: str, value: str, traces: Traces) -> None:
    path = Path("/proc/sys", *key.split("/" if "/" in key else "."))
    before = path.read_text("ascii").strip()
    if before != value:
        if key not in traces.sysctl:
            traces.sysctl[key] = before
            traces.save()
        path.write_text(f"{value}\n", "ascii")


def _succeeds(condition: str) -> bool:
    done = subprocess.run(
        ["/bin/sh", "-c", condition],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return done.returncode == 0


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        what = "a command" if command[:2] == ["/bin/sh", "-c"] else " ".join(command[:2])
        raise OSError(f"{what} ended with {done.returncode}: {said or 'it said nothing'}")


def undo(paths: Paths, dry_run: bool = False) -> list[str]:
    """Put back what was there before the stages; what was done, one line each."""
    traces = Traces(paths)
    lines = []
    for name, entry in reversed(list(traces.files.items())):
        path = Path(name)
        if entry["before"] is None:
            lines.append(f"remove {name}")
            if not dry_run:
                path.unlink(missing_ok=True)
        elif "mode" in entry:
            lines.append(f"put back {name}")
            if not dry_run and path.parent.is_dir():
                files.write(path, base64.b64decode(entry["before"]), entry["mode"])
                with contextlib.suppress(PermissionError):
                    os.chown(path, *entry["owner"])
        else:
            lines.append(f"leave {name}: what was there before was too large to be kept")
    for name in reversed(traces.folders):
        lines.append(f"remove {name} if it is empty")
        if not dry_run:
            files.remove_empty(Path(name))
    for key, value in traces.sysctl.items():
        lines.append(f"set {key} back to {value}")
        if not dry_run:
            with contextlib.suppress(OSError):
                Path("/proc/sys", *key.split("/" if "/" in key else ".")).write_text(f"{value}\n", "ascii")
    if traces.host_name:
        lines.append(f"set the host's name back to {traces.host_name}")
        if not dry_run:
            _run(["hostnamectl", "set-hostname", traces.host_name])
    return lines
