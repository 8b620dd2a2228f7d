# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata of objects, as the vendor's clients count on it.

Labels are sent whole with each update: what is not sent is gone (a client's language leaves an empty map out).
Annotations are merged: clients send the one that they mean (``description``), and others must survive.
"""

from __future__ import annotations

from typing import Any

from paletteops_plane.errors import invalid
from paletteops_plane.plane import Plane
from paletteops_plane.store import Document

#: Characters of a name; the description has no limit, and this keeps names in lists readable.
LONGEST_NAME = 255


def scoped(project: str, annotations: dict[str, str] | None = None) -> dict[str, str]:
    """Annotations with the scope by which clients tell a project's object from the tenant's."""
    return {**(annotations or {}), "scope": "project" if project else "tenant"}


def required_name(metadata: dict[str, Any], what: str) -> str:
    name: str = metadata.get("name", "").strip()
    if not name:
        raise invalid(f"body.metadata.name: a {what} needs a name", field="body.metadata.name")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise invalid(
            f"body.metadata.name: the name of a {what} has at most {LONGEST_NAME} characters, all of them printable",
            field="body.metadata.name",
            value=name[:LONGEST_NAME],
        )
    return name


def fill(plane: Plane, document: Document, sent: dict[str, Any]) -> None:
    """Give a new document its metadata from what was sent; its name must be set."""
    annotations = scoped(document.project, sent.get("annotations"))
    document.body["metadata"] = plane.new_metadata(document.name, document.uid, sent.get("labels"), annotations)


def replace(document: Document, sent: dict[str, Any], what: str) -> None:
    """Change name, labels and annotations to what an update sent."""
    metadata = document.body["metadata"]
    document.name = metadata["name"] = required_name({"name": document.name, **sent}, what)
    metadata.pop("labels", None)
    if sent.get("labels"):
        metadata["labels"] = sent["labels"]
    merge_annotations(document, sent)


def merge_annotations(document: Document, sent: dict[str, Any]) -> None:
    annotations = {**document.body["metadata"].get("annotations", {}), **sent.get("annotations", {})}
    if document.kind != "project":
        annotations = scoped(document.project, annotations)
    if annotations:
        document.body["metadata"]["annotations"] = annotations
