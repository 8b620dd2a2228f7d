# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded agent: brings a host into a Kubernetes cluster, and keeps it there as a management plane wants it.

One direction only: ``cli`` → ``service`` → ``central`` (the plane) and ``reconcile`` → ``journal`` and ``engine``.
``engine``, ``journal`` and ``content`` know nothing of a plane, so that a local interface can ask for the same.
"""

from __future__ import annotations

__version__ = "0.1.0"
