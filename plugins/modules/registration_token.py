#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registration_token
short_description: Manages and reads registration tokens in Palette
version_added: 0.1.0
description:
  - Makes, changes and removes the tokens that edge hosts show when they register, and reads the secret value of one.
  - A task that names nothing but O(name) only reads. It returns the secret value as RV(token), and its result is
    hidden from the output of Ansible. It fails where there is no such token.
  - Tokens live in the tenant, whatever O(project) says.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes
  - paletteops.modes.attributes.state
  - paletteops.modes.connection
options:
  name:
    description: Name of the token.
    type: str
    required: true
  description:
    description: What the token is for.
    type: str
  expires_at:
    description:
      - When the token ends, as V(2027-03-31) or V(2027-03-31T18:00:00Z), in UTC where no zone is named. It is compared.
      - This or O(expires_in) is needed when the token is made.
    type: str
  expires_in:
    description:
      - How long the token lasts, as V(90d), V(12h), V(30m) or a number of seconds, counted from its creation.
      - It counts anew only when the token has expired or expires within O(renew_before). The secret value stays.
    type: str
  renew_before:
    description: How long before its end a token with O(expires_in) is renewed. Without it, once it has expired.
    type: str
  default_project:
    description: Name of the project in which hosts register that name none.
    type: str
  active:
    description: Whether hosts can register with the token. A new one is active.
    type: bool
"""

EXAMPLES = r"""
- name: A token for the hosts of the plants, renewed a week before it ends
  paletteops.modes.registration_token:
    name: plants
    default_project: plants
    expires_in: 90d
    renew_before: 7d

- name: Its secret value
  paletteops.modes.registration_token:
    name: plants
  register: plants
  no_log: true

- name: A token that no host can use for now
  paletteops.modes.registration_token:
    name: plants
    active: false

- name: A token that is no longer needed
  paletteops.modes.registration_token:
    name: trial
    state: absent
"""

RETURN = r"""
registration_token:
  description: The token as it is now, or as it would be in check mode, without its secret value.
  returned: when it is to be present
  type: dict
  contains:
    name:
      description: Name of the token.
      type: str
      sample: plants
    description:
      description: What the token is for, if that was said.
      type: str
      sample: Hosts of the plants
    expires_at:
      description: When the token ends, in UTC.
      type: str
      sample: "2027-03-31T18:00:00Z"
    default_project:
      description: Name of the project in which hosts register that name none.
      type: str
      sample: plants
    active:
      description: Whether hosts can register with it.
      type: bool
      sample: true
    uid:
      description: Uid of the token, empty in check mode where it does not exist yet.
      type: str
      sample: 5f6e7d8c9b0a1f2e3d4c5b6a
token:
  description: The secret value. It is empty in check mode where the token does not exist yet.
  returned: where the task only reads
  type: str
  sample: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER
"""

from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module
from ansible_collections.paletteops.modes.plugins.module_utils.registration_token import RegistrationToken
from ansible_collections.paletteops.modes.plugins.module_utils.resource import resource_operation

OPERATION = resource_operation(RegistrationToken, returns_secrets=("token",))


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
