#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_kubeconfig
short_description: Writes the kubeconfig of a cluster in Palette to a file
version_added: 0.1.0
description:
  - Writes a cluster's kubeconfig to a file that only its owner can read, in a folder that is made for its owner alone
    where it does not exist.
  - The file is written where the task runs, and at once; the content is never returned.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.connection
attributes:
  check_mode:
    description: Can run in check mode and writes nothing there.
    support: full
  diff_mode:
    description: A kubeconfig holds secrets, so there is no diff.
    support: none
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  async:
    description: Supports the keyword C(async); the ordinary module runs then.
    support: full
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
  dest:
    description: Path of the file.
    type: path
    required: true
  admin:
    description: Whether to write the administrator's kubeconfig, in place of the one for users.
    type: bool
    default: false
  state:
    description: Whether the file is to be there.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: The kubeconfig of a cluster
  paletteops.modes.cluster_kubeconfig:
    name: shop-berlin
    dest: ~/.kube/shop-berlin

- name: Its nodes
  kubernetes.core.k8s_info:
    kubeconfig: ~/.kube/shop-berlin
    kind: Node
"""

RETURN = r"""
dest:
  description: Path of the file.
  returned: always
  type: str
  sample: /home/ops/.kube/shop-berlin
"""

from ansible_collections.paletteops.modes.plugins.module_utils.cluster_access import KUBECONFIG
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module

OPERATION = KUBECONFIG


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
