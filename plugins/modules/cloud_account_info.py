#!/usr/bin/python
# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_account_info
short_description: Reads cloud accounts in Palette
version_added: 0.1.0
description:
  - Reads one cloud account, or all of the scope, in the option names of M(paletteops.modes.cloud_account).
  - Secrets are never read.
author:
  - paletteops.modes contributors (@paletteops)
extends_documentation_fragment:
  - paletteops.modes.attributes.info
  - paletteops.modes.attributes.reads
  - paletteops.modes.connection
"""

EXAMPLES = r"""
- name: The accounts on AWS
  paletteops.modes.cloud_account_info:
    query: "[?cloud=='aws'].name"
  register: found
"""

RETURN = r"""
cloud_accounts:
  description: What was found, or what O(query) makes of it.
  returned: always
  type: raw
  sample:
    - {name: retail-aws, cloud: aws, credentials: {access_key: AKIAEXAMPLE}, uid: 5f6e7d8c9b0a1f2e3d4c5b6a}
"""

from ansible_collections.paletteops.modes.plugins.module_utils.info import CLOUD_ACCOUNTS
from ansible_collections.paletteops.modes.plugins.module_utils.operation import run_module

OPERATION = CLOUD_ACCOUNTS


def main() -> None:
    run_module(OPERATION)


if __name__ == "__main__":
    main()
