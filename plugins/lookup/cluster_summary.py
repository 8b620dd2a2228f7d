# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster_summary
short_description: How the clusters of the play ended
version_added: 0.1.0
description:
  - Makes a table of what the roles of this collection did in the play, a line for each cluster, those that failed
    included. Beneath it stands what is wrong with each that failed.
  - Is empty while clusters are still to come with C(serial) and none has failed.
author:
  - paletteops.modes contributors (@paletteops)
options: {}
"""

EXAMPLES = r"""
- name: Summary
  ansible.builtin.debug:
    msg: "{{ query('paletteops.modes.cluster_summary') }}"
  run_once: true
"""

RETURN = r"""
_raw:
  description: The lines of the table.
  type: list
  elements: str
"""

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.paletteops.modes.plugins.plugin_utils.inventory import summary


class LookupModule(LookupBase):
    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        known = variables or {}
        clusters = {host: known["hostvars"][host] for host in known["ansible_play_hosts_all"]}
        return summary(clusters, known["ansible_play_hosts"], bool(known["ansible_check_mode"]))
