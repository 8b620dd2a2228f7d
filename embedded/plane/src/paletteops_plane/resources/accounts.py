# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud accounts: the credentials by which clusters are made in a cloud.

Secrets go in and never come out. An update that leaves a secret empty keeps the one that is stored, since a client
cannot send back what it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from paletteops_plane.errors import ApiError, invalid, name_taken
from paletteops_plane.filters import filtered, ordered
from paletteops_plane.metadata import fill, replace, required_name
from paletteops_plane.paging import page
from paletteops_plane.routing import Call, operation, visible
from paletteops_plane.store import Document, NameTaken

KIND = "cloudaccount"

#: The annotation that names the private cloud gateway through which a cloud is reached.
GATEWAY = "overlordUid"

#: An access key or user that begins with this is known to the plane as one without permissions.
DENIED = "DENIED"
#: One that begins with this is refused as not valid at all.
INVALID = "INVALID"


@dataclass(frozen=True)
class AccountCloud:
    """What is particular to one cloud's accounts."""

    #: Fields that are given out as empty text where the contract requires them, and left out otherwise.
    secrets: tuple[str, ...]
    needs_gateway: bool
    #: Raises when the spec cannot be: what is missing for the credential type that it names.
    check: Callable[[dict[str, Any]], None]
    #: The field that says who signs in, for the credentials that the plane refuses.
    identity: str
    blank: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)


def _need(spec: dict[str, Any], *fields: str) -> None:
    for path in fields:
        value: Any = spec
        for part in path.split("."):
            value = value.get(part, "") if isinstance(value, dict) else ""
        if not value:
            raise invalid(f"body.spec.{path}: is needed for these credentials", field=f"body.spec.{path}")


def _check_aws(spec: dict[str, Any]) -> None:
    kind = spec.get("credentialType", "secret")
    if kind == "secret":
        _need(spec, "accessKey", "secretKey")
    elif kind == "sts":
        _need(spec, "sts.arn")
        _check_arn(spec["sts"]["arn"], "sts.arn")
    else:
        _need(spec, "podIdentity.roleArn")
        _check_arn(spec["podIdentity"]["roleArn"], "podIdentity.roleArn")
    for number, arn in enumerate(spec.get("policyARNs", [])):
        _check_arn(arn, f"policyARNs[{number}]")


def _check_arn(text: str, path: str) -> None:
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::[0-9]*[a-z]*:[A-Za-z-]+/.+", text):
        raise invalid(f"body.spec.{path}: {text!r} is no ARN of IAM", field=f"body.spec.{path}", value=text)


def _check_vsphere(spec: dict[str, Any]) -> None:
    _need(spec, "vcenterServer", "username", "password")
    if "://" in spec["vcenterServer"] or "/" in spec["vcenterServer"]:
        raise invalid(
            f"body.spec.vcenterServer: {spec['vcenterServer']!r} is no host name: leave the scheme and the path out",
            field="body.spec.vcenterServer",
            value=spec["vcenterServer"],
        )


CLOUDS: dict[str, AccountCloud] = {
    "aws": AccountCloud(
        secrets=("secretKey", "secretToken"),
        needs_gateway=False,
        check=_check_aws,
        identity="accessKey",
        defaults={"credentialType": "secret", "partition": "aws"},
    ),
    "vsphere": AccountCloud(
        secrets=("password",),
        needs_gateway=True,
        check=_check_vsphere,
        identity="username",
        blank=("password",),
    ),
}


def check_credentials(cloud: str, spec: dict[str, Any]) -> None:
    """What the cloud itself would say of these credentials; the plane has no cloud, so it goes by their look."""
    CLOUDS[cloud].check(spec)
    identity = spec.get(CLOUDS[cloud].identity, "")
    if identity.startswith(INVALID):
        raise ApiError("CredentialsInvalid", f"the {cloud} cloud refuses the credentials of {identity!r}")


def shown(document: Document) -> dict[str, Any]:
    """An account as the API shows it: without its secrets."""
    body = visible(document.body)
    cloud = CLOUDS[body["kind"]]
    spec = {key: value for key, value in body["spec"].items() if key not in cloud.secrets}
    return {**body, "spec": {**spec, **dict.fromkeys(cloud.blank, "")}}


