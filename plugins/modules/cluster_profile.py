#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_profile
short_description: Manages cluster profiles in Palette
version_added: 0.1.0
description:
  - Makes, changes, publishes and removes versions of cluster profiles, the layers of a cluster as lists of packs.
  - Each version of a profile is an object of its own. Clusters take what is published.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes
  - paletteops.modes.attributes.state
  - paletteops.modes.connection
options:
  name:
    description: Name of the profile.
    type: str
    required: true
  version:
    description: Version of the profile, three numbers.
    type: str
    default: 1.0.0
  description:
    description: What the profile is for.
    type: str
  tags:
    description:
      - Tags as a map. A tag without a value has an empty one. Tags that are not named stay as they are.
    type: dict
  cloud:
    description:
      - The cloud for which the profile is. Needed when an infrastructure profile is made; V(all) is what add-on
        profiles have where nothing else is said. It cannot be changed.
    type: str
    choices: [aws, edge-native, vsphere, all]
  type:
    description:
      - V(cluster) has all layers of a cluster, V(infra) those of its infrastructure, V(add-on) what is laid on top.
      - A new profile is of type V(cluster) where nothing else is said. It cannot be changed.
    type: str
    choices: [cluster, infra, add-on]
  variables:
    description:
      - Variables which clusters give values to. They merge by name, O(variables[].state=absent) takes one away.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the variable, as packs use it.
        type: str
        required: true
      display_name:
        description: Name to show.
        type: str
      description:
        description: What the variable is for.
        type: str
      format:
        description: What its values look like. Where it was never named, V(string) holds.
        type: str
        choices: [string, number, boolean, ipv4, ipv4cidr, ipv6, version, base64]
      input_type:
        description: How it is asked for. Where it was never named, V(text) holds.
        type: str
        choices: [text, dropdown, multiline]
      options:
        description: The choices of a dropdown, as a whole list.
        type: list
        elements: dict
        suboptions:
          value:
            description: The value. It must be named.
            type: str
          label:
            description: What is shown for it.
            type: str
          description:
            description: What it means.
            type: str
          default:
            description: Whether it is chosen at first.
            type: bool
      default_value:
        description:
          - The value that holds where a cluster gives none. Of a sensitive variable it is sent, never compared.
        type: str
      regex:
        description: A regular expression which values match.
        type: str
      required:
        description: Whether a cluster must give a value.
        type: bool
      hidden:
        description: Whether it is left out of forms.
        type: bool
      immutable:
        description: Whether its value cannot be changed once a cluster has one.
        type: bool
      is_sensitive:
        description: Whether its values are secrets.
        type: bool
      state:
        description: Whether the variable is to be there.
        type: str
        choices: [present, absent]
        default: present
  packs:
    description:
      - The layers, as packs. They merge by name, O(packs[].state=absent) takes one away.
      - An infrastructure profile has one pack in each of the layers V(os), V(k8s), V(cni) and V(csi).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the pack or Helm chart in its registry; of a manifest layer, a name of your own.
        type: str
        required: true
      version:
        description:
          - Version, or a range such as V(1.31.x). A range is resolved when the pack is added; what satisfies it is kept
            afterwards, and only O(upgrade) moves it. Without it, a new pack has the newest version.
        type: str
      layer:
        description: The layer. The catalogue knows it; it is only checked where it is named.
        type: str
        choices: [kernel, os, k8s, cni, csi, addon]
      type:
        description:
          - V(manifest) for a layer of manifests of your own. Else the catalogue knows it.
        type: str
        choices: [spectro, helm, manifest, oci]
      registry:
        description: Name of the registry. Without it, the one that holds the pack, the default one where several do.
        type: str
      values:
        description:
          - Values as YAML text or as a map. They are compared by meaning.
          - Palette's templates, such as C({{.spectro.var.tier}}) for a variable, look like Ansible's. Mark the text
            with C(!unsafe), as in the examples.
          - Without values a new pack has the version's own, and a pack that is moved to another version takes that
            version's own unless somebody has changed them.
        type: raw
      manifests:
        description: Manifests of the layer. They merge by name, O(packs[].manifests[].state=absent) takes one away.
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
        description: Whether the pack is to be there.
        type: str
        choices: [present, absent]
        default: present
  publish:
    description: Whether the content is published, so that clusters see it.
    type: bool
    default: true
  upgrade:
    description: Whether version ranges of packs move to the newest version that satisfies them.
    type: bool
    default: false
  purge:
    description: Names of the options which the task owns whole. What they do not name is taken away.
    type: list
    elements: str
    choices: [tags, variables, packs, manifests]
    default: []
"""

EXAMPLES = r"""
- name: The infrastructure of clusters on AWS
  paletteops.modes.cluster_profile:
    name: base-aws
    version: 1.2.0
    cloud: aws
    type: cluster
    variables:
      - name: tier
        display_name: Tier
        default_value: silver
        regex: ^(gold|silver)$
    packs:
      - {name: ubuntu-aws, version: 22.04}
      - {name: kubernetes, version: 1.31.x}
      - {name: cni-calico, version: 3.30.x}
      - {name: csi-aws-ebs, version: 1.46.x}
      - name: spectro-k8s-dashboard
        values: !unsafe |
          charts:
            kubernetes-dashboard:
              app:
                settings:
                  global:
                    clusterName: shops, {{.spectro.var.tier}}

- name: What runs on all clusters
  paletteops.modes.cluster_profile:
    name: platform
    version: 1.0.0
    type: add-on
    packs:
      - name: nginx
        version: 1.13.x
        values:
          charts:
            ingress-nginx:
              controller:
                replicaCount: 2
      - name: namespaces
        type: manifest
        manifests:
          - name: shop
            content: |
              apiVersion: v1
              kind: Namespace
              metadata:
                name: shop

- name: Move every version range to its newest version
  paletteops.modes.cluster_profile:
    name: base-aws
    version: 1.2.0
    packs:
      - {name: kubernetes, version: 1.31.x}
    upgrade: true

- name: A version that is no longer needed
  paletteops.modes.cluster_profile:
    name: base-aws
    version: 1.1.0
    state: absent
"""

RETURN = r"""
cluster_profile:
  description: The version of the profile as it is now, or as it would be in check mode.
  returned: when it is to be present
  type: dict
  contains:
    name:
      description: Name of the profile.
      type: str
      sample: base-aws
    version:
      description: Version of the profile.
      type: str
      sample: 1.2.0
    uid:
      description: Uid of this version, empty in check mode where it does not exist yet.
      type: str
      sample: 5f6e7d8c9b0a1f2e3d4c5b6a
    cloud:
      description: The cloud for which it is.
      type: str
      sample: aws
    type:
      description: Type of the profile.
      type: str
      sample: infra
    description:
      description: What the profile is for, if that was said.
      type: str
      sample: Infrastructure of the shops
    tags:
      description: Tags of the profile.
      type: dict
      sample: {team: retail}
    variables:
      description: Its variables, where the task names any. Default values of sensitive ones are left out.
      type: list
      elements: dict
      sample: [{name: tier, format: string, default_value: silver}]
    packs:
      description: Its packs, with the versions that ranges were resolved to.
      type: list
      elements: dict
      sample: [{name: kubernetes, version: 1.31.4, layer: k8s, type: spectro}]
"""

from ansible_collections.paletteops.modes.plugins.module_utils.cluster_profile import ClusterProfile
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module
from ansible_collections.paletteops.modes.plugins.module_utils.resource import resource_operation

OPERATION = resource_operation(ClusterProfile)


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
