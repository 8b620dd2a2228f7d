# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing the agent onto a host, and off it again.

``install`` looks at everything first and touches nothing where something does not fit. Each file and folder that it
makes is noted before, so ``uninstall`` removes exactly that, and what the engine and the stages made. Both can be
called again, also after they were interrupted.

Below a root that is not ``/`` (an image that is being built, a test) units are written and enabled, and nothing is
started.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from . import __version__, config, content, files, hostinfo, identity, stages, userdata
from .engine import EngineError, Surroundings, make_engine
from .journal import Journal
from .paths import INIT_UNIT, SLICE, STAGE_UNITS, START_UNIT, Paths
from .plane_client import make_plane
from .service import AlreadyRunning, only_one

log = logging.getLogger("palette-agent")

NEEDED_COMMANDS = ("openssl", "zstd")
#: folders that have no other use than the agent's; an archive made them before the installation
OWN_FOLDERS = (
    "opt/spectrocloud/bin",
    "opt/spectrocloud",
    "etc/spectro",
    "var/lib/spectro/stylus",
    "var/lib/spectro",
)
#: names under which a source folder may hold the agent
PROGRAMS = ("palette-agent", "opt/spectrocloud/bin/palette-agent")
_MARK = "# by the embedded agent\n"

Say = Callable[[str], None]


class InstallError(Exception):
    """Why nothing was installed or removed; all reasons at once."""


def is_ours(program: Path) -> bool:
    """Whether a file is this agent, of whatever version."""
    try:
        with zipfile.ZipFile(program) as archive:
            return "paletteops_agent/__init__.py" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def unit_texts(paths: Paths) -> dict[str, str]:
    """The units, by name. ``spectro.slice`` keeps all that belongs to the agent together."""
    binary = "/opt/spectrocloud/bin/palette-agent"
    environment = "/etc/spectro/environment"
    texts = {
        SLICE: f"{_MARK}[Unit]\nDescription=Palette agent and what it runs\n\n[Slice]\n",
        START_UNIT: f"""{_MARK}[Unit]
Description=Palette agent
Wants=network-online.target
After=network-online.target {" ".join(STAGE_UNITS.values())}
StartLimitIntervalSec=0

[Service]
Type=simple
EnvironmentFile=-{environment}
ExecStart={binary} start
Restart=always
RestartSec=5
Slice={SLICE}
KillMode=mixed
TimeoutStopSec=30
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
""",
    }
    order = {"initramfs": "local-fs.target", "boot": "basic.target", "network": "network-online.target"}
    before = None
    for stage, unit in STAGE_UNITS.items():
        after = " ".join(part for part in (order[stage], before) if part)
        wants = "Wants=network-online.target\n" if stage == "network" else ""
        texts[unit] = f"""{_MARK}[Unit]
Description=Palette agent: the stage {stage} of user-data
{wants}After={after}
Before={START_UNIT}

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=-{environment}
ExecStart={binary} stage {stage}
Slice={SLICE}

[Install]
WantedBy=multi-user.target
"""
        before = unit
    return texts


INIT_UNIT_TEXT = f"""{_MARK}[Unit]
Description=Palette agent: installation from the archive, once
Wants=network-online.target
After=network-online.target
ConditionPathExists=!/opt/spectrocloud/state/setup_done
ConditionPathExists=/var/lib/spectro/userdata

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/spectrocloud/bin/palette-agent install --source dir:/var/lib/spectro/stylus \\
  --config /var/lib/spectro/userdata

[Install]
WantedBy=multi-user.target
"""


# --- installing ---


