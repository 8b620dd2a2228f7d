#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster
short_description: Manages clusters in Palette
version_added: 0.1.0
description:
  - Makes, scales, upgrades, changes and removes Kubernetes clusters, on infrastructure that the management plane
    provides or, with O(cloud=edge-native), of the user's own hosts.
  - Only what the task names is compared and changed. Lists of named things merge by name.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes
  - paletteops.modes.attributes.state
  - paletteops.modes.connection
  - paletteops.modes.clouds.cluster
  - paletteops.modes.clouds.pools
  - paletteops.modes.waiting
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
  description:
    description: What the cluster is for.
    type: str
  tags:
    description:
      - Tags as a map. A tag without a value has an empty one. Tags that are not named stay as they are.
    type: dict
  cloud:
    description: The cloud. Needed where the cluster is to be present. It cannot be changed.
    type: str
    choices: [aws, edge-native, vsphere]
  cloud_account:
    description:
      - Name of the cloud account. Needed when the cluster is made. It cannot be changed. Clusters of the user's own
        hosts have none.
    type: str
  profiles:
    description:
      - Cluster profiles. They merge by name, O(profiles[].state=absent) detaches one.
      - Needed when the cluster is made; exactly one of them is of type V(cluster) or V(infra) then.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the profile.
        type: str
        required: true
      version:
        description:
          - Version, or a range such as V(1.2.x). A range is resolved when the profile is attached; what satisfies it is
            kept afterwards, and only O(upgrade) moves it. Without it, a new profile has the newest version.
        type: str
      variables:
        description:
          - Values of the profile's variables, as a map. Those not named stay as they are. Values of sensitive variables
            are sent when the profile is attached, never compared and never shown; see O(update_secrets).
        type: dict
      packs:
        description: What this cluster has otherwise than the profile says, by pack.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the pack in the profile.
            type: str
            required: true
          values:
            description: Values as YAML text or as a map, in place of the profile's. They are compared by meaning.
            type: raw
          manifests:
            description: Manifests in place of the profile's. They merge by name.
            type: list
            elements: dict
            suboptions:
              name:
                description: Name of the manifest.
                type: str
                required: true
              content:
                description: The manifest as YAML text or as a map. It is compared by meaning.
                type: raw
              state:
                description: Whether the manifest is to be there.
                type: str
                choices: [present, absent]
                default: present
          state:
            description: Only V(present) means something here; a profile's packs cannot be taken away from a cluster.
            type: str
            choices: [present, absent]
            default: present
      state:
        description: Whether the profile is to be attached.
        type: str
        choices: [present, absent]
        default: present
  upgrade:
    description: Whether version ranges of profiles move to the newest version that satisfies them.
    type: bool
    default: false
  approve_repave:
    description:
      - Whether to approve a repave, the replacement of all nodes which some changes need. Without it such a change
        waits for somebody to approve it, and the task says why.
    type: bool
    default: false
  update_secrets:
    description:
      - When values of sensitive variables are sent. V(on_create) sends them when the profile is attached, V(always) on
        every run, which is then reported as changed.
    type: str
    choices: [on_create, always]
    default: on_create
  wait:
    description:
      - Whether to wait until the cluster runs and is healthy, or until it is gone.
      - For many clusters it is quicker to submit all first and to wait with M(paletteops.modes.cluster_wait) then.
    type: bool
    default: false
  force_delete:
    description:
      - Whether to force a deletion that does not end. What the cluster has in the cloud may stay behind.
      - With O(wait) this happens after O(force_delete_after); without it, where the cluster is being deleted already.
    type: bool
    default: false
  force_delete_after:
    description: Seconds to wait for a deletion before it is forced. The management plane may refuse it earlier.
    type: int
    default: 1200
  purge:
    description: Names of the options which the task owns whole. What they do not name is taken away.
    type: list
    elements: str
    choices: [tags, profiles, pools, additional_labels, additional_annotations, additional_tags, subnets, hosts]
    default: []
"""

EXAMPLES = r"""
- name: A cluster on AWS
  paletteops.modes.cluster:
    name: shop-berlin
    project: retail
    cloud: aws
    cloud_account: retail-aws
    cloud_config:
      region: eu-central-1
      ssh_key_name: retail
    profiles:
      - name: base-aws
        version: 1.2.x
        variables:
          tier: gold
      - name: platform
    pools:
      - name: control-plane
        control_plane: true
        size: 3
        instance_type: m6i.large
      - name: workers
        size: 2
        max_size: 6
        instance_type: m6i.xlarge
        additional_labels:
          purpose: web
    tags:
      country: de
    wait: true

