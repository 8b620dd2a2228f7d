# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfigs, and the tokens in them.

A token is derived from a secret of the data file, the cluster and the user: it stays the same for as long as the
cluster lives, and is stored nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import yaml

from paletteops_plane.plane import Plane
from paletteops_plane.routing import Call
from paletteops_plane.store import Document

#: Where the Kubernetes APIs of the clusters are served, each under its cluster's uid.
PREFIX = "/embedded/kubernetes"

ADMIN, CLIENT = "admin", "client"


def kubeconfig(call: Call, cluster: Document, admin: bool) -> str:
    """The kubeconfig of a cluster as YAML; its server is the plane, by the address at which the caller reached it."""
    user = f"{cluster.name}-{ADMIN if admin else CLIENT}"
    server = {"server": f"{call.base_url}{PREFIX}/{cluster.uid}"}
    authority = call.plane.settings.ca_file
    if authority is not None and call.base_url.startswith("https:"):
        server["certificate-authority-data"] = base64.b64encode(authority.read_bytes()).decode()
    context = f"{user}@{cluster.name}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster.name, "cluster": server}],
        "users": [{"name": user, "user": {"token": token(call.plane, cluster.uid, ADMIN if admin else CLIENT)}}],
        "contexts": [{"name": context, "context": {"cluster": cluster.name, "user": user}}],
        "current-context": context,
        "preferences": {},
    }
    text: str = yaml.safe_dump(content, sort_keys=False)
    return text


def token(plane: Plane, cluster_uid: str, user: str) -> str:
    """The bearer token of a user of a cluster."""
    digest = hmac.new(plane.secret("kubernetes"), f"{cluster_uid}:{user}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def token_holds(plane: Plane, cluster_uid: str, sent: str) -> bool:
    """Whether a token is one of this cluster's."""
    known = (token(plane, cluster_uid, user) for user in (ADMIN, CLIENT))
    return any(hmac.compare_digest(sent.encode(), one.encode()) for one in known)
