# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.paletteops.modes.plugins.modules.edge_host_info import OPERATION
from ansible_collections.paletteops.modes.plugins.plugin_utils.action import PaletteAction


class ActionModule(PaletteAction):
    """The module paletteops.modes.edge_host_info, run in the controller's process."""

    operation = OPERATION
