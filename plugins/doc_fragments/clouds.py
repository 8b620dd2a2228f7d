# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import yaml
from ansible_collections.paletteops.modes.plugins.module_utils import clouds
from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import POOL
from ansible_collections.paletteops.modes.plugins.module_utils.fields import Field, documentation


def _fragment(option: Field) -> str:
    """One option with the sub-options of all clouds, out of their tables."""
    return yaml.safe_dump({"options": documentation((option,))}, sort_keys=False)


class ModuleDocFragment:
    # The options that differ between clouds. They are written where they are defined: in the clouds' tables. The
    # annotations keep linters, which read constants only, from taking the calls for YAML.
    CLOUD_ACCOUNT: str = _fragment(
        Field(
            "credentials",
            ("What the management plane signs in with, and where. Only the fields of the account's cloud are taken.",),
            type="dict",
            fields=clouds.union("account"),
        )
    )

    CLUSTER: str = _fragment(
        Field(
            "cloud_config",
            ("Where and how the cluster is placed. Only the fields of the cluster's cloud are taken.",),
            type="dict",
            fields=clouds.union("cluster"),
        )
    )

    POOLS: str = _fragment(
        Field(
            "pools",
            (
                "Machine pools. They merge by name: a pool that is not named stays as it is, O(pools[].state=absent)"
                " takes one away. Only the fields of the cluster's cloud are taken.",
                "Needed when the cluster is made; one of them is the control plane then.",
            ),
            type="list",
            elements="dict",
            fields=POOL + clouds.union("pool"),
            key="name",
        )
    )
