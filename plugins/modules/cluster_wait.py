#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_wait
short_description: Waits for clusters in Palette to run and be healthy
version_added: 0.1.0
description:
  - Waits until a cluster is in state Running, its health is Healthy, and all of its nodes are healthy.
  - All that wait in a run share one look at the management plane for each interval, so many clusters are submitted
    first and waited for together.
  - Shows progress while it waits, and fails with the reason that the management plane gives.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes.reads
  - paletteops.modes.connection
  - paletteops.modes.waiting
attributes:
  check_mode:
    description: Does not wait in check mode; a cluster that nobody defines is still refused.
    support: full
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Until the cluster is ready
  paletteops.modes.cluster_wait:
    name: shop-berlin
    wait_timeout: 5400
"""

RETURN = r"""
cluster:
  description: The cluster as it was at the end.
  returned: always
  type: dict
  contains:
    name:
      description: Name of the cluster.
      type: str
      sample: shop-berlin
    uid:
      description: Uid of the cluster, empty in check mode where it does not exist yet.
      type: str
      sample: 5f6e7d8c9b0a1f2e3d4c5b6a
    state:
      description: State. Not in check mode.
      type: str
      sample: Running
    health:
      description: Health. Not in check mode.
      type: str
      sample: Healthy
    nodes:
      description: Number of nodes there are to be. Not in check mode.
      type: int
      sample: 5
    healthy_nodes:
      description: Number of nodes that are healthy. Not in check mode.
      type: int
      sample: 5
    seconds:
      description: How long it took since this run first had to do with the cluster. Not in check mode.
      type: int
      sample: 840
"""

from ansible_collections.paletteops.modes.plugins.module_utils.cluster_access import WAIT
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module

OPERATION = WAIT


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
