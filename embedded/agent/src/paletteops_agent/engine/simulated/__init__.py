# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine without Kubernetes: the right states and timings, faults on request, and a read-only Kubernetes API.

For hosts without root, and for a thousand agents in one interpreter. ``engine.py`` does what the seam asks,
``world.py`` is the etcd that the simulated hosts of a machine share (a file a cluster), ``api.py`` answers kubectl.

Options (the section ``simulated`` of the configuration file):

speed       all durations are divided by it; default 1
directory   where the clusters' files lie; default ``paletteops-simulated-UID`` in the folder for temporary files
address     the host's own; default: one made of its UID
api         false: no Kubernetes API is served
tls         false: it is served without TLS, so that kubectl sends no token. The certificate is made by openssl
faults      a list of {call, node, times, reason, message}: the call ("bootstrap") fails so often on nodes whose name
            begins with ``node`` (default: all). A node named ``fail-CALL-…`` fails once in that call.
"""

from __future__ import annotations

from .. import Engine, Surroundings
from .engine import SimulatedEngine


def make(surroundings: Surroundings) -> Engine:
    return SimulatedEngine(surroundings)
