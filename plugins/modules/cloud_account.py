#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_account
short_description: Manages cloud accounts in Palette
version_added: 0.1.0
description:
  - Makes, changes and removes cloud accounts, the credentials by which the management plane works in a cloud.
  - Secrets are sent when the account is made and whenever something else of it changes. They are never read back, so
    they are not compared; O(update_secrets=always) sends them on every run.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes
  - paletteops.modes.attributes.state
  - paletteops.modes.connection
  - paletteops.modes.clouds.cloud_account
options:
  name:
    description: Name of the account.
    type: str
    required: true
  cloud:
    description: The cloud. Needed where the account is to be present. It cannot be changed.
    type: str
    choices: [aws, vsphere]
  private_cloud_gateway:
    description:
      - Name of the private cloud gateway by which the management plane reaches the cloud. V(vsphere) needs one.
    type: str
  tags:
    description:
      - Tags as a map. A tag without a value has an empty one. Tags that are not named stay as they are.
    type: dict
  validate:
    description: Whether the management plane tries the credentials before it stores them.
    type: bool
    default: true
  update_secrets:
    description:
      - When secrets are sent. V(on_create) sends them with a new account and with any other change, V(always) on every
        run, which is then reported as changed.
    type: str
    choices: [on_create, always]
    default: on_create
  purge:
    description: Names of the options which the task owns whole. What they do not name is taken away.
    type: list
    elements: str
    choices: [tags]
    default: []
"""

EXAMPLES = r"""
- name: An account for AWS, by access key
  paletteops.modes.cloud_account:
    name: retail-aws
    cloud: aws
    credentials:
      access_key: "{{ vault_aws_access_key }}"
      secret_key: "{{ vault_aws_secret_key }}"

- name: An account for AWS, by a role to assume
  paletteops.modes.cloud_account:
    name: retail-aws
    cloud: aws
    credentials:
      credential_type: sts
      sts:
        arn: arn:aws:iam::123456789012:role/palette
        external_id: "{{ vault_aws_external_id }}"

- name: An account for vSphere, behind a private cloud gateway
  paletteops.modes.cloud_account:
    name: plant-vcenter
    cloud: vsphere
    private_cloud_gateway: plant-gateway
    credentials:
      vcenter_server: vcenter.plant.example
      username: palette@plant.example
      password: "{{ vault_vcenter_password }}"

- name: The password has changed
  paletteops.modes.cloud_account:
    name: plant-vcenter
    cloud: vsphere
    credentials:
      password: "{{ vault_vcenter_password }}"
    update_secrets: always

- name: An account that is no longer needed
  paletteops.modes.cloud_account:
    name: retail-aws
    state: absent
"""

RETURN = r"""
cloud_account:
  description: The account as it is now, or as it would be in check mode, without secrets.
  returned: when it is to be present
  type: dict
  contains:
    name:
      description: Name of the account.
      type: str
      sample: retail-aws
    uid:
      description: Uid of the account, empty in check mode where it does not exist yet.
      type: str
      sample: 5f6e7d8c9b0a1f2e3d4c5b6a
    cloud:
      description: The cloud.
      type: str
      sample: aws
    credentials:
      description: The fields of the credentials that are not secret.
      type: dict
      sample: {credential_type: secret, access_key: AKIAEXAMPLE, partition: aws, policy_arns: []}
    private_cloud_gateway:
      description: Name of the private cloud gateway, where there is one.
      type: str
      sample: plant-gateway
    tags:
      description: Tags of the account.
      type: dict
      sample: {team: retail}
"""

from ansible_collections.paletteops.modes.plugins.module_utils.cloud_account import CloudAccount
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module
from ansible_collections.paletteops.modes.plugins.module_utils.resource import resource_operation

OPERATION = resource_operation(CloudAccount, required_if=[("state", "present", ["cloud"])])


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
