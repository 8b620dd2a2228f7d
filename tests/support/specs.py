# SPDX-License-Identifier: GPL-3.0-or-later
"""What the integration tests know of each resource, as data.

For each subject (a resource, on one cloud where clouds differ): a specification that names every option, another value
for each option that describes the object, and why an option is not compared. A test holds these tables against the
modules' argument specs, so that no option is forgotten.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from support.runs import Api, Step, Values, vary


@dataclasses.dataclass(frozen=True)
class Change:
    """Another value for an option.

    option  path as in the argument spec: ``pools[].size``
    at      where in the base specification: ``pools.workers.size``
    value   the other value
    also    what must change with it, by path in the base
    """

    option: str
    at: str
    value: Any
    also: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.at

    def of(self, base: Mapping[str, Any]) -> Values:
        spec = vary(base, self.at, self.value)
        for at, value in self.also.items():
            spec = vary(spec, at, value)
        return spec


class Why(enum.Enum):
    """Why an option is not compared, or not by a change of its value."""

    IDENTITY = "it says which object or item is meant"
    BEHAVIOUR = "it says what the task does, not what the object is"
    SECRET = "the plane never hands it out"
    IMMUTABLE = "it cannot be changed, and an attempt is refused"
    KNOWN = "the catalogue says it; the option is only checked"


@dataclasses.dataclass(frozen=True)
class NotCompared:
    """A row of the table of what is not compared.

    at     where in the base specification, when the value is to be changed in the test
    other  another value: with SECRET and BEHAVIOUR nothing may change with it, with IMMUTABLE it must be refused
    note   what the reason is in this case, beyond ``why``
    """

    why: Why
    at: str = ""
    other: Any = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A resource, on one cloud where clouds differ."""

    label: str
    module: str
    base: Values
    changes: tuple[Change, ...]
    not_compared: Mapping[str, NotCompared]
    snapshot: Callable[[Api, str], Any]
    cloud: str = ""
    prepare: tuple[Step, ...] = ()
    tenant: bool = False

    def __str__(self) -> str:
        return self.label

    def named(self, name: str, spec: Mapping[str, Any] | None = None) -> Values:
        return {**(self.base if spec is None else spec), "name": name}

    def absent(self, name: str) -> Values:
        version = {"version": self.base["version"]} if "version" in self.base else {}
        return {"name": name, "state": "absent", **version}


#: What changes by itself, or with each write.
_MOVING = re.compile(r"Timestamp$|^revision$|^createdBy$|^resourceVersion$|^status$|^(inUse)")


def still(data: Any) -> Any:
    """An answer of the plane without what moves by itself."""
    if isinstance(data, dict):
        # A "version" that is a number counts the writes.
        fixed = {key: value for key, value in data.items() if not (key == "version" and isinstance(value, int))}
        return {key: still(value) for key, value in fixed.items() if not _MOVING.search(key)}
    return [still(item) for item in data] if isinstance(data, list) else data


#: A gateway beside the one of a fresh plane.
SECOND_GATEWAY = "pcg-second"

# --- projects ---

PROJECT = Subject(
    label="project",
    module="project",
    tenant=True,
    base={"description": "Shops of the north", "tags": {"team": "retail", "pilot": ""}},
    changes=(
        Change("description", "description", "Shops of the south"),
        Change("description", "description", ""),
        Change("tags", "tags.team", "finance"),
        Change("tags", "tags.pilot", "yes"),
    ),
    not_compared={
        "name": NotCompared(Why.IDENTITY),
        "state": NotCompared(Why.BEHAVIOUR),
        "purge": NotCompared(Why.BEHAVIOUR, "purge", ["tags"]),
    },
    snapshot=lambda api, name: still(api.get(f"/v1/projects/{api.names('projects')[name]}")),
)


# --- cloud accounts ---


def _account(cloud: str) -> Callable[[Api, str], Any]:
    return lambda api, name: still(api.get(f"/v1/cloudaccounts/{cloud}/{api.names('cloudaccounts')[name]}"))


_ACCOUNT_OPTIONS = {
    "name": NotCompared(Why.IDENTITY),
    "state": NotCompared(Why.BEHAVIOUR),
    "purge": NotCompared(Why.BEHAVIOUR, "purge", ["tags"]),
    "validate": NotCompared(Why.BEHAVIOUR, "validate", False),
    "update_secrets": NotCompared(
        Why.BEHAVIOUR, note="with always the secrets are sent on every run, which is reported as changed"
    ),
}
_POLICY = "arn:aws:iam::123456789012:policy/"

