# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as the management API answers them: a status and a body ``{code, message, details, ref}`` (v1Error).

The vendor's description leaves errors out. The codes that its clients interpret, or that are publicly known
(``ResourceNotFound``, ``ProjectUidIsNotEmpty``), are theirs; the others are this plane's own, in the same style.
"""

from __future__ import annotations

from typing import Any

#: Every code that the plane answers, and its status.
CODES: dict[str, int] = {
    "InvalidRequest": 400,
    "ProjectUidIsEmpty": 400,
    "ProjectUidIsNotEmpty": 400,
    "CredentialsInvalid": 400,
    "Unauthenticated": 401,
    "ApiKeyUnknown": 401,
    "ApiKeyExpired": 401,
    "ApiKeyInactive": 401,
    "TokenInvalid": 401,
    "TokenExpired": 401,
    "LoginFailed": 401,
    "InvalidRegistrationToken": 401,
    "ExpiredRegistrationToken": 401,
    "InactiveRegistrationToken": 401,
    "UnknownEdgeHost": 401,
    "OperationForbidden": 403,
    "InvalidPairingKey": 403,
    "ResourceNotFound": 404,
    "ProjectNotFound": 404,
    "PathNotFound": 404,
    "RequestTimeout": 408,
    "ResourceAlreadyExists": 409,
    "AlreadyRegisteredEdgeHostDevice": 409,
    "EdgeHostDeviceNotRegistered": 409,
    "ResourceInUse": 409,
    "ResourceStateConflict": 409,
    "InvalidValue": 422,
    "PackVariablesUndefined": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "InjectedFault": 503,
    "NotServed": 501,
}

#: The statuses that any operation may answer beside its success, all with the body v1Error.
STATUSES: dict[int, str] = {
    400: "the request breaks the contract, or was sent in the wrong scope",
    401: "no credentials, or credentials that do not hold",
    403: "the credentials do not allow this",
    404: "no such object in this scope",
    408: "the body did not come in time",
    409: "the name is taken, or the object is in use or in a state that does not allow this",
    422: "the request keeps the contract, but a value in it cannot be",
    429: "more requests than the limit allows; the header Retry-After tells when to go on",
    501: "the plane does not serve this operation",
}


class ApiError(Exception):
    """An answer that is an error; raised anywhere in a handler, it also undoes what the handler wrote."""

    def __init__(
        self, code: str, message: str, details: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = CODES[code]
        self.message = message
        self.details = details or {}
        self.headers = headers or {}

    def body(self, ref: str) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "details": self.details, "ref": ref}


def not_found(what: str, uid: str) -> ApiError:
    return ApiError("ResourceNotFound", f"no {what} with the uid {uid!r} in this scope", {"uid": uid})


def invalid(message: str, **details: Any) -> ApiError:
    """A value that keeps the schema but cannot be (422); ``field`` and ``value`` are usual details."""
    return ApiError("InvalidValue", message, details)


def name_taken(what: str, name: str, uid: str = "") -> ApiError:
    return ApiError(
        "ResourceAlreadyExists", f"a {what} named {name!r} exists already in this scope", {"name": name, "uid": uid}
    )
