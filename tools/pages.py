#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the pages of modules and roles as HTML into the folder that is named; a warning is an error.

Other projects' indexes are not fetched, so that it works offline; references to them are checked by
`antsibull-docs lint-collection-docs` instead.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import environments
import tree

CONFIGURATION = """\
project = "paletteops.modes"
copyright = "the paletteops.modes contributors"
extensions = ["sphinx_antsibull_ext"]
html_theme = "alabaster"
# labels of Ansible's own documentation, whose index is not fetched
suppress_warnings = ["ref.ref"]
"""


def main(arguments: list[str]) -> int:
    target = Path(arguments[0]).resolve()
    collection = tree.refresh()
    sources = Path(environments.CACHE, "pages")
    shutil.rmtree(sources, ignore_errors=True)
    sources.mkdir(parents=True)
    environment = environments.process_environment(
        environments.MAIN, ANSIBLE_COLLECTIONS_PATH=str(collection.parents[2])
    )
    pages = [
        environments.executable(environments.MAIN, "antsibull-docs"),
        "collection",
        "--use-current",
        "--squash-hierarchy",
        "--fail-on-error",
    ]
    pages += ["--dest-dir", str(sources), "paletteops.modes"]
    subprocess.run(pages, check=True, env=environment)
    (sources / "conf.py").write_text(CONFIGURATION, encoding="utf-8")
    build = [
        environments.executable(environments.MAIN, "sphinx-build"),
        "-q",
        "-E",
        "-W",
        "--keep-going",
        "-b",
        "html",
        str(sources),
        str(target),
    ]
    subprocess.run(build, check=True, env=environment)
    print(f"{len(list(target.glob('*.html')))} pages in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
