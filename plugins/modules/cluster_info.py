#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Reads clusters in Palette
version_added: 0.1.0
description:
  - Reads one cluster, or all of the project, in the option names of M(paletteops.modes.cluster), and what state
    they are in.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes.info
  - paletteops.modes.attributes.reads
  - paletteops.modes.connection
"""

EXAMPLES = r"""
- name: Clusters that are not healthy, with what keeps them back
  paletteops.modes.cluster_info:
    query: "[?status.health != 'Healthy'].{name: name, conditions: status.conditions[?status != 'True']}"
  register: found
"""

RETURN = r"""
clusters:
  description: What was found, or what O(query) makes of it.
  returned: always
  type: raw
  sample:
    - name: shop-berlin
      cloud: aws
      uid: 5f6e7d8c9b0a1f2e3d4c5b6a
      status: {state: Running, health: Healthy, nodes: 5, healthy_nodes: 5, conditions: []}
"""

from ansible_collections.paletteops.modes.plugins.module_utils.info import CLUSTERS
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module

OPERATION = CLUSTERS


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