class Notes:
    """What was installed, on the disk before it is."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        found = files.read_json(paths.installed) or {}
        self.files: list[str] = found.get("files", [])
        self.folders: list[str] = found.get("folders", [])
        self.version = str(found.get("version", ""))

    def save(self) -> None:
        files.make_folder(self._paths.state, 0o700)
        record = {"files": self.files, "folders": self.folders, "version": self.version}
        files.write_json(self._paths.installed, record)

    def add(self, paths: Iterable[Path]) -> None:
        """Note files, and the folders above them that are not there yet, before any of them is made."""
        known_files, known_folders = set(self.files), set(self.folders)
        for path in paths:
            missing = []
            above = path.parent
            while not above.exists():
                missing.append(str(above))
                above = above.parent
            self.folders += [name for name in reversed(missing) if name not in known_folders]
            known_folders.update(missing)
            if str(path) not in known_files:
                self.files.append(str(path))
                known_files.add(str(path))
        self.save()


def _write(path: Path, data: bytes, mode: int) -> bool:
    """Write a file; whether it was not so already."""
    if files.is_same(path, data, mode):
        return False
    files.make_folder(path.parent)
    files.write(path, data, mode)
    return True


def install(paths: Paths, source: str, config_file: Path | None, say: Say, reboot: bool = True) -> None:
    """Install, or bring an installation to this source and user-data; InstallError before anything is touched."""
    problems: list[str] = []
    program, folder = _source(source, problems)
    data, text = _user_data(paths, config_file, problems)
    problems += _findings(paths)
    if problems:
        raise InstallError("; ".join(problems))
    assert program is not None and data is not None
    for warning in data.warnings:
        say(f"warning: {warning}")
    try:
        with_same_name(paths, data)
    except (identity.IdentityError, ValueError) as error:
        raise InstallError(str(error)) from None
    _install(paths, program, folder, data, text, say)
    if paths.is_system and reboot and (data.install.get("reboot") or data.install.get("poweroff")):
        verb = "poweroff" if data.install.get("poweroff") else "reboot"
        say(f"install.{verb}: the host goes down")
        _systemctl(paths, verb)


def with_same_name(paths: Paths, data: userdata.UserData) -> None:
    """Refuse user-data that would make a registered host another one."""
    if paths.identity.exists():
        who = identity.load(paths, data)
        if who.refused:
            # an installation is the word that this host may register anew
            who.claim = who.credential = ""
            who.refused = False
            identity.save(paths, who)


def _source(source: str, problems: list[str]) -> tuple[Path | None, Path | None]:
    """The program of a source, and the folder where it is one."""
    kind, colon, name = source.partition(":")
    if not colon or kind not in ("dir", "file"):
        problems.append(
            f"--source {source!r}: the embedded agent installs from dir:FOLDER or file:FILE; it does not pull images"
        )
        return None, None
    path = Path(name)
    if kind == "dir":
        names = [*PROGRAMS, f"palette-agent-linux-{hostinfo.architecture()}"]
        found = next((path / one for one in names if (path / one).is_file()), None)
        if found is None:
            problems.append(f"--source {source}: there is no palette-agent in it")
            return None, None
        path = found
    if not path.is_file():
        problems.append(f"--source {source}: there is no such file")
        return None, None
    if not is_ours(path):
        problems.append(f"--source {source}: {path} is not the embedded agent")
        return None, None
    return path, Path(name) if kind == "dir" else None


def _user_data(paths: Paths, config_file: Path | None, problems: list[str]) -> tuple[userdata.UserData | None, str]:
    """The file that is named, else the one that was left for the installation, else the one that is kept."""
    path = config_file or next((one for one in (paths.given_user_data, paths.user_data) if one.exists()), None)
    if path is None:
        problems.append(f"there is no user-data: give --config FILE, or put it at {paths.given_user_data}")
        return None, ""
    try:
        text = path.read_text("utf-8")
        data = userdata.parse(text)
        userdata.require_central(data)
        _can_start(paths, data)
        return data, text
    except OSError as error:
        problems.append(f"user-data {path} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        problems.append(f"user-data {path} is not UTF-8 text")
    except (userdata.UserDataError, config.ConfigurationError, ValueError) as error:
        problems.append(f"{path}: {error}")
    return None, ""


def _can_start(paths: Paths, data: userdata.UserData) -> None:
    """Refuse what an agent would refuse at its start, where nobody looks; ValueError, ConfigurationError."""
    make_plane(data)
    brought = stages.brings(data, f"/{paths.configuration.relative_to(paths.root)}")
    if brought is not None:
        config.parse(paths.configuration, brought)


def _findings(paths: Paths) -> list[str]:
    """What about the host does not fit."""
    found = []
    machine = hostinfo.architecture()
    if machine not in ("amd64", "arm64"):
        found.append(f"the architecture {machine} is not supported; there are amd64 and arm64")
    if paths.is_system:
        if os.geteuid() != 0:
            found.append("an installation needs root")
        if not Path("/run/systemd/system").is_dir():
            found.append("the init system is not systemd, which the agent needs")
    missing = [command for command in NEEDED_COMMANDS if shutil.which(command) is None]
    if missing:
        found.append(f"the host has no {' and no '.join(missing)}: install the packages that hold them")
    return found + _other_implementation(paths)


def _other_implementation(paths: Paths) -> list[str]:
    """Signs of the vendor's agent, which must go by its own uninstallation first."""
    if paths.binary.exists() and not is_ours(paths.binary):
        return [f"{paths.binary} is another agent: uninstall that first (palette-agent uninstall --force)"]
    for unit in (START_UNIT, *STAGE_UNITS.values(), "spectro-palette-agent-bootstrap.service"):
        path = paths.units / unit
        if path.exists() and not path.read_text("utf-8", "replace").startswith(_MARK):
            return [f"{path} is of another agent: uninstall that first"]
    return []