- name: A cluster on vSphere
  paletteops.modes.cluster:
    name: plant-7
    project: plants
    cloud: vsphere
    cloud_account: plant-vcenter
    cloud_config:
      datacenter: plant
      folder: clusters
      control_plane_endpoint:
        host: 192.0.2.40
        type: VIP
      ssh_keys:
        - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample ops@plant.example
    profiles:
      - {name: base-vsphere, version: 1.0.x}
    pools:
      - name: control-plane
        control_plane: true
        control_plane_as_worker: true
        size: 1
        instance_type: {num_cpus: 4, memory_mib: 8192, disk_gib: 60}
        placements:
          - {cluster: compute-1, datastore: fast, network: clusters, resource_pool: palette}

- name: A cluster of hosts of one's own
  paletteops.modes.cluster:
    name: plant-8
    project: plants
    cloud: edge-native
    cloud_config:
      vip: 192.0.2.80
      ntp_servers: [ntp.plant.example]
    profiles:
      - {name: base-edge, version: 1.0.x}
    pools:
      - name: control-plane
        control_plane: true
        hosts: [plant-8-cp-1, plant-8-cp-2, plant-8-cp-3]
      - name: workers
        host_tags:
          plant: "8"
          role: worker

- name: One host is taken out, and another comes in its place
  paletteops.modes.cluster:
    name: plant-8
    project: plants
    cloud: edge-native
    pools:
      - name: workers
        hosts:
          - plant-8-line-4
          - {host: plant-8-line-2, state: absent}

- name: More workers; everything else stays as it is
  paletteops.modes.cluster:
    name: shop-berlin
    cloud: aws
    pools:
      - {name: workers, size: 4}

- name: The newest versions in range, nodes replaced where that needs it
  paletteops.modes.cluster:
    name: shop-berlin
    cloud: aws
    profiles:
      - {name: base-aws, version: 1.x}
    upgrade: true
    approve_repave: true
    wait: true

- name: A pool that is no longer needed
  paletteops.modes.cluster:
    name: shop-berlin
    cloud: aws
    pools:
      - {name: batch, state: absent}

- name: A cluster that is no longer needed
  paletteops.modes.cluster:
    name: shop-berlin
    state: absent
    wait: true
"""

RETURN = r"""
cluster:
  description: The cluster as it is to be, in option names, without secrets.
  returned: when it is to be present
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
    description:
      description: What the cluster is for, if that was said.
      type: str
      sample: Shop in Berlin
    tags:
      description: Tags of the cluster.
      type: dict
      sample: {country: de}
    cloud:
      description: The cloud.
      type: str
      sample: aws
    cloud_account:
      description: Name of the cloud account.
      type: str
      sample: retail-aws
    cloud_config:
      description: Where and how the cluster is placed.
      type: dict
      sample: {region: eu-central-1}
    profiles:
      description: Attached profiles, with the versions that ranges were resolved to.
      type: list
      elements: dict
      sample: [{name: base-aws, version: 1.2.0}]
    pools:
      description: Machine pools.
      type: list
      elements: dict
      sample: [{name: workers, size: 2, instance_type: m6i.xlarge}]
status:
  description: State and health of the cluster.
  returned: with O(wait), when it is to be present
  type: dict
  contains:
    state:
      description: State.
      type: str
      sample: Running
    health:
      description: Health.
      type: str
      sample: Healthy
    nodes:
      description: Number of nodes there are to be.
      type: int
      sample: 5
    healthy_nodes:
      description: Number of nodes that are healthy.
      type: int
      sample: 5
repave:
  description: The repave that the change asks for.
  returned: when a change of profiles needs one
  type: dict
  contains:
    state:
      description: V(Pending) where it waits for approval, V(Approved) where this task approved it.
      type: str
      sample: Pending
    reasons:
      description: Why nodes are replaced.
      type: list
      elements: str
      sample: [The Kubernetes version changes from 1.30.6 to 1.31.4]
"""

from ansible_collections.paletteops.modes.plugins.module_utils.cluster import Cluster
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module
from ansible_collections.paletteops.modes.plugins.module_utils.resource import resource_operation

OPERATION = resource_operation(Cluster, required_if=[("state", "present", ["cloud"])])


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
