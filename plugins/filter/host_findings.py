# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.paletteops.modes.plugins.plugin_utils.hosts import judge

DOCUMENTATION = r"""
name: host_findings
short_description: What keeps a host from taking an agent
version_added: 0.1.0
description:
  - Judges what the role P(paletteops.modes.agent#role) has read of a host.
author:
  - paletteops.modes contributors (@paletteops)
options:
  _input:
    description: What was read; empty where the host could not be reached.
    type: dict
    required: true
  wants:
    description: What the role asks of a host.
    type: dict
    required: true
positional: wants
"""

EXAMPLES = r"""
- name: Whether the host can take an agent
  ansible.builtin.debug:
    msg: "{{ palette__facts | paletteops.modes.host_findings(palette__wants) }}"
"""

RETURN = r"""
_value:
  description: The findings, each with the name of its check as C(check) and sentences with the way out as C(finding).
  type: list
  elements: dict
"""


def host_findings(facts: dict[str, Any], wants: dict[str, Any]) -> list[dict[str, str]]:
    return judge(facts or None, wants)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"host_findings": host_findings}
