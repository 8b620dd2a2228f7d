#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a Python environment of this work tree: `bootstrap.py [NAME …]`, by default the one in .venv.

Finds the newest usable Python for which the environment has a lock, makes the environment, installs the lock with its
hashes and, in .venv, the distributions under embedded/ (editable) and the collection where Ansible finds it. A stamp
makes a second call instant. Only the standard library, and nothing newer than Python 3.8, so that an old Python gets
a sentence and not a traceback.
"""

from __future__ import annotations

import argparse
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import environments

COLLECTION = ("ansible_collections", "paletteops", "modes")

PROBE = """
import json, platform, sys
missing = []
for name in ("ssl", "venv", "ensurepip"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "plain": platform.python_implementation() == "CPython" and getattr(sys, "_is_gil_enabled", lambda: True)(),
    "home": sys.base_prefix,
    "missing": missing,
}))
"""


class CannotMake(Exception):
    """What this machine lacks, in one line with the command that mends it."""


def dotted(version: Any) -> str:
    return ".".join(str(part) for part in version)


def say(text: str, started: float | None = None) -> None:
    print("{:<64}{}".format(text, "" if started is None else f"{time.monotonic() - started:6.1f} s"), flush=True)


def possible_interpreters(newest_minor: int, oldest_minor: int = 11) -> Iterator[str]:
    """Paths that may be a Python, the same one perhaps several times under different names."""
    names = [f"python3.{minor}" for minor in range(newest_minor, oldest_minor - 1, -1)] + ["python3", "python"]
    home = os.path.expanduser("~")
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/local/bin", "/usr/bin"]
    folders += glob.glob(
        os.path.join(os.environ.get("PYENV_ROOT", os.path.join(home, ".pyenv")), "versions", "*", "bin")
    )
    folders += glob.glob(os.path.join(home, ".local", "share", "uv", "python", "*", "bin"))
    for folder in folders:
        for name in names:
            candidate = os.path.join(folder, name)
            if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
                yield candidate


def describe(interpreter: str) -> dict[str, Any] | None:
    """What PROBE says of an interpreter; None where it does not run (a pyenv shim without a version, for one)."""
    try:
        answer = subprocess.run(
            [interpreter, "-I", "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30
        )
        found: dict[str, Any] | None = json.loads(answer.stdout.decode()) if answer.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if found:
        found["path"] = interpreter
        # the interpreter itself instead of a virtual environment's link to it, which may go away
        real = os.path.join(found["home"], "bin", "python{}.{}".format(*found["version"]))
        if os.path.isfile(real):
            found["path"] = real
    return found


def debian_package(found: dict[str, Any]) -> str:
    """The package that holds venv and ensurepip for this interpreter."""
    system = os.path.realpath("/usr/bin/python3") == os.path.realpath(found["path"])
    return "python3-venv" if system else "python{}.{}-venv".format(*found["version"])


def choose_interpreter(name: str, candidates: Iterable[str] | None = None) -> dict[str, Any]:
    """The newest of the candidates (all that may be one, by default) that fits the environment's lock and is whole."""
    environment = environments.ENVIRONMENTS[name]
    seen: dict[str, dict[str, Any] | None] = {}
    for candidate in possible_interpreters(environment.newest[1]) if candidates is None else candidates:
        real = os.path.realpath(candidate)
        if real not in seen:
            seen[real] = describe(candidate)
    found = sorted((item for item in seen.values() if item), key=lambda item: item["version"], reverse=True)
    fitting = [
        item
        for item in found
        if environment.oldest <= tuple(item["version"][:2]) <= environment.newest and item["plain"]
    ]
    whole = [item for item in fitting if not item["missing"]]
    if whole:
        return whole[-1 if environment.oldest_first else 0]
    if fitting:
        raise CannotMake(
            "{} is Python {} without its module {}; mend it with: apt install {}".format(
                fitting[0]["path"], dotted(fitting[0]["version"]), fitting[0]["missing"][0], debian_package(fitting[0])
            )
        )
    best, packages = "there is none here", "python3 python3-venv"
    oldest = dotted(environment.oldest)
    if found:
        packages = f"python{oldest} python{oldest}-venv"
        best = "the newest here is {} at {}".format(dotted(found[0]["version"]), found[0]["path"])
    raise CannotMake(
        f"{environment.path} needs Python {oldest} to {dotted(environment.newest)}, {best}; mend it with:"
        f" apt install {packages} (or name one with: make PYTHON=/path/to/python3)"
    )


def read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def fingerprint(name: str) -> str:
    """Changes whenever the environment must be brought up to date."""
    digest = hashlib.sha256()
    sources = [environments.lock(name), os.path.abspath(__file__)]
    if environments.ENVIRONMENTS[name].embedded:
        sources += [os.path.join(project, "pyproject.toml") for project in environments.embedded_projects()]
    for source in sources:
        digest.update(source.encode() + b"\0" + read(source))
    return digest.hexdigest()