def _routes(cloud: str) -> None:
    base = f"/v1/cloudaccounts/{cloud}"

    @operation(f"GET {base}")
    def list_accounts(call: Call) -> dict[str, Any]:
        found = [shown(document) for document in _in_scope(call) if document.body["kind"] == cloud]
        chosen, listmeta = page(ordered(filtered(found, call.query), call.query), call.query, zero_is_all=True)
        return {"items": chosen, "listmeta": listmeta}

    @operation(f"POST {base}")
    def create(call: Call) -> dict[str, Any]:
        metadata = call.body.get("metadata", {})
        document = Document(kind=KIND, name=required_name(metadata, "cloud account"), project=call.project, body={})
        document.body |= {"kind": cloud, "spec": _spec(call, cloud, {}), "status": {"state": "Active"}}
        fill(call.plane, document, metadata)
        _check_gateway(call, cloud, document)
        try:
            call.plane.store.add(document)
        except NameTaken as taken:
            raise name_taken("cloud account", document.name, taken.uid) from None
        return {"uid": document.uid}

    @operation(f"GET {base}/{{uid}}")
    def get(call: Call) -> dict[str, Any]:
        return shown(_account(call, cloud))

    @operation(f"PUT {base}/{{uid}}")
    def update(call: Call) -> None:
        document = _account(call, cloud, own=True)
        document.body["spec"] = _spec(call, cloud, document.body["spec"])
        replace(document, call.body.get("metadata", {}), "cloud account")
        _check_gateway(call, cloud, document)
        try:
            call.plane.touch(document)
        except NameTaken as taken:
            raise name_taken("cloud account", document.name, taken.uid) from None

    @operation(f"DELETE {base}/{{uid}}")
    def delete(call: Call) -> None:
        document = _account(call, cloud, own=True)
        refuse_while_used(call, document, "cloud account")
        call.plane.store.delete(document.uid)

    @operation(f"POST /v1/clouds/{cloud}/account/validate")
    def validate(call: Call) -> None:
        check_credentials(cloud, {**CLOUDS[cloud].defaults, **call.body})


for _cloud in CLOUDS:
    _routes(_cloud)


@operation("GET /v1/cloudaccounts/summary")
def summary(call: Call) -> dict[str, Any]:
    found = [
        {
            "kind": document.body["kind"],
            "metadata": document.body["metadata"],
            "specSummary": {"accountId": document.body["spec"].get(CLOUDS[document.body["kind"]].identity, "")},
            "status": document.body["status"],
        }
        for document in _in_scope(call)
    ]
    chosen, listmeta = page(ordered(filtered(found, call.query), call.query), call.query, zero_is_all=True)
    return {"items": chosen, "listmeta": listmeta}


@operation("GET /v1/dashboard/cloudaccounts/metadata")
def list_metadata(call: Call) -> dict[str, Any]:
    environment = call.query.get("environment")
    return {
        "items": [
            {"kind": document.body["kind"], "metadata": document.body["metadata"]}
            for document in _in_scope(call)
            if environment in (None, document.body["kind"])
        ]
    }


def refuse_while_used(call: Call, document: Document, what: str) -> None:
    """409 that names the users of an object which is to be deleted."""
    users = call.plane.store.users_of(document.uid)
    if users:
        names = ", ".join(f"{user.kind} {user.name!r}" for user in users[:5])
        raise ApiError(
            "ResourceInUse",
            f"the {what} {document.name!r} is used by {names}" + (" and others" if len(users) > 5 else ""),
            {"users": [{"kind": user.kind, "name": user.name, "uid": user.uid} for user in users[:50]]},
        )


def _in_scope(call: Call) -> list[Document]:
    return call.plane.store.list(KIND, projects=call.scopes)


def _account(call: Call, cloud: str, own: bool = False) -> Document:
    what = f"{cloud} cloud account"
    document = (call.find_own if own else call.find)(KIND, call.path["uid"], what)
    if document.body["kind"] != cloud:
        raise ApiError("ResourceNotFound", f"no {what} with the uid {document.uid!r} in this scope")
    return document


def _spec(call: Call, cloud: str, stored: dict[str, Any]) -> dict[str, Any]:
    """The spec that was sent, with defaults, and with the stored secrets where it leaves them empty."""
    particular = CLOUDS[cloud]
    spec = {**particular.defaults, **call.body.get("spec", {})}
    for secret in particular.secrets:
        if not spec.get(secret) and stored.get(secret):
            spec[secret] = stored[secret]
    particular.check(spec)
    return spec


def _check_gateway(call: Call, cloud: str, document: Document) -> None:
    uid = document.body["metadata"].get("annotations", {}).get(GATEWAY, "")
    where = f"body.metadata.annotations.{GATEWAY}"
    if not uid:
        if CLOUDS[cloud].needs_gateway:
            raise invalid(f"{where}: a {cloud} account needs a private cloud gateway", field=where)
    elif call.plane.store.get("overlord", uid) is None:
        raise invalid(f"{where}: no private cloud gateway with the uid {uid!r}", field=where, value=uid)
    call.plane.store.set_references(document.uid, [uid] if uid else [])
