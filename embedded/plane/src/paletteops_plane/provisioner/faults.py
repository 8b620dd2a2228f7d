# SPDX-License-Identifier: GPL-3.0-or-later
"""What the simulated infrastructure refuses, by the values that it is given or because a test asked for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from paletteops_plane.clouds import CLOUDS
from paletteops_plane.provisioner import Desired, Pool

#: Machines that one cluster may have.
QUOTA = 100

#: The steps at which a fault may be asked for.
STEPS = ("image", "infrastructure", "machine", "addon", "delete")


@dataclass(frozen=True)
class Fault:
    reason: str
    message: str


def of_infrastructure(desired: Desired) -> Fault | None:
    """Credentials without permission."""
    return _fault(CLOUDS[desired.cloud].account_fault(desired.account))


def of_machine(desired: Desired, pool: Pool, machines: int) -> Fault | None:
    """What keeps one more machine of a pool from being made; ``machines`` is how many the cluster has."""
    if machines >= QUOTA:
        return Fault(
            "QuotaExceeded",
            f"pool {pool.name!r}: the account allows {QUOTA} machines a cluster; make pools smaller",
        )
    return of_infrastructure(desired) or _fault(CLOUDS[desired.cloud].pool_fault(pool.config, desired.cluster_config))


def _fault(found: tuple[str, str] | None) -> Fault | None:
    return Fault(*found) if found else None


def asked_for(faults: list[dict[str, Any]], desired: Desired, step: str, pool: str = "") -> Fault | None:
    """The fault that a test asked for at this step, counted down; one that is used up leaves the list.

    ``{"kind": "infrastructure", "cluster": regex, "reason", "message", "times", "step", "pool"}``; without step (one of
    ``STEPS``) it is the next one of any kind, without pool that of any pool.
    """
    for fault in faults:
        if fault.get("kind") != "infrastructure" or not re.search(fault.get("cluster", ""), desired.name):
            continue
        if fault.get("step", step) != step or fault.get("pool", pool) != pool:
            continue
        fault["times"] = fault.get("times", 1) - 1
        if fault["times"] <= 0:
            faults.remove(fault)
        message = fault.get("message") or f"the infrastructure refused the step {step}"
        return Fault(fault.get("reason", "InfrastructureFault"), message)
    return None
