# SPDX-License-Identifier: GPL-3.0-or-later
"""Module processes that are forked from one which has imported all modules: it saves each the start of an interpreter.

Such a process has its own environment, folder, input and output, and nothing of what another module did. Run as a
script, this file is the process that they are forked from; it ends with the one that started it.
"""

from __future__ import annotations

import atexit
import importlib
import io
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

COLLECTION = Path(__file__).resolve().parents[2]
PACKAGE = "ansible_collections.paletteops.modes.plugins.modules"


# --- for those who want a module run ---


class Module:
    """A module process that stands ready to begin."""

    def __init__(self, name: str, text: str, env: Mapping[str, str], cwd: Path, timeout: float) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(timeout)
        self.connection.connect(_server(env["PYTHONPATH"]))
        asked = {"name": name, "text": text, "env": dict(env), "cwd": str(cwd)}
        self.connection.sendall(json.dumps(asked).encode())

    def begin(self) -> None:
        self.connection.sendall(b"\n")

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait for it; what became of it. ``TimeoutError`` when it takes longer than it may."""
        with self.connection, self.connection.makefile("rb") as answer:
            done = json.load(answer)
        return subprocess.CompletedProcess(done["name"], done["code"], done["out"], done["err"])


@lru_cache
def _server(path: str) -> str:
    """The address of the process to fork from, which finds the collection on this path."""
    folder = tempfile.mkdtemp(prefix="po-forked-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = f"{folder}/socket"
    environment = {**os.environ, "PYTHONPATH": path}
    server = subprocess.Popen([sys.executable, __file__, address], env=environment, stdout=subprocess.PIPE)
    atexit.register(server.wait)
    atexit.register(server.terminate)
    assert server.stdout is not None
    assert server.stdout.readline(), "the process that modules are forked from did not start"
    return address


# --- the process to fork from ---


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 128
    max_children = 128
    starter = os.getppid()

    def service_actions(self) -> None:
        super().service_actions()
        if os.getppid() != self.starter:
            raise SystemExit


class _Handler(socketserver.StreamRequestHandler):
    """Runs one module, in the process that was forked for it."""

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        self.wfile.write(json.dumps(_run(**asked)).encode())


def _run(name: str, text: str, env: dict[str, str], cwd: str) -> dict[str, Any]:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    tempfile.tempdir = None  # it depends on the environment
    sys.argv = [name]
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        code: Any = 0
        try:
            importlib.import_module(f"{PACKAGE}.{name}").main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 1
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        written = {}
        for key, file in (("out", out), ("err", err)):
            file.seek(0)
            written[key] = file.read().decode()
    return {"name": name, "code": code or 0, **written}


def _serve(address: str) -> None:
    with _Server(address, _Handler) as server:
        for path in sorted((COLLECTION / "plugins/modules").glob("*.py")):
            importlib.import_module(f"{PACKAGE}.{path.stem}")
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file: its modules are not for those that are run
    _serve(sys.argv[1])
