# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects: the tenant's scopes."""

from __future__ import annotations

from typing import Any

from paletteops_plane.errors import ApiError, name_taken
from paletteops_plane.metadata import replace, required_name
from paletteops_plane.paging import page
from paletteops_plane.routing import Call, operation, visible
from paletteops_plane.store import Document, NameTaken

KIND = "project"

#: Kinds whose objects keep a project from being deleted.
_CONTENT = ("cluster", "clusterprofile", "cloudaccount", "edgehost")


@operation("POST /v1/projects")
def create(call: Call) -> dict[str, Any]:
    metadata, spec = call.body.get("metadata", {}), call.body.get("spec", {})
    document = Document(kind=KIND, name=required_name(metadata, "project"), body={})
    document.body = {
        "metadata": call.plane.new_metadata(
            document.name, document.uid, metadata.get("labels"), metadata.get("annotations")
        ),
        "spec": {"logoUrl": "", "teams": spec.get("teams", []), "users": spec.get("users", [])},
        "status": {"isDisabled": False},
    }
    try:
        call.plane.store.add(document)
    except NameTaken as taken:
        raise name_taken("project", document.name, taken.uid) from None
    return {"uid": document.uid}


@operation("GET /v1/projects/{uid}")
def get(call: Call) -> dict[str, Any]:
    return visible(_project(call).body)


@operation("PUT /v1/projects/{uid}")
def update(call: Call) -> None:
    document = _project(call)
    metadata, spec = call.body.get("metadata", {}), call.body.get("spec", {})
    for part in ("teams", "users"):
        if part in spec:
            document.body["spec"][part] = spec[part]
    _replace_metadata(call, document, metadata)


@operation("PUT /v1/projects/{uid}/meta")
def update_metadata(call: Call) -> None:
    _replace_metadata(call, _project(call), call.body)


@operation("DELETE /v1/projects/{uid}")
def delete(call: Call) -> None:
    document = _project(call)
    held = {kind: call.plane.store.count(kind, document.uid) for kind in _CONTENT}
    if any(held.values()):
        text = ", ".join(f"{number} of kind {kind}" for kind, number in held.items() if number)
        raise ApiError("ResourceInUse", f"the project {document.name!r} still holds {text}", {"holds": held})
    for gone in call.plane.store.list("cluster", projects=[document.uid]):
        call.plane.store.delete(gone.uid)  # a deleted cluster that is still shown
    call.plane.store.delete(document.uid)


@operation("DELETE /v1/projects/{uid}/validate")
def validate_delete(call: Call) -> dict[str, Any]:
    document = _project(call)
    clusters = [
        {
            "clusterRef": {"name": cluster.name, "uid": cluster.uid},
            "state": cluster.body.get("status", {}).get("state", ""),
        }
        for cluster in call.plane.store.list("cluster", projects=[document.uid])
        if cluster.holds_name
    ]
    return {"clusters": {"clusters": clusters, "count": len(clusters)}}


@operation("GET /v1/dashboard/projects/metadata")
def list_metadata(call: Call) -> dict[str, Any]:
    projects = call.plane.store.list(KIND, name=call.query.get("name"))
    return {"items": [{"metadata": {"name": project.name, "uid": project.uid}} for project in projects]}


@operation("POST /v1/dashboard/projects")
def search(call: Call) -> dict[str, Any]:
    wanted = call.body.get("filter", {}).get("name")
    projects = [p for p in call.plane.store.list(KIND) if wanted is None or matches(p.name, wanted)]
    sort_documents(projects, call.body.get("sort", []))
    chosen, listmeta = page(projects, call.query)
    return {
        "items": [
            {
                "metadata": project.body["metadata"],
                "specSummary": {"logoUrl": "", "teams": [], "users": []},
                "status": {"status": project.body["status"]},
            }
            for project in chosen
        ],
        "listmeta": listmeta,
    }


def matches(text: str, wanted: dict[str, Any]) -> bool:
    """Does a text satisfy a v1FilterString: every condition that it names."""

    def fold(value: str) -> str:
        return value.casefold() if wanted.get("ignoreCase", True) else value

    text = fold(text)
    return (
        (wanted.get("eq") is None or text == fold(wanted["eq"]))
        and (wanted.get("ne") is None or text != fold(wanted["ne"]))
        and (wanted.get("contains") is None or fold(wanted["contains"]) in text)
        and (wanted.get("beginsWith") is None or text.startswith(fold(wanted["beginsWith"])))
    )


def sort_documents(documents: list[Document], order: list[dict[str, Any]]) -> None:
    """Sort by fields of the metadata, the first named being the most significant."""
    for key in reversed(order):
        name = key.get("field", "name")
        documents.sort(key=lambda d: str(d.body["metadata"].get(name, "")), reverse=key.get("order") == "desc")


def _project(call: Call) -> Document:
    return call.find(KIND, call.path["uid"], "project")


def _replace_metadata(call: Call, document: Document, sent: dict[str, Any]) -> None:
    replace(document, sent, "project")
    try:
        call.plane.touch(document)
    except NameTaken as taken:
        raise name_taken("project", document.name, taken.uid) from None