def _install(paths: Paths, program: Path, folder: Path | None, data: userdata.UserData, text: str, say: Say) -> None:
    notes = Notes(paths)
    environment = f"STYLUS_ROOT={'/' if paths.is_system else paths.root}\n"
    units = unit_texts(paths)
    wanted = [
        ("the program", paths.binary, program.read_bytes(), 0o755),
        ("the environment", paths.environment, environment.encode(), 0o644),
        ("user-data", paths.user_data, text.encode(), 0o600),
        *((name, paths.units / name, unit.encode(), 0o644) for name, unit in units.items()),
    ]
    # as `systemctl enable` does, by the links themselves: so it works in an image as well
    links = {paths.units / "multi-user.target.wants" / name: name for name in units if name.endswith(".service")}
    notes.add([path for _, path, _, _ in wanted] + list(links) + _of_the_archive(paths) + [paths.setup_done])
    changed = [what for what, path, content_, mode in wanted if _write(path, content_, mode)]
    for link, name in links.items():
        files.make_folder(link.parent)
        if not link.is_symlink():
            link.symlink_to(f"/etc/systemd/system/{name}")
    for bundle in sorted(folder.rglob(f"*{content.SUFFIX}")) if folder else []:
        # stages bring the key by which it is verified
        stages.run(data, paths, "initramfs")
        stages.run(data, paths, "boot")
        say(f"content {bundle.name}")
        extract(paths, bundle, say)
    if notes.version != __version__:
        notes.version = __version__
        notes.save()
    if _write(paths.setup_done, b"", 0o644):
        changed.append("the mark of a finished installation")
    what = f" ({', '.join(changed)} changed)" if changed else ", as before"
    say(f"palette-agent {__version__} is installed{what}")
    if paths.is_system:
        if changed:
            for stage in STAGE_UNITS:
                stages.run(data, paths, stage)  # here, so that what is wrong with a step is said
            _systemctl(paths, "daemon-reload")
            _systemctl(paths, "restart", *STAGE_UNITS.values())
            _systemctl(paths, "restart", START_UNIT)
        else:
            _systemctl(paths, "start", START_UNIT)


def _of_the_archive(paths: Paths) -> list[Path]:
    """What the archive put here, to go as well: its unit would install the agent again."""
    unit, program = paths.units / INIT_UNIT, paths.root / "var/lib/spectro/stylus/palette-agent"
    found = [program] if program.exists() and is_ours(program) else []
    if unit.exists() and unit.read_text("utf-8", "replace").startswith(_MARK):
        found += [unit, paths.units / "multi-user.target.wants" / INIT_UNIT]
    return found