AWS_ACCOUNT = Subject(
    label="cloud account on aws",
    module="cloud_account",
    cloud="aws",
    base={
        "cloud": "aws",
        "tags": {"team": "retail"},
        "credentials": {
            "credential_type": "secret",
            "access_key": "AKIAEXAMPLE",
            "secret_key": "canary-secret-key",
            "secret_token": "canary-secret-token",
            "sts": {"arn": "arn:aws:iam::123456789012:role/a", "external_id": "canary-external"},
            "pod_identity": {
                "role_arn": "arn:aws:iam::123456789012:role/pod",
                "permission_boundary_arn": _POLICY + "bound",
            },
            "partition": "aws",
            "policy_arns": [_POLICY + "one", _POLICY + "two"],
        },
    },
    changes=(
        Change("tags", "tags.team", "finance"),
        Change("credentials.credential_type", "credentials.credential_type", "sts"),
        Change("credentials.access_key", "credentials.access_key", "AKIAOTHER"),
        Change("credentials.sts.arn", "credentials.sts.arn", "arn:aws:iam::123456789012:role/b"),
        Change(
            "credentials.pod_identity.role_arn",
            "credentials.pod_identity.role_arn",
            "arn:aws:iam::123456789012:role/other",
        ),
        Change(
            "credentials.pod_identity.permission_boundary_arn",
            "credentials.pod_identity.permission_boundary_arn",
            _POLICY + "other",
        ),
        Change("credentials.partition", "credentials.partition", "aws-us-gov"),
        Change("credentials.policy_arns", "credentials.policy_arns", [_POLICY + "one"]),
    ),
    not_compared={
        **_ACCOUNT_OPTIONS,
        "cloud": NotCompared(Why.IMMUTABLE, "cloud", "vsphere"),
        "credentials.secret_key": NotCompared(Why.SECRET, "credentials.secret_key", "canary-other-key"),
        "credentials.secret_token": NotCompared(Why.SECRET, "credentials.secret_token", "canary-other-token"),
        "credentials.sts.external_id": NotCompared(Why.SECRET, "credentials.sts.external_id", "canary-other-id"),
        "private_cloud_gateway": NotCompared(Why.IMMUTABLE, "private_cloud_gateway", "pcg-default", "aws uses none"),
    },
    snapshot=_account("aws"),
)

VSPHERE_ACCOUNT = Subject(
    label="cloud account on vsphere",
    module="cloud_account",
    cloud="vsphere",
    base={
        "cloud": "vsphere",
        "tags": {"team": "plants"},
        "private_cloud_gateway": "pcg-default",
        "credentials": {
            "vcenter_server": "vcenter.example",
            "username": "palette@example",
            "password": "canary-password",
            "insecure": False,
        },
    },
    changes=(
        Change("tags", "tags.team", "finance"),
        Change("credentials.vcenter_server", "credentials.vcenter_server", "vcenter-2.example"),
        Change("credentials.username", "credentials.username", "other@example"),
        Change("credentials.insecure", "credentials.insecure", True),
        Change("private_cloud_gateway", "private_cloud_gateway", SECOND_GATEWAY),
    ),
    not_compared={
        **_ACCOUNT_OPTIONS,
        "cloud": NotCompared(Why.IMMUTABLE, "cloud", "aws"),
        "credentials.password": NotCompared(Why.SECRET, "credentials.password", "canary-other-password"),
    },
    snapshot=_account("vsphere"),
)


# --- cluster profiles ---


def _profile(api: Api, name: str) -> Any:
    uid = api.names("clusterprofiles")[name]
    return [still(api.get(f"/v1/clusterprofiles/{uid}{part}")) for part in ("", "/variables", "/packs/manifests")]


def namespace(name: str) -> str:
    """A manifest, as a user would write it."""
    return f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n"


PROFILE_PACKS: list[Values] = [
    {"name": "ubuntu-aws", "version": "22.04", "values": "pack:\n  palette: os\n"},
    {"name": "kubernetes", "version": "1.31.9"},
    {"name": "cni-calico", "version": "3.29.3"},
    {"name": "csi-aws-ebs", "version": "1.43.0"},
    {
        "name": "nginx",
        "version": "1.12.3",
        "layer": "addon",
        "type": "spectro",
        "registry": "Public Repo",
        "values": "charts:\n  ingress-nginx:\n    controller:\n      replicaCount: 1\n",
        "manifests": [{"name": "extra", "content": namespace("extra")}],
    },
    {"name": "shop", "type": "manifest", "manifests": [{"name": "shop", "content": namespace("shop")}]},
]

