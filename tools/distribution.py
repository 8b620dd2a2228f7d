#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what is given to users: the collection's tarball, a wheel for each embedded distribution, the agent as it is
brought to hosts, and SHA256SUMS.

The folder is dist/, or the one that is named. It is written anew.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import agent
import environments
import tree

CHECKSUMS = "SHA256SUMS"


def build(target: Path) -> list[Path]:
    """The files that were written, without the checksums."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    environment = environments.process_environment(environments.MAIN)
    galaxy = [environments.executable(environments.MAIN, "ansible-galaxy"), "collection", "build"]
    subprocess.run(
        [*galaxy, "--output-path", str(target), str(tree.refresh())],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    wheel = [environments.executable(environments.MAIN), "-m", "pip", "wheel", "--quiet", "--no-deps"]
    wheel += ["--no-build-isolation", "--disable-pip-version-check", "--wheel-dir", str(target)]
    for project in environments.embedded_projects():
        subprocess.run([*wheel, project], check=True, env=environment)
    agent.build(target)
    written = sorted(target.iterdir())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in written]
    (target / CHECKSUMS).write_text("".join(sums), encoding="utf-8")
    return written


def main(arguments: list[str]) -> int:
    target = Path(arguments[0]) if arguments else Path(environments.ROOT, "dist")
    for path in build(target.resolve()):
        print(f"{path.stat().st_size / 1024:8.0f} KiB  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
