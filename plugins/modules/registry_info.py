#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_info
short_description: Reads the registries of Palette
version_added: 0.1.0
description:
  - Reads one registry of packs, Helm charts or OCI artefacts, or all of them.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes.info
  - paletteops.modes.attributes.reads
  - paletteops.modes.connection
"""

EXAMPLES = r"""
- name: The registries there are
  paletteops.modes.registry_info:
    query: "[].name"
  register: found
"""

RETURN = r"""
registries:
  description: What was found, or what O(query) makes of it.
  returned: always
  type: raw
  sample:
    - {name: Public Repo, kind: pack, scope: tenant, is_default: true, is_private: false, uid: 5f6e7d8c9b0a1f2e3d4c5b6a}
"""

from ansible_collections.paletteops.modes.plugins.module_utils.info import REGISTRIES
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module

OPERATION = REGISTRIES


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
