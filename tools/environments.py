# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python environments of this work tree, as data.

Only the standard library and syntax of Python 3.8: this is read before anything is known to be installed.
"""

from __future__ import annotations

import os
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(ROOT, ".cache")
LOCKS = os.path.join(ROOT, "tools", "locks")


class Environment(NamedTuple):
    """Where it lies, the oldest and newest Python of its lock, and what else is particular to it.

    embedded      what is under embedded/ is installed into it
    oldest_first  it takes the oldest Python that fits, not the newest: the matrix is to see both ends
    """

    path: str
    oldest: tuple[int, int]
    newest: tuple[int, int]
    embedded: bool = False
    oldest_first: bool = False


ENVIRONMENTS = {
    "venv": Environment(".venv", (3, 11), (3, 14), embedded=True),
    "importer": Environment(".cache/envs/importer", (3, 11), (3, 13)),
    "core-2.19": Environment(".cache/envs/core-2.19", (3, 11), (3, 13), embedded=True, oldest_first=True),
    "core-2.20": Environment(".cache/envs/core-2.20", (3, 12), (3, 14), embedded=True),
    "core-2.21": Environment(".cache/envs/core-2.21", (3, 12), (3, 14), embedded=True),
    "core-2.22": Environment(".cache/envs/core-2.22", (3, 13), (3, 14), embedded=True),
}

# the one that make targets run in, and into which the collection is linked
MAIN = "venv"


def path(name: str) -> str:
    return os.path.join(ROOT, *ENVIRONMENTS[name].path.split("/"))


def executable(name: str, command: str = "python") -> str:
    return os.path.join(path(name), "bin", command)


def lock(name: str) -> str:
    return os.path.join(LOCKS, name + ".txt")


def embedded_projects() -> list[str]:
    """The folders of the distributions under embedded/."""
    folder = os.path.join(ROOT, "embedded")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [
        os.path.join(folder, name) for name in names if os.path.isfile(os.path.join(folder, name, "pyproject.toml"))
    ]


def process_environment(name: str, **more: str) -> dict[str, str]:
    """What a process needs to run with an environment's commands first; shims are no interpreters and stay away."""
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if "shims" not in folder]
    changed = {"PATH": os.pathsep.join([os.path.join(path(name), "bin"), *folders]), "VIRTUAL_ENV": path(name)}
    changed.update(more)
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PALETTE_", "PYTHON"))
    }
    inherited.update(changed)
    return inherited
