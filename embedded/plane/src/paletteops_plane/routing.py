# SPDX-License-Identifier: GPL-3.0-or-later
"""How a handler is bound to an operation of the contract, and what it is given.

    @operation("GET /v1/projects/{uid}")
    def get_project(call: Call) -> dict:
        return visible(project_of(call).body)

The contract says everything else: which parameters and body are accepted, which status and body are answered.
Handlers are plain functions, run one at a time, each in one transaction; they never wait.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from paletteops_plane.auth import User
from paletteops_plane.contract import CONTRACT, Operation
from paletteops_plane.errors import ApiError, not_found
from paletteops_plane.plane import Plane
from paletteops_plane.store import Document

Handler = Callable[["Call"], Any]

#: Handlers by the name of their operation.
HANDLERS: dict[str, Handler] = {}


def operation(*names: str) -> Callable[[Handler], Handler]:
    """Bind a handler to operations ``"METHOD /path"`` of the contract; ``LookupError`` for one that it lacks."""

    def bind(handler: Handler) -> Handler:
        for name in names:
            if name not in CONTRACT.operations:
                raise LookupError(f"{name} is not among the served operations (contract/served.py)")
            if name in HANDLERS:
                raise LookupError(f"{name} has a handler already")
            HANDLERS[name] = handler
        return handler

    return bind


@dataclass
class Call:
    """One request, checked against the contract."""

    plane: Plane
    operation: Operation
    #: None for operations that need no credentials, and where a host calls.
    user: User | None
    #: The uid of the project, or empty for the tenant.
    project: str
    path: dict[str, str]
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    #: Scheme, host and port by which the caller reached the plane.
    base_url: str = ""
    #: The headers as they came; names without regard to case.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The host that calls with a credential of its own; the project is that of its record then.
    host: Document | None = None

    @property
    def scopes(self) -> tuple[str, ...]:
        """Where objects may be read from: the project and the tenant, or the tenant alone."""
        return (self.project, "") if self.project else ("",)

    @property
    def caller(self) -> User:
        if self.user is None:
            raise ApiError("Unauthenticated", "this needs credentials")
        return self.user

    def find(self, kind: str, uid: str, what: str) -> Document:
        """A document of a kind in the scope of this call, to read: the project's or the tenant's.

        404 when there is none, also when it is another project's.
        """
        document = self.plane.store.get(kind, uid)
        if document is None or document.project not in self.scopes:
            raise not_found(what, uid)
        return document

    def find_own(self, kind: str, uid: str, what: str) -> Document:
        """A document to change: as ``find``, and 403 when it is the tenant's and the call is a project's."""
        document = self.find(kind, uid, what)
        if document.project != self.project:
            raise ApiError(
                "OperationForbidden",
                f"the {what} {document.name!r} belongs to the tenant: change it without the header ProjectUid",
                {"uid": uid},
            )
        return document


def visible(body: dict[str, Any]) -> dict[str, Any]:
    """A stored body as the API shows it: without the keys of the plane's own (they start with an underscore)."""
    return {key: value for key, value in body.items() if not key.startswith("_")}


def raw(content: str | bytes, media_type: str, file_name: str = "") -> Response:
    """An answer that is a file."""
    headers = {"Content-Disposition": _attachment(file_name)} if file_name else {}
    return Response(content, media_type=media_type, headers=headers)


def _attachment(file_name: str) -> str:
    """A file name as a header may hold it (RFC 6266), since names of objects are free text."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", file_name)
    full = "" if plain == file_name else f"; filename*=UTF-8''{quote(file_name, safe='')}"
    return f'attachment; filename="{plain}"{full}'
