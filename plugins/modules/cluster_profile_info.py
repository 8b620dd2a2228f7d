#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_profile_info
short_description: Reads cluster profiles in Palette
version_added: 0.1.0
description:
  - Reads versions of one cluster profile, or of all of the scope, in the option names of
    M(paletteops.modes.cluster_profile), and whether they are published and which clusters use them.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes.info
  - paletteops.modes.attributes.reads
  - paletteops.modes.connection
options:
  version:
    description: The version to read. Without it all are read.
    type: str
"""

EXAMPLES = r"""
- name: The versions of a profile
  paletteops.modes.cluster_profile_info:
    name: base-aws
    query: "[].version"
  register: found
"""

RETURN = r"""
cluster_profiles:
  description: What was found, or what O(query) makes of it.
  returned: always
  type: raw
  sample:
    - {name: base-aws, version: 1.2.0, cloud: aws, type: infra, published: true, in_use_by: [shop-berlin]}
"""

from ansible_collections.paletteops.modes.plugins.module_utils.info import CLUSTER_PROFILES
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module

OPERATION = CLUSTER_PROFILES


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
