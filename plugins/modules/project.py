#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project
short_description: Manages projects in Palette
version_added: 0.1.0
description:
  - Makes, changes and removes projects, the scopes of a tenant in which clusters, cluster profiles and cloud accounts
    live.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes
  - paletteops.modes.attributes.state
  - paletteops.modes.connection
options:
  name:
    description: Name of the project.
    type: str
    required: true
  description:
    description: What the project is for.
    type: str
  tags:
    description:
      - Tags as a map. A tag without a value has an empty one. Tags that are not named stay as they are.
    type: dict
  purge:
    description: Names of the options which the task owns whole. What they do not name is taken away.
    type: list
    elements: str
    choices: [tags]
    default: []
"""

EXAMPLES = r"""
- name: The project of the retail team
  paletteops.modes.project:
    name: retail
    description: Clusters of the shops
    tags:
      team: retail
      cost-center: "4711"

- name: Only these tags, no others
  paletteops.modes.project:
    name: retail
    tags:
      team: retail
    purge: [tags]

- name: A project that is no longer needed
  paletteops.modes.project:
    name: trial
    state: absent
"""

RETURN = r"""
project:
  description: The project as it is now, or as it would be in check mode.
  returned: when it is to be present
  type: dict
  contains:
    name:
      description: Name of the project.
      type: str
      sample: retail
    description:
      description: What the project is for, if that was said.
      type: str
      sample: Clusters of the shops
    tags:
      description: Tags of the project.
      type: dict
      sample: {team: retail}
    uid:
      description: Uid of the project, empty in check mode where it does not exist yet.
      type: str
      sample: 5f6e7d8c9b0a1f2e3d4c5b6a
"""

from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module
from ansible_collections.paletteops.modes.plugins.module_utils.project import Project
from ansible_collections.paletteops.modes.plugins.module_utils.resource import resource_operation

OPERATION = resource_operation(Project)


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
