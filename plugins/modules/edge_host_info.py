#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_host_info
short_description: Reads edge hosts in Palette
version_added: 0.1.0
description:
  - Reads the edge hosts of a project, or those of them that are chosen, with what they report of themselves.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes.info
  - paletteops.modes.attributes.reads
  - paletteops.modes.connection
options:
  uid:
    description: UID of the host to read.
    type: str
  tags:
    description: Only hosts that have all these tags.
    type: dict
  state:
    description: Only hosts in this state.
    type: str
    choices: [ready, unpaired, in-use]
seealso:
  - module: paletteops.modes.edge_host
"""

EXAMPLES = r"""
- name: The hosts of a plant that are free
  paletteops.modes.edge_host_info:
    project: plants
    tags:
      plant: "7"
    state: ready
    query: "[?health == 'healthy'].uid"
  register: free
"""

RETURN = r"""
edge_hosts:
  description: What was found, or what O(query) makes of it.
  returned: always
  type: raw
  sample:
    - uid: plant-7-line-1
      name: plant-7-line-1
      tags: {plant: "7"}
      architecture: amd64
      state: in-use
      health: healthy
      message: null
      agent_version: 4.8.5
      host_type: agent-mode
      address: 192.0.2.11
      os: debian 13
      cluster: {name: plant-7, uid: 5f6e7d8c9b0a1f2e3d4c5b6a}
"""

from ansible_collections.paletteops.modes.plugins.module_utils.info import EDGE_HOSTS
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module

OPERATION = EDGE_HOSTS


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
