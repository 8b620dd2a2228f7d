# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # For modules that bring an object to a state.
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in check mode, sends no writes there, and returns what the run would do.
    support: full
  diff_mode:
    description: Returns what changes, in option names and without secrets.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  async:
    description: Supports the keyword C(async); the ordinary module runs then.
    support: full
options: {}
"""

    # For modules that change nothing; each says by itself what it does in check mode.
    READS = r"""
attributes:
  diff_mode:
    description: Changes nothing, so there is no diff.
    support: N/A
  idempotent:
    description: Changes nothing.
    support: N/A
  async:
    description: Supports the keyword C(async); the ordinary module runs then.
    support: full
options: {}
"""

    # For modules that only read.
    INFO = r"""
attributes:
  check_mode:
    description: Reads the same in check mode.
    support: full
options:
  name:
    description: Name of the one to read. Without it all are read.
    type: str
  query:
    description:
      - A JMESPath expression that shapes the list which is returned. It needs the Python library jmespath.
    type: str
"""

    STATE = r"""
options:
  state:
    description: Whether the object is to be there.
    type: str
    choices: [present, absent]
    default: present
"""
