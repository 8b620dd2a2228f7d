#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write tools/locks/NAME.txt from NAME.in, for each environment (or those named on the command line).

The locks are universal: one file serves every Python that its environment allows, with markers where versions differ,
and names no package index, so that each machine uses its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import environments

HEADER = "# Written by `make lock` from {name}.in: change that file, not this one.\n"


def write_lock(name: str, upgrade: bool) -> None:
    environment = environments.ENVIRONMENTS[name]
    sources = [Path(environments.LOCKS, f"{name}.in")]
    if environment.embedded:
        sources += [Path(project, "pyproject.toml") for project in environments.embedded_projects()]
    target = Path(environments.lock(name))
    command = [environments.executable(environments.MAIN, "uv"), "pip", "compile", "--quiet", "--universal"]
    command += [
        "--python-version",
        ".".join(map(str, environment.oldest)),
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
    ]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--output-file", str(target)]
    command += ["--upgrade"] if upgrade else []
    # the collection runs from its work tree: the root's pyproject.toml configures tools and is no project of uv's
    subprocess.run([*command, "--no-config", *map(str, sources)], check=True, cwd=environments.ROOT)
    body = target.read_text(encoding="utf-8").removeprefix(HEADER.format(name=name))
    target.write_text(HEADER.format(name=name) + body, encoding="utf-8")
    print(f"wrote {target.relative_to(environments.ROOT)}")


def main(arguments: list[str]) -> int:
    upgrade = "--upgrade" in arguments
    names = [argument for argument in arguments if argument != "--upgrade"] or list(environments.ENVIRONMENTS)
    for name in names:
        write_lock(name, upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
