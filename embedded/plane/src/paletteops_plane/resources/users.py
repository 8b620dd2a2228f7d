# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing in, and API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from paletteops_plane.auth import by_token, create_api_key, delete_api_key, issue_token, sign_in
from paletteops_plane.clock import parse, rfc3339
from paletteops_plane.errors import ApiError, invalid, name_taken, not_found
from paletteops_plane.plane import ORGANIZATION
from paletteops_plane.routing import Call, operation, visible
from paletteops_plane.store import Document, NameTaken


@operation("POST /v1/auth/authenticate")
def authenticate(call: Call) -> dict[str, Any]:
    organization = call.body.get("org") or ORGANIZATION
    if organization.lower() != ORGANIZATION.lower():
        raise ApiError("LoginFailed", "the email address or the password is wrong")
    token = sign_in(call.plane, call.body.get("emailId", ""), call.body.get("password", ""))
    return {"Authorization": token, "isMfa": False}


@operation("GET /v1/auth/refresh/{token}")
def refresh(call: Call) -> dict[str, Any]:
    return {"Authorization": issue_token(call.plane, by_token(call.plane, call.path["token"])), "isMfa": False}


@operation("GET /v1/auth/org")
def organization(call: Call) -> dict[str, Any]:
    name = call.query.get("orgName") or ORGANIZATION
    if name.lower() != ORGANIZATION.lower():
        raise not_found("organization", name)
    return {"orgName": ORGANIZATION, "authType": "password", "totalTenants": 1}


@operation("GET /v1/auth/orgs")
def organizations(call: Call) -> dict[str, Any]:
    return {"organizations": [{"name": ORGANIZATION, "authType": "password"}]}


@operation("GET /v1/users/info")
def info(call: Call) -> dict[str, Any]:
    return {"orgName": ORGANIZATION, "tenantUid": call.plane.tenant_uid, "userUid": call.caller.uid}


@operation("GET /v1/apiKeys")
def list_keys(call: Call) -> dict[str, Any]:
    return {"items": [visible(key.body) for key in call.plane.store.list("apikey")]}


@operation("POST /v1/apiKeys")
def create_key(call: Call) -> dict[str, Any]:
    metadata, spec = call.body.get("metadata", {}), call.body.get("spec", {})
    name = metadata.get("name", "")
    if not name:
        raise invalid("body.metadata.name: an API key needs a name", field="body.metadata.name")
    # The vendor's SDK sends the tenant's uid here; both stand for the caller.
    owner_uid = spec.get("userUid") or call.caller.uid
    owner = call.plane.store.get("user", call.caller.uid if owner_uid == call.plane.tenant_uid else owner_uid)
    if owner is None:
        raise invalid(f"body.spec.userUid: no user {owner_uid!r}", field="body.spec.userUid", value=owner_uid)
    try:
        uid, key = create_api_key(call.plane, name, owner, _future(call), metadata.get("annotations"))
    except NameTaken as taken:
        raise name_taken("API key", name, taken.uid) from None
    return {"uid": uid, "apiKey": key}


@operation("GET /v1/apiKeys/{uid}")
def get_key(call: Call) -> dict[str, Any]:
    return visible(_key(call).body)


@operation("PUT /v1/apiKeys/{uid}")
def update_key(call: Call) -> None:
    key = _key(call)
    metadata = call.body.get("metadata", {})
    if metadata.get("name"):
        key.name = key.body["metadata"]["name"] = metadata["name"]
    for aspect in ("labels", "annotations"):
        if aspect in metadata:
            key.body["metadata"][aspect] = metadata[aspect]
    expiry = _future(call)
    if expiry is not None:
        key.body["spec"]["expiry"] = rfc3339(expiry)
    try:
        call.plane.touch(key)
    except NameTaken as taken:
        raise name_taken("API key", key.name, taken.uid) from None


@operation("PATCH /v1/apiKeys/{uid}", "PUT /v1/apiKeys/{uid}/state")
def set_key_state(call: Call) -> None:
    key = _key(call)
    key.body["status"]["isActive"] = call.body.get("isActive", False)
    call.plane.touch(key)


@operation("DELETE /v1/apiKeys/{uid}")
def delete_key(call: Call) -> None:
    delete_api_key(call.plane, _key(call))


def _key(call: Call) -> Document:
    return call.find("apikey", call.path["uid"], "API key")


def _future(call: Call) -> datetime | None:
    text = call.body.get("spec", {}).get("expiry")
    if text is None:
        return None
    moment = parse(text)
    if moment <= call.plane.clock.now():
        raise invalid(f"body.spec.expiry: {text} is past", field="body.spec.expiry", value=text)
    return moment
