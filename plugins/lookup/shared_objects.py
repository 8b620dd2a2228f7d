# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: shared_objects
short_description: Which cluster of the play makes which shared object
version_added: 0.1.0
description:
  - Gathers the shared objects (C(palette_projects), C(palette_registration_tokens), C(palette_cloud_accounts),
    C(palette_cluster_profiles)) of all clusters of the play, and says which cluster makes which one. Each object is
    made once, by the first cluster that names it.
  - An object belongs to the project that it names, or else to the project of the cluster.
  - Fails where two clusters define the same object differently, and names both.
author:
  - paletteops.modes contributors (@paletteops)
options: {}
"""

EXAMPLES = r"""
- name: Who makes what
  ansible.builtin.debug:
    msg: "{{ query('paletteops.modes.shared_objects') }}"
  run_once: true
"""

RETURN = r"""
_raw:
  description:
    - For each cluster that makes something, its inventory name as C(cluster), and in C(shared) a list for each kind.
    - The items name an object and its C(number) in the cluster's variable. What it holds, secrets above all, is not
      there.
    - The first cluster of the play is there in any case.
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.plugin_utils.inventory import shared_objects


class LookupModule(LookupBase):
    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        known = variables or {}
        try:
            return shared_objects({host: known["hostvars"][host] for host in known["ansible_play_hosts"]})
        except PaletteError as error:
            raise AnsibleLookupError(error.message) from None
