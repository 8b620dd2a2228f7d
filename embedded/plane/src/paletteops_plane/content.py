# SPDX-License-Identifier: GPL-3.0-or-later
"""Files to and from hosts: the content bundles of a folder, and archives of logs.

A bundle is a file ``PACK-VERSION-ARCHITECTURE.tar.zst``; the plane does not look into it, since hosts check its
signature themselves. Archives of logs lie beside the data file, in ``DATA.logs/REQUEST/HOST.tar.gz``.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import FileResponse

from paletteops_plane.errors import ApiError

if TYPE_CHECKING:
    from paletteops_plane.plane import Plane

_NAME = re.compile(r"(?P<pack>.+)-(?P<version>v?\d+\.\d+[^/]*?)-(?P<architecture>amd64|arm64)\.tar\.zst")

#: Bytes that are read at once: a bundle has hundreds of megabytes.
_CHUNK = 1024 * 1024

_LOGS = ".tar.gz"

#: Requests whose archives are kept; older ones go when another one comes.
MOST_LOG_REQUESTS = 20


@dataclass(frozen=True)
class Bundle:
    pack: str
    version: str
    architecture: str


def bundles(folder: Path | None) -> dict[Bundle, Path]:
    """The bundles that are there now, by what is in them; nothing without a folder."""
    found = {}
    for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else ():
        name = _NAME.fullmatch(path.name)
        if name and path.is_file():
            found[Bundle(**name.groupdict())] = path
    return found


class BundleResponse(FileResponse):
    """A bundle, whole or in part (``Range``, ``If-Range``), with an ``ETag``."""

    chunk_size = _CHUNK


def bundle_response(folder: Path | None, wanted: Bundle) -> BundleResponse:
    """The answer that is this bundle; 404 that tells what there is."""
    there = bundles(folder)
    path = there.get(wanted)
    if path is None:
        names = ", ".join(f"{item.pack} {item.version} {item.architecture}" for item in there)
        way_out = f"there is {names}" if names else "there is none: start the plane with --content FOLDER"
        raise ApiError(
            "ResourceNotFound",
            f"no content bundle {wanted.pack} {wanted.version} {wanted.architecture}: {way_out}",
            {"available": [asdict(item) for item in there]},
        )
    return BundleResponse(path, media_type="application/zstd", filename=path.name)


# Logs


def log_folder(plane: Plane, request_id: str) -> Path:
    return plane.settings.data.with_name(plane.settings.data.name + ".logs") / request_id


def log_files(plane: Plane, request_id: str) -> list[Path]:
    """The archives that hosts sent for a request, one for each host that has answered."""
    folder = log_folder(plane, request_id)
    return sorted(folder.glob(f"*{_LOGS}")) if folder.is_dir() else []


def log_hosts(plane: Plane, request_id: str) -> set[str]:
    """The UIDs of the hosts that have sent their archive."""
    return {path.name.removesuffix(_LOGS) for path in log_files(plane, request_id)}


def prepare_log_folder(plane: Plane, request_id: str) -> Path:
    """Make the folder for a request, and room by removing the oldest ones."""
    folder = log_folder(plane, request_id)
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
        os.chmod(folder.parent, 0o700)
        others = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in others[:-MOST_LOG_REQUESTS]:
            shutil.rmtree(old, ignore_errors=True)
    return folder
