# SPDX-License-Identifier: GPL-3.0-or-later
"""The management API's limits: so many requests a second for each caller and resource prefix.

A caller is a source address, or a host that shows its own credential.

The figures are the public ones of the API's introduction: ten a second for a prefix (the first segment after
``/v1/``), fifty for cluster profiles and cloud configurations, a burst of five times that, then 429. What hosts
call under ``/embedded/v1/`` counts in the same way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from paletteops_plane.errors import ApiError

#: Requests a second for a resource prefix that ``RATES`` does not name.
DEFAULT_RATE = 10
#: Requests a second by resource prefix.
RATES = {"clusterprofiles": 50, "cloudconfigs": 50}
#: How many seconds' worth of requests may come at once.
BURST_FACTOR = 5

_FORGET_ABOVE = 10_000


class Limiter:
    """Token buckets, one for each caller and prefix; on monotonic time, since it protects a real machine."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def admit(self, caller: str, path: str) -> None:
        """Take one token; ``ApiError`` TooManyRequests when there is none."""
        parts = path.removeprefix("/embedded").split("/", 3)
        if len(parts) < 3 or parts[1] != "v1":
            return
        prefix = parts[2]
        rate = RATES.get(prefix, DEFAULT_RATE)
        now = self._monotonic()
        tokens, since = self._buckets.get((caller, prefix), (float(rate * BURST_FACTOR), now))
        tokens = min(float(rate * BURST_FACTOR), tokens + (now - since) * rate)
        if tokens < 1.0:
            wait = (1.0 - tokens) / rate
            self._buckets[caller, prefix] = (tokens, now)
            raise ApiError(
                "TooManyRequests",
                f"more than {rate} requests a second to /v1/{prefix} from {caller}",
                {"prefix": prefix, "limit": rate, "burst": rate * BURST_FACTOR},
                {"Retry-After": str(max(1, math.ceil(wait)))},
            )
        if len(self._buckets) > _FORGET_ABOVE:
            self._buckets.clear()
        self._buckets[caller, prefix] = (tokens - 1.0, now)
