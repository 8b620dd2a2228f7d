# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hosts
short_description: What the inventory says of its hosts and their clusters
version_added: 0.1.0
description:
  - Reads which hosts (group C(palette_hosts)) the pools of which clusters (group C(palette_clusters)) name, in agent
    and appliance mode, for the roles and playbooks of this collection.
author:
  - paletteops.modes contributors (@paletteops)
options:
  of:
    description:
      - V(places) returns what each host of the inventory is to its cluster.
      - V(misplaced) returns what is wrong with hosts and clusters as the play sees them, as sentences. Clusters whose
        hosts a limit has cut off are among it.
      - V(pools) returns the pools of the cluster for which the task runs, with the UIDs of their hosts.
      - V(problems) returns why hosts of the cluster for which the task runs are not ready for it, as sentences.
      - V(stopped) returns which hosts of the play the role leaves alone, and why.
      - V(batches) returns in which order the hosts of the play are patched.
    type: str
    choices: [places, misplaced, pools, problems, stopped, batches]
    default: places
  unseen:
    description: With O(of=misplaced), whether hosts that the play does not see count.
    type: bool
    default: false
  size:
    description: With O(of=batches), how many workers of a cluster are patched at once, as a number or V(25%).
    type: str
    default: "1"
"""

EXAMPLES = r"""
- name: To which cluster each host belongs
  ansible.builtin.debug:
    msg: "{{ lookup('paletteops.modes.hosts') }}"
  run_once: true
"""

RETURN = r"""
_raw:
  description:
    - With O(of=places) or O(of=stopped) one dictionary, with an entry for each host. What a place holds is C(cluster),
      C(uid), C(pool), C(control_plane), C(mode), C(project) and C(ranges), the address ranges of the cluster's pods and
      services as far as the inventory says them. C(cluster) is null for a spare host.
    - With O(of=batches) a list of lists of hosts; else a list of sentences, or of pools.
  type: list
  elements: raw
"""

from collections.abc import Iterable
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.plugin_utils import hosts as inventory


class LookupModule(LookupBase):
    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return self._read(variables or {})
        except PaletteError as error:
            raise AnsibleLookupError(error.message) from None

    def _read(self, known: dict[str, Any]) -> list[Any]:
        def of(names: Iterable[str]) -> dict[str, Any]:
            return {name: known["hostvars"][name] for name in names}

        groups, here = known["groups"], known["inventory_hostname"]
        machines, seen = of(groups.get(inventory.HOSTS, [])), known["ansible_play_hosts_all"]
        clusters = of(groups.get(inventory.CLUSTERS, []))
        what = self.get_option("of")
        if what == "pools":
            return inventory.with_uids(known["hostvars"][here].get("palette_pools") or [], machines)
        if what == "misplaced":
            return inventory.misplaced(clusters, machines, groups["all"], seen, self.get_option("unseen"))
        if what == "problems":
            return inventory.problems(inventory.places({here: known["hostvars"][here]}, machines), here, machines)
        places = inventory.places(clusters, machines)
        if what == "stopped":
            return [inventory.stopped(places, seen, of(seen))]
        if what == "batches":
            return inventory.batches(places, seen, self.get_option("size"))
        return [places]
