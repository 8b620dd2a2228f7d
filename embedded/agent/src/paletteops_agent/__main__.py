# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m paletteops_agent``."""

import sys

from paletteops_agent.cli import main

sys.exit(main())
