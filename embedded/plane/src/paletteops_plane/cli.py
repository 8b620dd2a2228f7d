# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``paletteops-plane``."""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import sqlite3
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from paletteops_plane import __version__
from paletteops_plane.store import NameTaken, StoreError, hold

DEFAULT_LISTEN = "127.0.0.1:8080"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class UsageError(Exception):
    """One line for the user; exit status 2."""


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.routes:
            try:
                _print_routes()
                sys.stdout.flush()
            except BrokenPipeError:
                # Whoever reads has seen enough (head); nothing is to be written when the process ends, either.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if options.command == "backup":
            return _backup(options)
        if options.command == "restore":
            return _restore(options)
        if options.command == "api-key":
            return _api_key(options)
        return _serve(options)
    except (UsageError, StoreError) as error:
        print(f"paletteops-plane: {error}", file=sys.stderr)
    except OSError as error:
        print(f"paletteops-plane: {error.filename or _data(options)}: {error.strerror or error}", file=sys.stderr)
    except sqlite3.DatabaseError as error:
        print(
            f"paletteops-plane: {_data(options)} is damaged: {error}; put a backup in its place (restore FILE)",
            file=sys.stderr,
        )
    return 2


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="the data file")
    parser = argparse.ArgumentParser(
        prog="paletteops-plane",
        description="A small open implementation of Palette's management API. Without a command it serves.",
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--routes", action="store_true", help="print the operations that are served, and end")
    parser.add_argument(
        "--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help="default %(default)s; port 0: any"
    )
    parser.add_argument("--tls", action="store_true", help="speak TLS by a certificate of its own authority")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="where a fresh plane's API key goes: DATA.key")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="written (JSON) as soon as it listens")
    parser.add_argument(
        "--speed", type=float, default=60.0, help="of the simulated provisioner; 1 is realistic minutes"
    )
    parser.add_argument("--content", type=Path, metavar="DIR", help="the folder of content bundles that hosts get")
    parser.add_argument("--no-limits", action="store_true", help="switch the API's limits off")
    parser.add_argument("--test-controls", action="store_true", help="serve clock, faults and records: /embedded/v1/")
    parser.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error"))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in (
        ("backup", "copy the data file, also while it serves"),
        ("restore", "put a backup in its place"),
    ):
        command = commands.add_parser(name, parents=[common], help=text)
        command.add_argument("file", type=Path, help="the backup")
        command.add_argument("--replace", action="store_true", help="also where the file that is written exists")
    key = commands.add_parser("api-key", parents=[common], help="make another API key")
    key.add_argument("--name", required=True)
    key.add_argument("--expires-in", metavar="30d", help="a number with s, m, h or d; default: never")
    key.add_argument("--key-file", type=Path, metavar="FILE", required=True, help="where the key goes (0600)")
    return parser


def _data(options: argparse.Namespace) -> Path:
    chosen: Path | None = getattr(options, "data", None)
    if chosen is None:
        home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        chosen = Path(home) / "paletteops-plane" / "plane.sqlite"
    return chosen


def _print_routes() -> None:
    from paletteops_plane.contract import CONTRACT
    from paletteops_plane.host_access import HOST_OPERATIONS
    from paletteops_plane.hosts_api import CALLS
    from paletteops_plane.resources import load
    from paletteops_plane.routing import HANDLERS

    load()
    for name in sorted(HANDLERS, key=lambda item: item.split(" ")[::-1]):
        method, path = name.split(" ")
        scope = CONTRACT.operations[name].scope + (", host" if name in HOST_OPERATIONS else "")
        print(f"{method:7}{path}  ({scope})")
    for name in sorted(CALLS, key=lambda item: item.split(" ")[::-1]):
        method, path = name.split(" ")
        print(f"{method:7}/embedded/v1/hosts/{{uid}}/{path}  (host)")


def _backup(options: argparse.Namespace) -> int:
    from paletteops_plane.store import backup

    if options.file.exists() and not options.replace:
        raise UsageError(f"{options.file} exists: name another file, or say --replace")
    backup(_data(options), options.file)
    print(f"paletteops-plane: {_data(options)} is copied to {options.file}")
    return 0


def _restore(options: argparse.Namespace) -> int:
    from paletteops_plane.store import restore

    data = _data(options)
    if data.exists() and not options.replace:
        raise UsageError(f"{data} exists: stop its plane and say --replace to put the backup in its place")
    with hold(data):
        restore(options.file, data)
    print(f"paletteops-plane: {options.file} is in the place of {data}")
    return 0


def _api_key(options: argparse.Namespace) -> int:
    from paletteops_plane.auth import create_api_key
    from paletteops_plane.plane import ADMIN_EMAIL, Plane, Settings, write_private

    data = _data(options)
    if not data.exists():
        raise UsageError(f"there is no data file {data}")
    with closing(Plane.open(Settings(data=data))) as plane:
        user = plane.store.by_name("user", ADMIN_EMAIL)
        assert user is not None
        expiry = plane.clock.now() + _duration(options.expires_in) if options.expires_in else None
        try:
            with plane.store.transaction():
                _, key = create_api_key(plane, options.name, user, expiry)
                write_private(options.key_file, key + "\n")
        except NameTaken:
            raise UsageError(f"an API key named {options.name!r} exists already") from None
    return 0


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if not found:
        raise UsageError(f"--expires-in is {text!r}: say a number with s, m, h or d, such as 30d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _serve(options: argparse.Namespace) -> int:
    from paletteops_plane.plane import Plane, Settings
    from paletteops_plane.server import listen, serve

    if not 0 < options.speed < math.inf:
        raise UsageError(f"--speed is {options.speed}: say a number above 0")
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    if options.ready_file and not options.ready_file.parent.is_dir():
        raise UsageError(f"--ready-file is {options.ready_file}: there is no folder {options.ready_file.parent}")
    if options.content and not options.content.is_dir():
        raise UsageError(f"--content is {options.content}: there is no such folder")
    host, port = _address(options.listen)
    data = _data(options)
    try:
        listener = listen(host, port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot listen on {options.listen}: {reason}; say another --listen HOST:PORT") from None
    with listener, hold(data):
        certificates = None
        if options.tls:
            from paletteops_plane.tls import certificate_files

            certificates = certificate_files(data, host)
        settings = Settings(
            data=data,
            key_file=options.key_file,
            speed=options.speed,
            limits=not options.no_limits,
            test_controls=options.test_controls,
            ca_file=certificates[0] if certificates else None,
            content=options.content,
        )
        with closing(Plane.open(settings)) as plane:
            return serve(plane, listener, host, options.ready_file, certificates)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen is {text!r}: say HOST:PORT, such as {DEFAULT_LISTEN}")
    return host, int(port)
