# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules and playbooks in processes that are forked from one which has imported what they need.

It saves each the start of an interpreter: all of it for a module, and what does not depend on Ansible's configuration
for a playbook. Such a process has its own environment, folder, input and output, and nothing of what another one did.
Run as a script, this file is the process that they are forked from; it ends with the one that started it.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

COLLECTION = Path(__file__).resolve().parents[2]
MODULES = "ansible_collections.paletteops.modes.plugins.modules"
PLAYBOOK = "ansible.cli.playbook"
#: what a playbook imports that reads no configuration; no collection is imported before Ansible's loader is there
BEFORE_PLAYBOOKS = (
    "ansible.module_utils.basic",
    "ansible.module_utils.common.arg_spec",
    "ansible.module_utils.common.yaml",
    "cryptography.exceptions",
    "getpass",
    "jinja2.nativetypes",
    "multiprocessing.queues",
    "packaging.requirements",
    "pkgutil",
    "ssl",
    "urllib.request",
    "urllib3",
)


# --- for those who want something run ---


class Forked:
    """A process that stands ready to begin: the ``main`` of a Python module, by its full name.

    ``arguments`` are those of its command line, ``text`` is its standard input.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], text: str, env: Mapping[str, str], cwd: Path, timeout: float
    ) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(timeout)
        self.connection.connect(_server(env["PYTHONPATH"], "playbooks" if name == PLAYBOOK else "modules"))
        asked = {"name": name, "arguments": [*arguments], "text": text, "env": dict(env), "cwd": str(cwd)}
        self.connection.sendall(json.dumps(asked).encode())

    def run(self) -> subprocess.CompletedProcess[str]:
        """Begin, and wait for the end."""
        self.begin()
        return self.end()

    def begin(self) -> None:
        self.connection.sendall(b"\n")

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait for it; what became of it. ``TimeoutError`` when it takes longer than it may."""
        with self.connection, self.connection.makefile("rb") as answer:
            done = json.load(answer)
        return subprocess.CompletedProcess(done["name"], done["code"], done["out"], done["err"])


@lru_cache
def _server(path: str, kind: str) -> str:
    """The address of the process to fork modules or playbooks from, which finds the collection on this path."""
    folder = tempfile.mkdtemp(prefix="po-forked-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = f"{folder}/socket"
    environment = {**os.environ, "PYTHONPATH": path}
    server = subprocess.Popen([sys.executable, __file__, kind, address], env=environment, stdout=subprocess.PIPE)
    atexit.register(server.wait)
    atexit.register(server.terminate)
    assert server.stdout is not None
    assert server.stdout.readline(), f"the process that {kind} are forked from did not start"
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
    """Runs what is asked for, in the process that was forked for it."""

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        self.wfile.write(json.dumps(_run(**asked)).encode())


def _run(name: str, arguments: list[str], text: str, env: dict[str, str], cwd: str) -> dict[str, Any]:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    tempfile.tempdir = None  # it depends on the environment
    sys.argv = [name, *arguments]
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(text.encode())
        given.seek(0)
        for descriptor, file in enumerate((given, out, err)):
            os.dup2(file.fileno(), descriptor)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as the process
        code: Any = 0
        try:
            importlib.import_module(name).main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 1
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        written = {}
        for key, file in (("out", out), ("err", err)):
            file.seek(0)
            written[key] = file.read().decode()
    return {"name": name, "code": code or 0, **written}


def _serve(kind: str, address: str) -> None:
    modules = sorted(f"{MODULES}.{path.stem}" for path in (COLLECTION / "plugins/modules").glob("*.py"))
    with _Server(address, _Handler) as server:
        for name in modules if kind == "modules" else BEFORE_PLAYBOOKS:
            importlib.import_module(name)
        assert "ansible.constants" not in sys.modules
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file: its modules are not for those that are run
    _serve(*sys.argv[1:])
