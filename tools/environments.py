# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python environments of this work tree, as data.

Only the standard library and syntax of Python 3.8: this is read before anything is known to be installed.
"""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(ROOT, ".cache")
LOCKS = os.path.join(ROOT, "tools", "locks")

# name: where it lies, and the oldest and newest Python that its lock was made for
ENVIRONMENTS = {
    "venv": {"path": ".venv", "python": ((3, 11), (3, 14))},
    "importer": {"path": ".cache/envs/importer", "python": ((3, 11), (3, 13))},
    "core-2.19": {"path": ".cache/envs/core-2.19", "python": ((3, 11), (3, 13))},
    "core-2.20": {"path": ".cache/envs/core-2.20", "python": ((3, 12), (3, 14))},
    "core-2.21": {"path": ".cache/envs/core-2.21", "python": ((3, 12), (3, 14))},
    "core-2.22": {"path": ".cache/envs/core-2.22", "python": ((3, 13), (3, 14))},
}

# the environment into which the distributions under embedded/ are installed, and the collection linked
MAIN = "venv"


def path(name):
    return os.path.join(ROOT, *ENVIRONMENTS[name]["path"].split("/"))


def executable(name, command="python"):
    return os.path.join(path(name), "bin", command)


def lock(name):
    return os.path.join(LOCKS, name + ".txt")


def embedded_projects():
    """The folders of the distributions under embedded/."""
    folder = os.path.join(ROOT, "embedded")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [
        os.path.join(folder, name) for name in names if os.path.isfile(os.path.join(folder, name, "pyproject.toml"))
    ]


def process_environment(name, **more):
    """What a process needs to run with an environment's commands first; shims are no interpreters and stay away."""
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if "shims" not in folder]
    changed = {"PATH": os.pathsep.join([os.path.join(path(name), "bin")] + folders), "VIRTUAL_ENV": path(name)}
    changed.update(more)
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PALETTE_", "PYTHON"))
    }
    inherited.update(changed)
    return inherited
