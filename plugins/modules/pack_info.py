#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pack_info
short_description: Reads the pack catalogue of Palette
version_added: 0.1.0
description:
  - Reads what packs and Helm charts there are, and of a named one its versions and the default values of the newest.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes.info
  - paletteops.modes.attributes.reads
  - paletteops.modes.connection
options:
  cloud:
    description: Only packs that fit this cloud.
    type: str
    choices: [aws, edge-native, vsphere]
  registry:
    description: Name of the registry, where several hold the named pack.
    type: str
"""

EXAMPLES = r"""
- name: The versions of Kubernetes there are
  paletteops.modes.pack_info:
    name: kubernetes
    query: "[0].versions"
  register: found
"""

RETURN = r"""
packs:
  description: What was found, or what O(query) makes of it.
  returned: always
  type: raw
  sample:
    - {name: kubernetes, layer: k8s, type: spectro, clouds: [aws, vsphere], versions: [1.31.4, 1.30.8]}
"""

from ansible_collections.paletteops.modes.plugins.module_utils.info import PACKS
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module

OPERATION = PACKS


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
