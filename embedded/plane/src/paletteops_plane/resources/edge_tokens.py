# SPDX-License-Identifier: GPL-3.0-or-later
"""Registration tokens: what hosts register with. They are the tenant's.

Documents: ``edgetoken``, body as v1EdgeToken with ``spec.defaultProject`` {uid}; the token itself stands in
``spec.token``, since the API shows it again whenever it is asked for. It is found by its digest (a setting).
"""

from __future__ import annotations

import secrets
from typing import Any

from paletteops_plane.clock import parse, rfc3339
from paletteops_plane.errors import ApiError, invalid, name_taken
from paletteops_plane.host_access import digest
from paletteops_plane.metadata import fill, replace, required_name
from paletteops_plane.plane import Plane
from paletteops_plane.routing import Call, operation
from paletteops_plane.store import Document, NameTaken

Json = dict[str, Any]

KIND = "edgetoken"
_WHAT = "registration token"

#: The zero value of Go's time, which the vendor's clients send for "not set".
_NO_TIME = "0001-01-01T00:00:00"


@operation("GET /v1/edgehosts/tokens")
def list_tokens(call: Call) -> Json:
    return {"items": [_shown(call.plane, token) for token in call.plane.store.list(KIND)]}


@operation("POST /v1/edgehosts/tokens")
def create(call: Call) -> Json:
    metadata, spec = call.body.get("metadata", {}), call.body.get("spec", {})
    secret = secrets.token_urlsafe(32)
    token = Document(kind=KIND, name=required_name(metadata, _WHAT), body={"status": {"isActive": True}})
    fill(call.plane, token, metadata)
    token.body["spec"] = {"token": secret}
    _set_project(call, token, spec)
    _set_expiry(call, token, spec)
    try:
        call.plane.store.add(token)
    except NameTaken as taken:
        raise name_taken(_WHAT, token.name, taken.uid) from None
    call.plane.store.set_setting(_setting(secret), token.uid)
    return {"uid": token.uid}


@operation("GET /v1/edgehosts/tokens/{uid}")
def get(call: Call) -> Json:
    return _shown(call.plane, _token(call))


@operation("PUT /v1/edgehosts/tokens/{uid}")
def update(call: Call) -> None:
    """Name, labels, project and expiry whole, the description merged; the token itself stays."""
    token = _token(call)
    spec = call.body.get("spec", {})
    if "metadata" in call.body:
        replace(token, call.body["metadata"], _WHAT)
    _set_project(call, token, spec)
    _set_expiry(call, token, spec)
    try:
        call.plane.touch(token)
    except NameTaken as taken:
        raise name_taken(_WHAT, token.name, taken.uid) from None


@operation("PUT /v1/edgehosts/tokens/{uid}/state")
def set_state(call: Call) -> None:
    token = _token(call)
    token.body["status"]["isActive"] = call.body.get("isActive", False)
    call.plane.touch(token)


@operation("DELETE /v1/edgehosts/tokens/{uid}")
def delete(call: Call) -> None:
    """Hosts that registered with it stay registered: each has a credential of its own."""
    token = _token(call)
    call.plane.store.delete_setting(_setting(token.body["spec"]["token"]))
    call.plane.store.delete(token.uid)


def redeem(plane: Plane, secret: str) -> Document:
    """The token that a host shows; 401 where it is unknown, switched off or expired."""
    uid = plane.store.setting(_setting(secret)) if secret else None
    token = plane.store.get(KIND, uid) if uid else None
    if token is None:
        raise ApiError(
            "InvalidRegistrationToken",
            "the registration token is not one of this plane: send it in the header EdgeHostToken as it was made",
        )
    details = {"name": token.name, "uid": token.uid}
    if not token.body["status"]["isActive"]:
        raise ApiError("InactiveRegistrationToken", f"the registration token {token.name!r} is switched off", details)
    expiry = token.body["spec"].get("expiry")
    if expiry and parse(expiry) <= plane.clock.now():
        raise ApiError(
            "ExpiredRegistrationToken", f"the registration token {token.name!r} expired at {expiry}", details
        )
    return token


def project_of(token: Document) -> str:
    """The uid of the project that hosts come to by this token unless they name one; empty for none."""
    uid: str = token.body["spec"].get("defaultProject", {}).get("uid", "")
    return uid


def _setting(secret: str) -> str:
    return f"{KIND}:{digest(secret)}"


def _token(call: Call) -> Document:
    return call.find(KIND, call.path["uid"], _WHAT)


def _shown(plane: Plane, token: Document) -> Json:
    """With the name that the project has by now."""
    project = plane.store.get("project", project_of(token)) if project_of(token) else None
    spec = dict(token.body["spec"])
    spec["defaultProject"] = {"name": project.name, "uid": project.uid} if project else {}
    return {**token.body, "spec": spec}


def _set_project(call: Call, token: Document, spec: Json) -> None:
    uid = spec.get("defaultProjectUid", "")
    token.body["spec"].pop("defaultProject", None)
    if not uid:
        return
    if call.plane.store.get("project", uid) is None:
        raise invalid(
            f"body.spec.defaultProjectUid: no project {uid!r}", field="body.spec.defaultProjectUid", value=uid
        )
    token.body["spec"]["defaultProject"] = {"uid": uid}


def _set_expiry(call: Call, token: Document, spec: Json) -> None:
    """An expiry that is past already may stay, so that other things of an expired token can change."""
    text = spec.get("expiry", "")
    before = token.body["spec"].pop("expiry", None)
    if not text or text.startswith(_NO_TIME):
        return
    moment = rfc3339(parse(text))
    if moment != before and parse(text) <= call.plane.clock.now():
        raise invalid(f"body.spec.expiry: {text} is past", field="body.spec.expiry", value=text)
    token.body["spec"]["expiry"] = moment
