# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as callers: each has a credential of its own, got for a registration token, that holds for its record alone.

A request of a host carries ``Authorization: EdgeHost UID:CREDENTIAL``. The credential is 256 random bits, told once;
stored is its SHA-256, in the record of the host, so that it ends with the record.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from paletteops_plane.errors import ApiError
from paletteops_plane.store import Document

if TYPE_CHECKING:
    from paletteops_plane.plane import Plane

#: The kind of the hosts' records.
KIND = "edgehost"

SCHEME = "EdgeHost"

#: The operations of the management API that are open to a host, for its own record.
HOST_OPERATIONS = frozenset(
    {
        "GET /v1/edgehosts/{uid}",
        "GET /v1/edgehosts/{uid}/config",
        "GET /v1/edgehosts/{uid}/spc/download",
        "PATCH /v1/edgehosts/{uid}/health",
        "PATCH /v1/edgehosts/{uid}/hostCheckSum",
        "PATCH /v1/edgehosts/{uid}/packs/status",
    }
)

#: Where the digest of the credential stands in a record, and whether the credential was ever shown.
DIGEST = "_credential"
USED = "_credential_used"


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def same(secret: str, stored: str | None) -> bool:
    """Whether a secret is the one that a digest was made of; never without one."""
    return bool(stored) and hmac.compare_digest(digest(secret), stored or "")


def is_host_credential(authorization: str) -> bool:
    return authorization.partition(" ")[0].lower() == SCHEME.lower()


def issue(host: Document) -> str:
    """A new credential for a host, in place of the one that it may have; the record is to be saved."""
    credential = secrets.token_urlsafe(32)
    host.body[DIGEST] = digest(credential)
    host.body[USED] = False
    return credential


def authenticate_host(plane: Plane, authorization: str) -> Document:
    """The record of the host that calls, from the header ``Authorization``; 401 ``UnknownEdgeHost``."""
    uid, _, credential = authorization.partition(" ")[2].strip().rpartition(":")
    host = plane.store.get(KIND, uid) if uid else None
    if host is None or not same(credential, host.body.get(DIGEST)):
        raise ApiError(
            "UnknownEdgeHost",
            f"no host {uid[:128]!r} is registered with this credential: delete its record if it is another one's, "
            "then register it",
            {"uid": uid[:128]},
        )
    return host


def admit_host(plane: Plane, authorization: str) -> Document:
    """As ``authenticate_host``, within a transaction: from its first use on a credential cannot be had again."""
    host = authenticate_host(plane, authorization)
    if not host.body.get(USED):
        host.body[USED] = True
        plane.store.save(host)
    return host
