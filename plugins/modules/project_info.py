#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_info
short_description: Reads projects in Palette
version_added: 0.1.0
description:
  - Reads one project, or all of them, in the option names of M(paletteops.modes.project).
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes.info
  - paletteops.modes.attributes.reads
  - paletteops.modes.connection
"""

EXAMPLES = r"""
- name: The names of all projects
  paletteops.modes.project_info:
    query: "[].name"
  register: found
"""

RETURN = r"""
projects:
  description: What was found, or what O(query) makes of it.
  returned: always
  type: raw
  sample:
    - {name: retail, description: Clusters of the shops, tags: {team: retail}, uid: 5f6e7d8c9b0a1f2e3d4c5b6a}
"""

from ansible_collections.paletteops.modes.plugins.module_utils.info import PROJECTS
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module

OPERATION = PROJECTS


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
