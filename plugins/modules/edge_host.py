#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_host
short_description: Manages edge hosts in Palette
version_added: 0.1.0
description:
  - Registers the user's machines ahead, waits until they have registered by themselves, changes their names and tags,
    resets them and removes their records.
  - Hosts are known by their UID. A name will do where only one host has it.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes
  - paletteops.modes.connection
attributes:
  idempotent:
    description: All states but V(reset), which resets the host each time.
    support: partial
options:
  uid:
    description: UID of the host. Needed when it is registered ahead. This or O(name) must be named.
    type: str
  name:
    description: Name of the host. A host that is registered ahead without one has its UID as its name.
    type: str
  state:
    description:
      - V(present) registers the host ahead where the plane does not know it. Its agent pairs with this record later.
      - V(registered) makes nothing, and waits until the host has registered by itself and is healthy. In check mode it
        waits for nothing, and the host counts for later tasks as there.
      - V(reset) takes from a host that is in no cluster whatever an earlier cluster has left there. The host does it by
        itself; the management API does not say when it is done.
      - V(absent) removes the record. A host that is installed anew can register only after that. A host that is in use
        by a cluster is refused.
    type: str
    choices: [present, registered, reset, absent]
    default: present
  architecture:
    description: Processor architecture of a host that is registered ahead. It cannot be changed.
    type: str
    choices: [amd64, arm64]
  pairing_key:
    description:
      - A key that the host must show when it pairs with a record that was made ahead. It is sent when the record is
        made, never compared and never shown.
    type: str
  tags:
    description:
      - Tags as a map. A tag without a value has an empty one. Tags that are not named stay as they are.
    type: dict
  wait:
    description:
      - Whether to wait until the host is registered and healthy. With O(state=registered) the task waits in any case,
        with V(reset) and V(absent) never.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait.
    type: int
    default: 600
  wait_interval:
    description: Seconds between two looks, at most; the first come sooner. All that wait in a run share each look.
    type: int
    default: 5
  purge:
    description: Names of the options which the task owns whole. What they do not name is taken away.
    type: list
    elements: str
    choices: [tags]
    default: []
seealso:
  - module: paletteops.modes.edge_host_info
  - module: paletteops.modes.registration_token
"""

EXAMPLES = r"""
- name: A host that is to come
  paletteops.modes.edge_host:
    uid: plant-7-line-1
    project: plants
    architecture: amd64
    tags:
      plant: "7"

- name: Wait until its agent has registered it
  paletteops.modes.edge_host:
    uid: plant-7-line-1
    project: plants
    state: registered

- name: Whatever a cluster has left on it goes
  paletteops.modes.edge_host:
    uid: plant-7-line-1
    project: plants
    state: reset

- name: The record of a machine that is to be installed anew
  paletteops.modes.edge_host:
    uid: plant-7-line-1
    project: plants
    state: absent
"""

RETURN = r"""
edge_host:
  description:
    - The host as it is now, or as it would be in check mode.
    - What the host itself reports is there where the task waited, or does not change the record.
  returned: when it is to be there
  type: dict
  contains:
    uid:
      description: UID of the host.
      type: str
      sample: plant-7-line-1
    name:
      description: Name of the host.
      type: str
      sample: plant-7-line-1
    tags:
      description: Tags of the host.
      type: dict
      sample: {plant: "7"}
    architecture:
      description: Processor architecture.
      type: str
      sample: amd64
    state:
      description: V(unpaired) until the host has registered, then V(ready) or V(in-use).
      type: str
      sample: ready
    health:
      description: V(healthy) or V(unhealthy), once the host has said something.
      type: str
      sample: healthy
    message:
      description: What the host says of its health.
      type: str
      sample: ""
    agent_version:
      description: Version of its agent.
      type: str
      sample: 4.8.5
    host_type:
      description: V(agent-mode) or V(appliance).
      type: str
      sample: agent-mode
    address:
      description: Address of the host.
      type: str
      sample: 192.0.2.11
    os:
      description: Its operating system.
      type: str
      sample: debian 13
    cluster:
      description: Name and uid of the cluster that uses it, if there is one.
      type: dict
      sample: {name: plant-7, uid: 5f6e7d8c9b0a1f2e3d4c5b6a}
"""

from ansible_collections.paletteops.modes.plugins.module_utils.edge_host import EdgeHost
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module
from ansible_collections.paletteops.modes.plugins.module_utils.resource import resource_operation

OPERATION = resource_operation(EdgeHost)


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
