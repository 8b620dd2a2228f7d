# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Options of modules that wait for clusters.
    DOCUMENTATION = r"""
options:
  wait_timeout:
    description:
      - Seconds to wait. For a cluster to become ready they count from when this run first submitted it, so clusters
        that are waited for one after the other do not add up.
      - At the end the task fails and says what keeps the cluster back; the cluster itself goes on.
    type: int
    default: 3600
  unhealthy_timeout:
    description:
      - Seconds for which a cluster may be unhealthy with no change before the wait for it is given up, V(0) for as long
        as O(wait_timeout). So a cluster that cannot come about does not hold up those that are waited for with it.
    type: int
    default: 600
  wait_interval:
    description: Seconds between two looks. All that wait in a run share each look.
    type: int
    default: 10
"""
