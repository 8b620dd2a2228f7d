# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as Ansible and Python find it: a tree in which it lies at ansible_collections/paletteops/modes."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NAME = "paletteops.modes"


@lru_cache(maxsize=1)
def tree() -> Path:
    """A folder for ANSIBLE_COLLECTIONS_PATH and PYTHONPATH; it goes with this process.

    Its packages are regular ones, so that they come before those of the ``ansible`` distribution.
    """
    root = Path(tempfile.mkdtemp(prefix="paletteops-tree-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    namespace = root / "ansible_collections" / "paletteops"
    namespace.mkdir(parents=True)
    (namespace.parent / "__init__.py").touch()
    (namespace / "__init__.py").touch()
    (namespace / "modes").symlink_to(REPOSITORY)
    return root


def importable() -> None:
    """Lets this process import ``ansible_collections.paletteops.modes``."""
    path = str(tree())
    if path not in sys.path:
        sys.path.insert(0, path)