def _systemctl(paths: Paths, *arguments: str, check: bool = True) -> None:
    if not paths.is_system:
        return
    done = subprocess.run(
        ["systemctl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False
    )
    if check and done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise InstallError(f"systemctl {' '.join(arguments)} failed: {said[-1] if said else done.returncode}")


def extract(paths: Paths, bundle: Path, say: Say) -> None:
    """Verify and unpack a content bundle for the agent to take over; ContentError."""
    trust = config.read(paths.configuration).trust
    state = Journal(paths.journal).state if paths.journal.exists() else None

    def in_use(pack: str, version: str) -> content.InUse:
        if state is None:
            return content.InUse()
        return content.InUse(state.version if state.member else "", state.serials.get(f"{pack} {version}", 0))

    ready = content.unpack(bundle, paths.content, trust, hostinfo.architecture(), in_use, report=say)
    say(f"{ready.bundle.name} {ready.bundle.version} is verified, in {ready.folder}")


# --- uninstalling ---


def uninstall(paths: Paths, force: bool, dry_run: bool, say: Say) -> None:
    """Remove what was installed, what the engine and the stages made, and the host's identity."""
    _preload()
    others = _other_implementation(paths)
    if others:
        raise InstallError("; ".join(others))
    if paths.is_system and not dry_run and os.geteuid() != 0:
        raise InstallError("an uninstallation needs root")
    if not paths.installed.exists() and not paths.state.exists():
        say(f"no agent is installed below {paths.root}")
        return
    state = Journal(paths.journal).state if paths.journal.exists() else None
    if state is not None and (state.member or state.cluster_uid) and not force:
        raise InstallError(
            f"this host is in the cluster {state.cluster_name or state.cluster_uid}: take it out of its pool first, or"
            " give --force"
        )
    if not dry_run:
        for unit in (START_UNIT, *STAGE_UNITS.values()):
            _systemctl(paths, "stop", unit, check=False)
        try:
            with only_one(paths):
                pass
        except AlreadyRunning as error:
            raise InstallError(f"{error}: end it first") from None
    _reset_engine(paths, dry_run, say)
    for line in stages.undo(paths, dry_run):
        say(line)
    if not dry_run:
        # else systemd shows it until the next start of the host
        _systemctl(paths, "stop", SLICE, check=False)
    _remove(paths, dry_run, say)
    if not dry_run:
        _systemctl(paths, "daemon-reload")
        say("palette-agent is removed; user-data given to it and packages are left alone")


def _preload() -> None:
    """The program removes itself, so nothing may have to be loaded from it afterwards."""
    from . import cli, engine, hostsettings, reconcile  # noqa: F401
    from .engine import kubeadm, simulated  # noqa: F401


def _reset_engine(paths: Paths, dry_run: bool, say: Say) -> None:
    try:
        settings = config.read(paths.configuration)
    except config.ConfigurationError as error:
        say(f"warning: {error}; taking the engine {config.DEFAULT_ENGINE}")
        settings = config.Configuration()
    who: Any = files.read_json(paths.identity) or {}
    engine = make_engine(settings.engine, Surroundings(paths.root, settings.options, str(who.get("uid", ""))))
    for line in engine.traces():
        say(f"remove {line}")
    if dry_run:
        return
    from .hostsettings import HostSettings

    try:
        engine.reset(say)
    except EngineError as error:
        raise InstallError(f"the engine could not clean the host: {error}; run it again") from None
    HostSettings(paths)(None)


def _remove(paths: Paths, dry_run: bool, say: Say) -> None:
    notes = Notes(paths)
    for name in reversed(notes.files):
        path = Path(name)
        if path in (paths.installed, paths.binary) or not (path.exists() or path.is_symlink()):
            continue
        say(f"remove {name}")
        if not dry_run:
            path.unlink()
    own = [paths.content, paths.state]
    for folder in own:
        if folder.exists():
            say(f"remove {folder}")
    say(f"remove {paths.binary}")
    for name in reversed(notes.folders):
        say(f"remove {name} if it is empty")
    if dry_run:
        return
    shutil.rmtree(paths.content, ignore_errors=True)
    # the notes go last: what is interrupted before can be done again
    for entry in paths.state.iterdir() if paths.state.exists() else []:
        if entry != paths.installed:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    paths.binary.unlink(missing_ok=True)
    paths.installed.unlink(missing_ok=True)
    for name in [*reversed(notes.folders), str(paths.state), *(str(paths.root / name) for name in OWN_FOLDERS)]:
        files.remove_empty(Path(name))
    sys.stdout.flush()
