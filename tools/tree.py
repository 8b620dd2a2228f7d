# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the collection as a tree of its own, for tools that want it at ansible_collections/paletteops/modes.

ansible-test looks through a symbolic link, wants a git repository and checks every file that it sees. So the copy holds
the files that git knows or would take, less what is no part of the collection.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import environments

ROOT = Path(environments.ROOT)
TREE = Path(environments.CACHE, "tree")
COLLECTION = Path("ansible_collections", "paletteops", "modes")

# no part of the collection; beside these, of tests/ only what ansible-test reads
LEFT_OUT = {".ci", "Makefile", "ansible.cfg", "embedded", "pyproject.toml", "tests", "tools"}
KEPT_OF_TESTS = ("tests/sanity/", "tests/config.yml")

# its git looks at no configuration of the user's, and has no hooks
GIT = ["git", "-c", "user.name=tree", "-c", "user.email=tree@localhost", "-c", "core.hooksPath=/dev/null"]
GIT += ["-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main", "-c", "core.excludesFile=/dev/null"]


def files() -> list[str]:
    """Paths of the collection's files, relative to the root."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted(
        name
        for name in set(listed) - {""}
        if (name.split("/")[0] not in LEFT_OUT or name.startswith(KEPT_OF_TESTS)) and (ROOT / name).is_file()
    )


def refresh() -> Path:
    """Bring the copy up to date, and return its folder. What has not changed keeps its time, for caches' sake."""
    target = TREE / COLLECTION
    target.mkdir(parents=True, exist_ok=True)
    wanted = files()
    present = {
        str(path.relative_to(target))
        for path in target.rglob("*")
        if not path.is_dir() and path.relative_to(target).parts[0] != ".git"
    }
    for name in present - set(wanted):
        (target / name).unlink()
    for name in wanted:
        source, copy = ROOT / name, target / name
        if not copy.exists() or source.stat().st_mtime_ns != copy.stat().st_mtime_ns:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    for folder, _, _ in os.walk(target, topdown=False):
        if ".git" not in Path(folder).relative_to(target).parts and not os.listdir(folder):
            os.rmdir(folder)
    if not (target / ".git").is_dir():
        subprocess.run([*GIT, "init", "--quiet"], cwd=target, check=True)
    subprocess.run([*GIT, "add", "--all"], cwd=target, check=True)
    subprocess.run([*GIT, "commit", "--quiet", "--allow-empty", "--message", "tree"], cwd=target, check=True)
    return target
