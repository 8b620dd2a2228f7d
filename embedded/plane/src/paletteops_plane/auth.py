# SPDX-License-Identifier: GPL-3.0-or-later
"""Who calls: API keys, and tokens for those who sign in with a password.

A key is 256 random bits; only its SHA-256 is stored, which is enough for a value that cannot be guessed. A password
is stored as scrypt. A token is a JWT (HS256 with the plane's own secret) that holds for fifteen minutes of the
plane's clock.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt

from paletteops_plane.clock import parse, rfc3339
from paletteops_plane.errors import ApiError
from paletteops_plane.store import Document

if TYPE_CHECKING:
    from paletteops_plane.plane import Plane

TOKEN_LIFETIME = timedelta(minutes=15)

_KEY_DIGEST = "_digest"


@dataclass(frozen=True)
class User:
    """The one who calls."""

    uid: str


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def create_api_key(
    plane: Plane, name: str, user: Document, expiry: datetime | None, annotations: dict[str, str] | None = None
) -> tuple[str, str]:
    """Make a key for a user; its uid and the key itself, which is never to be read again. ``NameTaken``."""
    key = secrets.token_urlsafe(32)
    now = plane.clock.timestamp()
    metadata: dict[str, Any] = {"name": name, "creationTimestamp": now, "lastModifiedTimestamp": now}
    if annotations:
        metadata["annotations"] = annotations
    owner = user.body["spec"]
    spec: dict[str, Any] = {"user": {"uid": user.uid, "firstName": owner["firstName"], "lastName": owner["lastName"]}}
    if expiry is not None:
        spec["expiry"] = rfc3339(expiry)
    document = Document(
        kind="apikey",
        name=name,
        body={"metadata": metadata, "spec": spec, "status": {"isActive": True}, _KEY_DIGEST: _digest(key)},
    )
    metadata["uid"] = document.uid
    plane.store.add(document)
    plane.store.set_setting(f"apikey:{_digest(key)}", document.uid)
    return document.uid, key


def delete_api_key(plane: Plane, document: Document) -> None:
    plane.store.delete_setting(f"apikey:{document.body[_KEY_DIGEST]}")
    plane.store.delete(document.uid)


def by_api_key(plane: Plane, key: str) -> User:
    uid = plane.store.setting(f"apikey:{_digest(key)}")
    document = plane.store.get("apikey", uid) if uid else None
    if document is None:
        raise ApiError("ApiKeyUnknown", "the API key is not known")
    if not document.body["status"]["isActive"]:
        raise ApiError("ApiKeyInactive", "the API key is switched off", {"uid": document.uid})
    expiry = document.body["spec"].get("expiry")
    if expiry and parse(expiry) <= plane.clock.now():
        raise ApiError("ApiKeyExpired", f"the API key expired at {expiry}", {"uid": document.uid})
    return User(document.body["spec"]["user"]["uid"])


def hash_password(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{_scrypt(password, salt)}"


def _scrypt(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**13, r=8, p=1).hex()


def sign_in(plane: Plane, email: str, password: str) -> str:
    """A token for a user; the same answer whether the user or the password is wrong."""
    user = plane.store.by_name("user", email.lower())
    stored = user.body["_password"] if user else hash_password("")
    salt, digest = stored.split(":")
    if not hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)), digest) or user is None:
        raise ApiError("LoginFailed", "the email address or the password is wrong")
    return issue_token(plane, User(user.uid))


def issue_token(plane: Plane, user: User) -> str:
    now = plane.clock.now()
    claims = {"sub": user.uid, "iat": now, "exp": now + TOKEN_LIFETIME}
    return jwt.encode(claims, plane.secret("tokens"), algorithm="HS256")


def by_token(plane: Plane, token: str) -> User:
    token = token.removeprefix("Bearer ").removeprefix("bearer ").strip()
    try:
        # Expiry is checked below, on the plane's clock.
        claims = jwt.decode(
            token,
            plane.secret("tokens"),
            algorithms=["HS256"],
            options={"verify_exp": False, "verify_iat": False, "require": ["exp", "sub"]},
        )
    except jwt.InvalidTokenError:
        raise ApiError("TokenInvalid", "the token is not valid") from None
    if claims["exp"] <= plane.clock.now().timestamp():
        raise ApiError("TokenExpired", "the token has expired: sign in again")
    user = plane.store.get("user", claims["sub"])
    if user is None:
        raise ApiError("TokenInvalid", "the token's user does not exist any more")
    return User(user.uid)


def authenticate(plane: Plane, api_key: str | None, authorization: str | None) -> User:
    """The caller, from the headers ``ApiKey`` and ``Authorization``; ``ApiError`` 401."""
    if api_key:
        return by_api_key(plane, api_key)
    if authorization:
        return by_token(plane, authorization)
    raise ApiError("Unauthenticated", "send the header ApiKey, or Authorization with a token")
