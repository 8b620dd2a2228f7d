# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: variables
short_description: The palette_* variables of a host
version_added: 0.1.0
description:
  - Returns the host's C(palette_*) variables as one dictionary, for M(paletteops.modes.inventory_check) and for
    C(module_defaults).
author:
  - paletteops.modes contributors (@paletteops)
options:
  of:
    description:
      - V(all) returns all variables, by their whole names.
      - V(connection) returns those by which modules reach the management plane, by the names of the options.
    type: str
    choices: [all, connection]
    default: all
  beneath:
    description:
      - With O(of=connection), a host of the inventory, whose connection holds where this one says nothing.
      - A machine takes the connection of its cluster in this way.
    type: str
seealso:
  - module: paletteops.modes.inventory_check
"""

EXAMPLES = r"""
- name: The connection of all modules comes from the inventory, or from the environment
  hosts: palette_clusters
  gather_facts: false
  module_defaults:
    group/paletteops.modes.palette: "{{ lookup('paletteops.modes.variables', of='connection') }}"
  tasks:
    - name: Clusters as they are
      paletteops.modes.cluster_info:
"""

RETURN = r"""
_raw:
  description: The variables.
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.paletteops.modes.plugins.module_utils.modes import INTERNAL, PREFIX
from ansible_collections.paletteops.modes.plugins.module_utils.operation import CONNECTION_SPEC


class LookupModule(LookupBase):
    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        known = variables or {}
        if self.get_option("of") == "all":
            names = {name: name for name in known if name.startswith(PREFIX) and not name.startswith(INTERNAL)}
            return [{shown: self._value(name, known[name]) for name, shown in sorted(names.items())}]
        names = {PREFIX + option: option for option in CONNECTION_SPEC}
        other = self.get_option("beneath")
        beneath = known["hostvars"][other] if other else {}
        found = {shown: beneath[name] for name, shown in names.items() if name in beneath}
        return [found | {shown: self._value(name, known[name]) for name, shown in names.items() if name in known}]

    def _value(self, name: str, value: Any) -> Any:
        try:
            return self._templar.template(value)  # type: ignore[union-attr]  # a lookup that runs has one
        except Exception as error:
            raise AnsibleLookupError(f"The variable {name} cannot be read: {error}") from error
