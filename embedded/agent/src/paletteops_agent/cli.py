# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``palette-agent``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import __version__, config, content, identity, masking, stages, userdata
from .engine import EngineError, Surroundings, make_engine
from .install import InstallError, extract, install, uninstall
from .paths import Paths
from .service import Agent, AlreadyRunning, only_one

log = logging.getLogger("palette-agent")


def environment_of(paths: Paths) -> dict[str, str]:
    """The lines NAME=VALUE of the environment file."""
    found = {}
    try:
        for line in paths.environment.read_text("utf-8").splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                found[name.strip()] = value.strip().strip("\"'")
    except (OSError, UnicodeDecodeError):
        pass
    return found


def stylus_root(given: str | None, environment: Mapping[str, str] = os.environ) -> Paths:
    """The option, else STYLUS_ROOT, else what the environment file of the host says, else /."""
    root = given or environment.get("STYLUS_ROOT") or environment_of(Paths()).get("STYLUS_ROOT") or "/"
    return Paths(Path(os.path.abspath(root)))


def read_user_data(paths: Paths, given: str | None) -> userdata.UserData:
    path = Path(given) if given else paths.user_data
    try:
        return userdata.parse(path.read_text("utf-8"))
    except OSError as error:
        raise userdata.UserDataError([f"{path} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise userdata.UserDataError([f"{path} is not UTF-8 text"]) from None


def start(options: argparse.Namespace) -> None:
    """The service, in the foreground, until SIGTERM or SIGINT."""
    paths = stylus_root(options.stylus_root)
    data = read_user_data(paths, options.config)
    userdata.require_central(data)
    set_level(data)
    for warning in data.warnings:
        log.warning("user-data: %s", warning)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with only_one(paths):
        stages.run_all(data, paths)
        settings = config.read(paths.configuration)
        if settings.engine == "kubeadm" and os.geteuid() != 0:
            raise config.ConfigurationError(
                f"the engine kubeadm needs root; to try without, set engine: simulated in {paths.configuration}"
            )
        Agent(paths, data, settings).run(stop)
    # a call of the engine may still block; the journal knows of it
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def stage(options: argparse.Namespace) -> None:
    paths = stylus_root(options.stylus_root)
    data = read_user_data(paths, None)
    stages.run(data, paths, options.name)


def set_level(data: userdata.UserData) -> None:
    if data.get("debug", False) or data.get("trace", False):
        logging.getLogger().setLevel(logging.DEBUG)


def engine_call(options: argparse.Namespace) -> None:
    """A snapshot of etcd, or the way back from one."""
    paths = stylus_root(options.stylus_root)
    settings = config.read(paths.configuration)
    engine = make_engine(settings.engine, Surroundings(paths.root, settings.options, ""))
    path = Path(options.file).absolute()
    if options.command == "etcd-snapshot":
        engine.snapshot(path, print)
        print(f"the snapshot is in {path}")
    else:
        if not path.is_file():
            raise InstallError(f"there is no file {path}")
        engine.restore(path, print)
        print(f"etcd is as in {path}")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="palette-agent", description="The embedded agent of paletteops.modes.")
    commands = found.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str, root: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        if root:
            made.add_argument("--stylus-root", metavar="FOLDER", help="where the agent's files lie; default: /")
        return made

    one = command("install", "install the agent on this host, or bring an installation up to date")
    one.add_argument("--source", required=True, metavar="dir:FOLDER|file:FILE", help="where the agent comes from")
    one.add_argument("--config", metavar="FILE", help="default: /var/lib/spectro/userdata, else what is kept")
    one.add_argument("--no-reboot", action="store_true", help="leave install.reboot and install.poweroff aside")
    one = command("uninstall", "remove the agent and what it made")
    one.add_argument("--force", action="store_true", help="also where the host is in a cluster")
    one.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    one = command("content-extract", "verify and unpack a content bundle for the agent to take over")
    one.add_argument("--source", required=True, metavar="FILE", help="the bundle")
    one = command("start", "run the agent in the foreground; what its unit does")
    one.add_argument("--config", metavar="FILE", help="user-data; default: what the installation keeps")
    one = command("stage", "carry out a stage of user-data; what its unit does")
    one.add_argument("name", choices=userdata.STAGE_NAMES)
    for name, text in (
        ("etcd-snapshot", "write a snapshot of etcd to a file"),
        ("etcd-restore", "bring etcd back to a snapshot (on each control-plane host, with the same file)"),
    ):
        one = command(name, text)
        one.add_argument("file", metavar="FILE")
    command("version", "print the version", root=False)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    os.umask(0o022)
    options = parser().parse_args(arguments)
    logging.basicConfig(handlers=[masking.handler(sys.stderr)], level=logging.INFO)
    try:
        if options.command == "version":
            print(__version__)
        elif options.command == "install":
            given = Path(options.config) if options.config else None
            install(stylus_root(options.stylus_root), options.source, given, print, not options.no_reboot)
        elif options.command == "uninstall":
            uninstall(stylus_root(options.stylus_root), options.force, options.dry_run, print)
        elif options.command == "content-extract":
            extract(stylus_root(options.stylus_root), Path(options.source), print)
        elif options.command == "start":
            start(options)
        elif options.command == "stage":
            stage(options)
        else:
            engine_call(options)
    except (
        InstallError,
        userdata.UserDataError,
        config.ConfigurationError,
        content.ContentError,
        identity.IdentityError,
        stages.StageError,
        AlreadyRunning,
        EngineError,
        OSError,
        ValueError,
    ) as error:
        print(masking.masked(f"error: {error}"), file=sys.stderr)
        return 1
    return 0
