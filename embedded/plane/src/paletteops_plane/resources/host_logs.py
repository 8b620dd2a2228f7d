# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of logs that hosts sent because they were asked to (see ``resources.edge_clusters``, ``content``)."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from starlette.responses import FileResponse, Response

from paletteops_plane import content
from paletteops_plane.errors import ApiError
from paletteops_plane.plane import Plane
from paletteops_plane.resources.edge_clusters import LOG_FETCHER
from paletteops_plane.routing import Call, operation, raw
from paletteops_plane.store import Document

_BINARY = "application/octet-stream"


def check_wanted(host: Document, request_id: str) -> None:
    """404 where these logs were not asked of this host, or came already."""
    if not request_id or host.body.get("_logs") != request_id:
        raise ApiError(
            "ResourceNotFound",
            f"the logs {request_id[:64]!r} are not asked of the host {host.uid!r}",
            {"uid": host.uid},
        )


def keep(plane: Plane, host: Document, request_id: str, received: Path) -> None:
    """Put the archive in its place; the host has done what it was asked."""
    check_wanted(host, request_id)
    received.replace(content.log_folder(plane, request_id) / f"{host.uid}.tar.gz")
    del host.body["_logs"]
    plane.store.save(host)
    for listener in plane.hosts_changed:
        listener({host.uid})


@operation("GET /v1/spectroclusters/features/logFetcher/{uid}/download")
def download(call: Call) -> Response:
    """A .tar.gz that holds ``HOST.tar.gz`` of each host; ``fileName`` chooses one of these."""
    request_id = call.path["uid"]
    call.find(LOG_FETCHER, request_id, "request for logs")
    files = content.log_files(call.plane, request_id)
    name = call.query.get("fileName", "")
    chosen = next((path for path in files if path.name == name), None)
    if not files or (name and chosen is None):
        names = ", ".join(path.name for path in files) or "none yet"
        raise ApiError("ResourceNotFound", f"there is no log file {name!r}: there is {names}", {"uid": request_id})
    if chosen is not None:
        return FileResponse(chosen, media_type=_BINARY, filename=chosen.name)
    whole = io.BytesIO()
    # The members are packed already.
    with tarfile.open(fileobj=whole, mode="w:gz", compresslevel=0) as archive:
        for path in files:
            archive.add(path, path.name)
    return raw(whole.getvalue(), _BINARY, f"{request_id}.tar.gz")
