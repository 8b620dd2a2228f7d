# SPDX-License-Identifier: GPL-3.0-or-later
"""Cluster definitions: what clusters are made of, as an archive for where no plane is.

A gzipped tar with one member, ``definition.json``: ``{"format": 1, "name", "cloudType", "profiles": [{"name",
"version", "type", "packs": [{"name", "layer", "type", "version", "values", "manifests"}], "variables": […]}]}``.
The vendor's archive is another one: what it holds is not public. Values of sensitive variables are left out.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any

from starlette.responses import Response

from paletteops_plane.errors import invalid
from paletteops_plane.resources import attachments
from paletteops_plane.resources.attachments import Attachment
from paletteops_plane.resources.clusters import attached_to
from paletteops_plane.resources.profiles import KIND as PROFILE
from paletteops_plane.resources.profiles import template_of
from paletteops_plane.routing import Call, operation, raw
from paletteops_plane.store import Document
from paletteops_plane.templates import CLOUDS

_GZIP = "application/octet-stream"

#: The layout of ``definition.json``.
FORMAT = 1


def archive(name: str, cloud: str, attached: list[Attachment]) -> bytes:
    """The archive of a cluster with these profiles; the same for the same content."""
    definition = {
        "format": FORMAT,
        "name": name,
        "cloudType": cloud,
        "profiles": [_profile(item) for item in attached],
    }
    text = json.dumps(definition, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("definition.json")
        member.size = len(text)
        member.mode = 0o600
        tar.addfile(member, io.BytesIO(text))
    return gzip.compress(packed.getvalue(), mtime=0)


def _profile(item: Attachment) -> dict[str, Any]:
    shown = ("name", "layer", "type", "version", "values")
    return {
        "name": item["name"],
        "version": item["version"],
        "type": item["type"],
        "packs": [
            {**{key: pack[key] for key in shown}, "manifests": [dict(manifest) for manifest in pack["manifests"]]}
            for pack in item["packs"]
        ],
        "variables": [
            {
                "name": definition["name"],
                "required": definition["required"],
                "isSensitive": definition["isSensitive"],
                "value": "" if definition["isSensitive"] else attachments.value_of(item, definition),
            }
            for definition in item["definitions"]
        ],
    }


def of_cluster(call: Call, cluster: Document) -> bytes:
    """The archive of a cluster that is there."""
    return archive(cluster.name, cluster.body["spec"]["cloudType"], attached_to(call, cluster))


@operation("GET /v1/clusterprofiles/{uid}/spc/download")
def download_profile(call: Call) -> Response:
    profile = call.find(PROFILE, call.path["uid"], "cluster profile")
    item = _attach(call, {"uid": profile.uid}, template_of(profile)["cloudType"], "uid")
    return raw(archive(profile.name, item["cloudType"], [item]), _GZIP, f"{profile.name}.tgz")


@operation("POST /v1/spectroclusters/spc/download")
def download_definition(call: Call) -> Response:
    spec = call.body.get("spec")
    if spec is None:
        raise invalid("body.spec: is needed", field="body.spec")
    cloud = spec["cloudType"]
    if cloud not in CLOUDS:
        raise invalid(
            f"body.spec.cloudType: {cloud!r} is none of {', '.join(CLOUDS)}", field="body.spec.cloudType", value=cloud
        )
    where = "body.spec.profiles"
    attached = [
        _attach(call, {"uid": sent["uid"], "packValues": sent.get("packs", [])}, cloud, f"{where}[{number}]")
        for number, sent in enumerate(spec["profiles"])
    ]
    attachments.check(attached, where)
    name = call.body.get("metadata", {}).get("name") or attached[0]["name"]
    return raw(archive(name, cloud, attached), _GZIP, f"{name}.tgz")


def _attach(call: Call, sent: dict[str, Any], cloud: str, where: str) -> Attachment:
    """A profile as a cluster would take it; values that it requires may come where the archive is used."""
    return attachments.attach(call, cloud, sent, None, where, complete=False)