def run_quietly(command: list[str], what: str) -> None:
    started = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=environments.ROOT)
    if done.returncode != 0:
        sys.stdout.write(done.stdout.decode(errors="replace"))
        raise CannotMake(f"{what} failed (see above); nothing is marked as done, so the same command tries again")
    say("  " + what, started)


def drop_what_the_lock_no_longer_names(name: str, python: str) -> None:
    """Packages of an older lock would otherwise stay and be imported."""

    def normal(text: str) -> str:
        return re.sub(r"[-_.]+", "-", text).lower()

    with open(environments.lock(name), encoding="utf-8") as stream:
        kept = {normal(line.split("==")[0]) for line in stream if "==" in line and not line[0].isspace()}
    kept |= {"pip"}
    if environments.ENVIRONMENTS[name].embedded:
        kept |= {"paletteops-" + os.path.basename(project) for project in environments.embedded_projects()}
    listed = json.loads(
        subprocess.check_output([python, "-m", "pip", "list", "--format=json"], stderr=subprocess.DEVNULL).decode()
    )
    surplus = sorted(item["name"] for item in listed if normal(item["name"]) not in kept)
    if surplus:
        run_quietly([python, "-m", "pip", "uninstall", "--yes", "--quiet", *surplus], "remove " + ", ".join(surplus))


def link_collection(environment: str) -> None:
    """Ansible loads the collection from the work tree, so that a change is seen at once."""
    link = os.path.join(environment, "collections", *COLLECTION)
    os.makedirs(os.path.dirname(link), exist_ok=True)
    if os.path.islink(link) and os.readlink(link) == environments.ROOT:
        return
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(environments.ROOT, link)


def make(name: str, wanted: str | None = None) -> None:
    target = environments.path(name)
    stamp_file = os.path.join(target, ".made-from")
    python = environments.executable(name)
    before = json.loads(read(stamp_file).decode()) if os.path.isfile(stamp_file) else {}
    current = before.get("fingerprint") == fingerprint(name) and before.get("root") == environments.ROOT
    # a Python that was taken away, and one that the caller asks for now, make the environment anew
    runs = os.path.exists(python) and describe(python) is not None if before else False
    asked_for_another = wanted is not None and os.path.realpath(wanted) != before.get("interpreter")
    if current and runs and not asked_for_another:
        return
    started = time.monotonic()
    chosen = choose_interpreter(name, [wanted] if wanted else None)
    interpreter = os.path.realpath(chosen["path"])
    if os.path.isdir(target) and (
        not runs or before.get("interpreter") != interpreter or before.get("root") != environments.ROOT
    ):
        shutil.rmtree(target)
    elif os.path.isfile(stamp_file):
        os.unlink(stamp_file)
    say(
        "{} on Python {} ({})".format(
            os.path.relpath(target, environments.ROOT), dotted(chosen["version"]), chosen["path"]
        )
    )
    if not os.path.isdir(target):
        run_quietly([chosen["path"], "-m", "venv", target], "make the environment")
    # the lock is whole, so nothing is resolved; bytecode is left to first use, which saves a minute for `ansible`
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    run_quietly(
        [*install, "--no-deps", "--require-hashes", "--requirement", environments.lock(name)],
        f"install what tools/locks/{name}.txt names",
    )
    drop_what_the_lock_no_longer_names(name, python)
    if environments.ENVIRONMENTS[name].embedded:
        for project in environments.embedded_projects():
            run_quietly(
                [*install, "--no-deps", "--no-build-isolation", "--editable", project],
                "install " + os.path.relpath(project, environments.ROOT),
            )
    if name == environments.MAIN:
        link_collection(target)
    with open(stamp_file, "w", encoding="utf-8") as stream:
        json.dump({"fingerprint": fingerprint(name), "interpreter": interpreter, "root": environments.ROOT}, stream)
    say(f"{os.path.relpath(target, environments.ROOT)} is ready", started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="one of: " + ", ".join(environments.ENVIRONMENTS))
    parser.add_argument("--python", default=None, help="this interpreter instead of the newest that fits")
    options = parser.parse_args()
    os.makedirs(environments.CACHE, exist_ok=True)
    with open(os.path.join(environments.CACHE, "bootstrap.lock"), "w", encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for name in options.names or [environments.MAIN]:
            if name not in environments.ENVIRONMENTS:
                raise CannotMake("no environment {}: there are {}".format(name, ", ".join(environments.ENVIRONMENTS)))
            make(name, options.python)


if __name__ == "__main__":
    try:
        main()
    except CannotMake as problem:
        sys.exit(f"error: {problem}")
