# SPDX-License-Identifier: GPL-3.0-or-later
"""Unit tests: what is pure logic in the collection's ``module_utils`` and ``plugin_utils``."""

from __future__ import annotations

import sys
from pathlib import Path

import hypothesis

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.collection import importable

importable()

hypothesis.settings.register_profile("paletteops", derandomize=True, deadline=None, max_examples=100, database=None)
hypothesis.settings.load_profile("paletteops")