PROFILE = Subject(
    label="cluster profile",
    module="cluster_profile",
    base={
        "version": "1.0.0",
        "description": "What runs on AWS",
        "tags": {"team": "retail"},
        "cloud": "aws",
        "type": "cluster",
        "variables": [
            {
                "name": "tier",
                "display_name": "Tier",
                "description": "How it is paid for",
                "format": "string",
                "input_type": "dropdown",
                "options": [
                    {"value": "gold", "label": "Gold", "description": "All of it", "default": False},
                    {"value": "silver", "label": "Silver", "description": "Most of it", "default": True},
                ],
                "default_value": "silver",
                "regex": "^(gold|silver)$",
                "required": True,
                "hidden": False,
                "immutable": False,
                "is_sensitive": False,
            },
            {"name": "port", "format": "number", "default_value": "80"},
            {"name": "token", "is_sensitive": True, "default_value": "canary-default"},
        ],
        "packs": PROFILE_PACKS,
    },
    changes=(
        Change("description", "description", "What runs in the cloud"),
        Change("tags", "tags.team", "finance"),
        Change("variables[].display_name", "variables.tier.display_name", "Class"),
        Change("variables[].description", "variables.tier.description", "What it costs"),
        Change("variables[].format", "variables.port.format", "string"),
        Change("variables[].input_type", "variables.tier.input_type", "text"),
        Change("variables[].options[].value", "variables.tier.options.0.value", "golden"),
        Change("variables[].options[].label", "variables.tier.options.0.label", "Best"),
        Change("variables[].options[].description", "variables.tier.options.0.description", "More of it"),
        Change("variables[].options[].default", "variables.tier.options.0.default", True),
        Change("variables[].default_value", "variables.tier.default_value", "gold"),
        Change("variables[].regex", "variables.tier.regex", "^(gold|silver|lead)$"),
        Change("variables[].required", "variables.tier.required", False),
        Change("variables[].hidden", "variables.tier.hidden", True),
        Change("variables[].immutable", "variables.tier.immutable", True),
        Change("variables[].is_sensitive", "variables.port.is_sensitive", True),
        Change("packs[].version", "packs.kubernetes.version", "1.32.9"),
        Change("packs[].version", "packs.nginx.version", "1.13.1"),
        Change(
            "packs[].values", "packs.nginx.values", "charts:\n  ingress-nginx:\n    controller: {replicaCount: 3}\n"
        ),
        Change("packs[].values", "packs.ubuntu-aws.values", {"pack": {"palette": "another"}}),
        Change("packs[].manifests[].content", "packs.shop.manifests.shop.content", namespace("market")),
        Change("packs[].manifests[].content", "packs.nginx.manifests.extra.content", namespace("more")),
    ),
    not_compared={
        "name": NotCompared(Why.IDENTITY),
        "version": NotCompared(Why.IDENTITY, note="each version of a profile is an object of its own"),
        "state": NotCompared(Why.BEHAVIOUR),
        "purge": NotCompared(Why.BEHAVIOUR, "purge", ["tags", "variables", "packs", "manifests"]),
        "publish": NotCompared(Why.BEHAVIOUR, "publish", False),
        "upgrade": NotCompared(Why.BEHAVIOUR, "upgrade", True, "it moves ranges, and all versions here are exact"),
        "cloud": NotCompared(Why.IMMUTABLE, "cloud", "vsphere"),
        "type": NotCompared(Why.IMMUTABLE, "type", "infra"),
        "variables[].name": NotCompared(Why.IDENTITY),
        "variables[].state": NotCompared(Why.BEHAVIOUR),
        "packs[].name": NotCompared(Why.IDENTITY),
        "packs[].state": NotCompared(Why.BEHAVIOUR),
        "packs[].layer": NotCompared(Why.KNOWN, "packs.nginx.layer", "cni"),
        "packs[].type": NotCompared(Why.KNOWN, "packs.nginx.type", "helm"),
        "packs[].registry": NotCompared(Why.KNOWN, "packs.nginx.registry", "Public Helm"),
        "packs[].manifests[].name": NotCompared(Why.IDENTITY),
        "packs[].manifests[].state": NotCompared(Why.BEHAVIOUR),
    },
    snapshot=_profile,
)

SUBJECTS: tuple[Subject, ...] = (PROJECT, AWS_ACCOUNT, VSPHERE_ACCOUNT, PROFILE)


def options(spec: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The paths of all options of an argument spec that have no options of their own."""
    for name, entry in spec.items():
        path = prefix + name
        if entry.get("options"):
            inner = path + ("[]." if entry["type"] == "list" else ".")
            yield from options(entry["options"], inner)
        else:
            yield path
