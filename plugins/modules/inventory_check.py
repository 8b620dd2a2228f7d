#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_check
short_description: Checks whether inventory variables fit the mode
version_added: 0.1.0
description:
  - Checks the C(palette_*) variables of one cluster, or of one host of a cluster, against the table of deployment modes
    and against the options that they become. It finds variables that do not exist, misspelt keys, values of a wrong
    type, what a mode or a cloud does not allow, and what is missing.
  - All findings are reported at once, each with the rule and the way out. The values of what may be secret are never
    shown or returned.
  - Calls nothing. The playbooks of this collection run it first, on all clusters of the play.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes.reads
attributes:
  check_mode:
    description: Does the same in check mode.
    support: full
options:
  name:
    description: Name of the cluster, to be checked as well. It says nothing of a host.
    type: str
  kind:
    description:
      - Whose variables they are. A host needs none, and may have inherited those of its clusters.
    type: str
    choices: [cluster, host]
    default: cluster
  variables:
    description:
      - The cluster's variables by their whole names. Those that do not begin with C(palette_) do not count.
      - The lookup P(paletteops.modes.variables#lookup) gathers them.
    type: dict
    required: true
seealso:
  - plugin: paletteops.modes.variables
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: The inventory before anything is touched
  hosts: palette_clusters
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - name: Check the variables of each cluster
      paletteops.modes.inventory_check:
        name: "{{ palette_name | default(inventory_hostname) }}"
        variables: "{{ lookup('paletteops.modes.variables') }}"
"""

RETURN = r"""
findings:
  description: What is wrong.
  returned: when it fails
  type: list
  elements: dict
  contains:
    variable:
      description: Name of the variable.
      type: str
      sample: palette_trusted_boot
    value:
      description: Its value, where it is a single one that cannot be secret.
      type: raw
      sample: true
    rule:
      description: The rule that it breaks.
      type: str
      sample: palette_trusted_boot is 'True', and agent mode has no Trusted Boot.
    way_out:
      description: What would allow it.
      type: str
      sample: Take it out, or set palette_mode to appliance.
"""

from ansible_collections.paletteops.modes.plugins.module_utils.modes import INVENTORY_CHECK
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module

OPERATION = INVENTORY_CHECK


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
