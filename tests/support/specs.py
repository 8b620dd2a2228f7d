# SPDX-License-Identifier: GPL-3.0-or-later
"""What the integration tests know of each resource, as data.

For each subject (a resource, on one cloud where clouds differ): a specification that names every option, another value
for each option that describes the object, and why an option is not compared. A test holds these tables against the
modules' argument specs, so that no option is forgotten.
"""

from __future__ import annotations

import dataclasses
import enum
import json
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


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A resource, on one cloud where clouds differ.

    keys    options by which an object is named
    hosts   hosts that each object needs for itself: OWN in front of them stands for the object's name
    """

    label: str
    module: str
    base: Values
    changes: tuple[Change, ...]
    not_compared: Mapping[str, NotCompared]
    snapshot: Callable[[Api, str], Any]
    cloud: str = ""
    prepare: tuple[Step, ...] = ()
    tenant: bool = False
    keys: tuple[str, ...] = ("name",)
    hosts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.label

    def named(self, name: str, spec: Mapping[str, Any] | None = None) -> Values:
        own: Values = json.loads(json.dumps(dict(self.base if spec is None else spec)).replace(OWN, name))
        return {**own, **dict.fromkeys(self.keys, name)}

    def absent(self, name: str) -> Values:
        version = {"version": self.base["version"]} if "version" in self.base else {}
        return {**dict.fromkeys(self.keys, name), "state": "absent", **version}


#: Stands for the name of the object in its specification.
OWN = "@own"

#: What changes by itself, or with each write.
_MOVING = re.compile(r"Timestamp$|^revision$|^createdBy$|^resourceVersion$|^status$|^(inUse)")


def still(data: Any) -> Any:
    """An answer of the plane without what moves by itself."""
    if isinstance(data, dict):
        # A "version" that is a number counts the writes.
        fixed = {key: value for key, value in data.items() if not (key == "version" and isinstance(value, int))}
        # Said or not, it is what the API assumes.
        fixed = {key: value for key, value in fixed.items() if value != {"type": "RollingUpdateScaleOut"}}
        return {key: still(value) for key, value in fixed.items() if not _MOVING.search(key)}
    return [still(item) for item in data] if isinstance(data, list) else data


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two answers differ, as ``path: value != value``."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [found for key in keys for found in differences(one.get(key), other.get(key), f"{where}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [f for n, pair in enumerate(zip(one, other, strict=True)) for f in differences(*pair, f"{where}[{n}]")]
    return [] if one == other else [f"{where}: {one!r} != {other!r}"]


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


# --- registration tokens ---


def _token(api: Api, name: str) -> Any:
    raw = api.get(f"/v1/edgehosts/tokens/{api.names('registration_tokens')[name]}")
    return {**still(raw), "active": raw["status"]["isActive"]}


REGISTRATION_TOKEN = Subject(
    label="registration token",
    module="registration_token",
    tenant=True,
    prepare=(Step("project", {"name": "token-one"}), Step("project", {"name": "token-two"})),
    base={
        "description": "Hosts of the plants",
        "expires_at": "2031-03-31T18:00:00Z",
        "default_project": "token-one",
        "active": True,
    },
    changes=(
        Change("description", "description", "Hosts of the shops"),
        Change("description", "description", ""),
        Change("expires_at", "expires_at", "2031-03-31T18:00:00+02:00"),
        Change("default_project", "default_project", "token-two"),
        Change("default_project", "default_project", ""),
        Change("active", "active", False),
    ),
    not_compared={
        "name": NotCompared(Why.IDENTITY),
        "state": NotCompared(Why.BEHAVIOUR, "state", "present"),
        "expires_in": NotCompared(Why.BEHAVIOUR, note="test_hosts.py: it counts anew only where the token ends"),
        "renew_before": NotCompared(Why.BEHAVIOUR, note="test_hosts.py: it goes with expires_in"),
    },
    snapshot=_token,
)

# --- edge hosts ---

EDGE_HOST = Subject(
    label="edge host",
    module="edge_host",
    keys=("uid",),
    base={
        "name": "Line 1",
        "architecture": "amd64",
        "pairing_key": "canary-pairing-key",
        "tags": {"plant": "7", "spare": ""},
    },
    changes=(
        Change("name", "name", "Line 2"),
        Change("tags", "tags.plant", "8"),
        Change("tags", "tags.spare", "no"),
    ),
    not_compared={
        "uid": NotCompared(Why.IDENTITY),
        "state": NotCompared(Why.BEHAVIOUR),
        "purge": NotCompared(Why.BEHAVIOUR, "purge", ["tags"]),
        "architecture": NotCompared(Why.IMMUTABLE, "architecture", "arm64"),
        "pairing_key": NotCompared(Why.SECRET, "pairing_key", "canary-other-key"),
        "wait": NotCompared(Why.BEHAVIOUR, note="test_hosts.py: it waits for a host that comes"),
        "wait_timeout": NotCompared(Why.BEHAVIOUR, "wait_timeout", 5),
        "wait_interval": NotCompared(Why.BEHAVIOUR, "wait_interval", 1),
    },
    snapshot=lambda api, name: still(api.get(f"/v1/edgehosts/{name}")),
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
            {"name": "port", "format": "number", "default_value": "80", "is_sensitive": False},
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

# --- clusters ---


def _cluster(api: Api, name: str) -> Any:
    uid = api.names("spectroclusters")[name]
    cluster = api.get(f"/v1/spectroclusters/{uid}")
    config = f"/v1/cloudconfigs/{cluster['spec']['cloudType']}/{cluster['spec']['cloudConfigRef']['uid']}"
    parts = (f"/v1/spectroclusters/{uid}/variables", f"/v1/spectroclusters/{uid}/profiles/packs/manifests", config)
    return [still(cluster), *(still(api.get(part)) for part in parts)]


#: What a profile for hosts of agent mode is made of.
EDGE_PACKS: list[Values] = [
    {"name": "edge-native-byoi", "version": "2.1.0"},
    {"name": "edge-k8s", "version": "1.36.1"},
    {"name": "cni-bridge", "version": "1.9.1"},
]


def _infrastructure(cloud: str) -> Values:
    """A profile for clusters of a cloud, with a variable of each sort and something to override."""
    packs = {
        "aws": [PROFILE_PACKS[0], PROFILE_PACKS[3]],
        "vsphere": [{"name": "ubuntu-vsphere", "version": "22.04"}, {"name": "csi-vsphere-csi", "version": "3.4.0"}],
        "edge-native": [],
    }[cloud]
    layers = [*packs[:1], *PROFILE_PACKS[1:3], *packs[1:]] if packs else EDGE_PACKS
    return {
        "name": f"base-{cloud}",
        "version": "1.0.0",
        "cloud": cloud,
        "type": "cluster",
        "variables": [
            {"name": "tier", "default_value": "silver"},
            {"name": "port", "format": "number", "default_value": "80"},
            {"name": "token", "is_sensitive": True, "default_value": "canary-default"},
        ],
        "packs": [*layers, PROFILE_PACKS[4]],
    }


def _add_on(version: str, text: str) -> Values:
    packs = [{"name": "shop", "type": "manifest", "manifests": [{"name": "shop", "content": namespace(text)}]}]
    return {"name": "platform", "version": version, "type": "add-on", "packs": packs}


#: What the clusters of the base specifications refer to.
CLUSTER_NEEDS = (
    Step("cloud_account", AWS_ACCOUNT.named("aws")),
    Step("cloud_account", AWS_ACCOUNT.named("aws-2")),
    Step("cloud_account", VSPHERE_ACCOUNT.named("vsphere")),
    Step("cloud_account", VSPHERE_ACCOUNT.named("vsphere-2")),
    Step("cluster_profile", _infrastructure("aws")),
    Step("cluster_profile", _infrastructure("vsphere")),
    Step("cluster_profile", _infrastructure("edge-native")),
    Step("cluster_profile", _add_on("1.0.0", "shop")),
    Step("cluster_profile", _add_on("1.1.0", "market")),
)


def _cluster_profiles(cloud: str) -> list[Values]:
    overrides = {
        "name": "nginx",
        "values": "charts:\n  ingress-nginx:\n    controller:\n      replicaCount: 2\n",
        "manifests": [{"name": "extra", "content": namespace("overridden")}],
    }
    return [
        {
            "name": f"base-{cloud}",
            "version": "1.0.0",
            "variables": {"tier": "gold", "port": 8080, "token": "canary-variable"},
            "packs": [overrides],
        },
        {"name": "platform", "version": "1.0.0"},
    ]


#: The options of pools on every cloud, on a pool of workers.
_WORKERS: Values = {
    "name": "workers",
    "control_plane": False,
    "size": 2,
    "taints": [{"key": "dedicated", "value": "web", "effect": "NoSchedule"}],
    "additional_labels": {"purpose": "web"},
    "additional_annotations": {"owner": "shop"},
    "additional_tags": {"cost": "web"},
    "node_repave_interval": 60,
    "update_strategy": {"type": "OverrideScaling", "max_surge": "1", "max_unavailable": "0"},
    "override_kubeadm_configuration": "kubeletExtraArgs:\n  v: '2'\n",
    "skip_k8s_upgrade": "disabled",
    "arch_type": "amd64",
}

_CLUSTER_CHANGES = (
    Change("description", "description", "The shop in Munich"),
    Change("description", "description", ""),
    Change("tags", "tags.team", "finance"),
    Change("profiles[].version", "profiles.platform.version", "1.1.0"),
    Change("profiles[].packs[].manifests[].content", "profiles.0.packs.nginx.manifests.extra.content", namespace("x")),
    Change("profiles[].packs[].values", "profiles.0.packs.nginx.values", "charts: {none: true}\n"),
    Change("profiles[].variables", "profiles.0.variables.tier", "lead"),
    Change("profiles[].variables", "profiles.0.variables.port", 9090),
    Change("pools[].control_plane_as_worker", "pools.control.control_plane_as_worker", True),
    Change("pools[].size", "pools.control.size", 3),
    Change("pools[].size", "pools.workers.size", 4),
    Change("pools[].size", "pools.workers.size", 0),
    Change("pools[].min_size", "pools.scaled.min_size", 2),
    Change("pools[].max_size", "pools.scaled.max_size", 6),
    Change("pools[].taints[].key", "pools.workers.taints.0.key", "reserved"),
    Change("pools[].taints[].value", "pools.workers.taints.0.value", "jobs"),
    Change("pools[].taints[].effect", "pools.workers.taints.0.effect", "NoExecute"),
    Change("pools[].additional_labels", "pools.workers.additional_labels.purpose", "jobs"),
    Change("pools[].additional_annotations", "pools.workers.additional_annotations.owner", "market"),
    Change("pools[].additional_tags", "pools.workers.additional_tags.cost", "jobs"),
    Change("pools[].node_repave_interval", "pools.workers.node_repave_interval", 90),
    Change(
        "pools[].update_strategy.type",
        "pools.workers.update_strategy.type",
        "RollingUpdateScaleIn",
        {"pools.workers.update_strategy.max_surge": "", "pools.workers.update_strategy.max_unavailable": ""},
    ),
    Change("pools[].update_strategy.max_surge", "pools.workers.update_strategy.max_surge", "50%"),
    Change("pools[].update_strategy.max_unavailable", "pools.workers.update_strategy.max_unavailable", "1"),
    Change(
        "pools[].override_kubeadm_configuration",
        "pools.workers.override_kubeadm_configuration",
        "kubeletExtraArgs:\n  v: '4'\n",
    ),
    Change("pools[].skip_k8s_upgrade", "pools.workers.skip_k8s_upgrade", "enabled"),
)

_CLUSTER_OPTIONS = {
    "name": NotCompared(Why.IDENTITY),
    "state": NotCompared(Why.BEHAVIOUR),
    "purge": NotCompared(
        Why.BEHAVIOUR,
        "purge",
        ["tags", "profiles", "pools", "additional_labels", "additional_annotations", "additional_tags", "subnets"],
    ),
    "wait": NotCompared(Why.BEHAVIOUR, "wait", True),
    "wait_timeout": NotCompared(Why.BEHAVIOUR, "wait_timeout", 100),
    "wait_interval": NotCompared(Why.BEHAVIOUR, "wait_interval", 1),
    "unhealthy_timeout": NotCompared(Why.BEHAVIOUR, "unhealthy_timeout", 100),
    "upgrade": NotCompared(Why.BEHAVIOUR, "upgrade", True, "it moves ranges, and all versions here are exact"),
    "approve_repave": NotCompared(Why.BEHAVIOUR, "approve_repave", True),
    "force_delete": NotCompared(Why.BEHAVIOUR, "force_delete", True),
    "force_delete_after": NotCompared(Why.BEHAVIOUR, "force_delete_after", 1),
    "update_secrets": NotCompared(
        Why.BEHAVIOUR, note="with always the secrets are sent on every run, which is reported as changed"
    ),
    "profiles[].name": NotCompared(Why.IDENTITY),
    "profiles[].state": NotCompared(Why.BEHAVIOUR),
    "profiles[].packs[].name": NotCompared(Why.IDENTITY),
    "profiles[].packs[].state": NotCompared(Why.BEHAVIOUR),
    "profiles[].packs[].manifests[].name": NotCompared(Why.IDENTITY),
    "profiles[].packs[].manifests[].state": NotCompared(Why.BEHAVIOUR),
    "pools[].name": NotCompared(Why.IDENTITY),
    "pools[].state": NotCompared(Why.BEHAVIOUR),
    "pools[].control_plane": NotCompared(Why.IMMUTABLE, "pools.workers.control_plane", True),
    "pools[].arch_type": NotCompared(Why.IMMUTABLE, "pools.workers.arch_type", "arm64"),
}

#: Values that are not compared although their option is: why, and where another value is in the base.
NOT_COMPARED_VALUES = {
    "sensitive variable": NotCompared(Why.SECRET, "profiles.0.variables.token", "canary-other-variable"),
    "size that the autoscaler owns": NotCompared(Why.BEHAVIOUR, "pools.scaled.size", 4, "it holds at creation only"),
    "version in its range": NotCompared(Why.BEHAVIOUR, "profiles.platform.version", "1.0.x", "only upgrade moves it"),
}

AWS_CLUSTER = Subject(
    label="cluster on aws",
    module="cluster",
    cloud="aws",
    prepare=CLUSTER_NEEDS,
    snapshot=_cluster,
    base={
        "description": "The shop in Berlin",
        "tags": {"team": "retail"},
        "cloud": "aws",
        "cloud_account": "aws",
        "cloud_config": {
            "region": "eu-central-1",
            "vpc_id": "vpc-1",
            "ssh_key_name": "retail",
            "control_plane_load_balancer": "internal",
            "bastion_disabled": False,
        },
        "profiles": _cluster_profiles("aws"),
        "pools": [
            {
                "name": "control",
                "control_plane": True,
                "control_plane_as_worker": False,
                "size": 1,
                "instance_type": "m6i.large",
                "subnets": {"eu-central-1a": "subnet-a"},
            },
            {
                **_WORKERS,
                "instance_type": "m6i.xlarge",
                "capacity_type": "spot",
                "spot_max_price": "0.30",
                "azs": ["eu-central-1a"],
                "subnets": {"eu-central-1a": "subnet-a"},
                "root_device_size": 80,
                "additional_security_groups": ["sg-1", "sg-2"],
            },
            {"name": "scaled", "size": 2, "min_size": 1, "max_size": 4, "instance_type": "m6i.large"},
        ],
    },
    changes=(
        *_CLUSTER_CHANGES,
        Change("cloud_config.bastion_disabled", "cloud_config.bastion_disabled", True),
        Change("pools[].instance_type", "pools.workers.instance_type", "m6i.2xlarge"),
        Change("pools[].capacity_type", "pools.workers.capacity_type", "on-demand"),
        Change("pools[].spot_max_price", "pools.workers.spot_max_price", "0.45"),
        Change("pools[].azs", "pools.workers.azs", ["eu-central-1b", "eu-central-1a"]),
        Change("pools[].subnets", "pools.workers.subnets.eu-central-1a", "subnet-b"),
        Change("pools[].root_device_size", "pools.workers.root_device_size", 120),
        Change("pools[].additional_security_groups", "pools.workers.additional_security_groups", ["sg-2", "sg-3"]),
    ),
    not_compared={
        **_CLUSTER_OPTIONS,
        "cloud": NotCompared(Why.IMMUTABLE, "cloud", "vsphere"),
        "cloud_account": NotCompared(Why.IMMUTABLE, "cloud_account", "aws-2"),
        "cloud_config.region": NotCompared(Why.IMMUTABLE, "cloud_config.region", "eu-west-1"),
        "cloud_config.vpc_id": NotCompared(Why.IMMUTABLE, "cloud_config.vpc_id", "vpc-2"),
        "cloud_config.ssh_key_name": NotCompared(Why.IMMUTABLE, "cloud_config.ssh_key_name", "other"),
        "cloud_config.control_plane_load_balancer": NotCompared(
            Why.IMMUTABLE, "cloud_config.control_plane_load_balancer", "Internet-facing"
        ),
    },
)

_SIZE = {"num_cpus": 4, "memory_mib": 8192, "disk_gib": 60}
_PLACEMENT = {"cluster": "compute-1", "datastore": "fast", "network": "clusters", "resource_pool": "palette"}

VSPHERE_CLUSTER = Subject(
    label="cluster on vsphere",
    module="cluster",
    cloud="vsphere",
    prepare=CLUSTER_NEEDS,
    snapshot=_cluster,
    base={
        "description": "The plant",
        "tags": {"team": "plants"},
        "cloud": "vsphere",
        "cloud_account": "vsphere",
        "cloud_config": {
            "datacenter": "plant",
            "folder": "clusters",
            "image_template_folder": "templates",
            "control_plane_endpoint": {"host": "plant.example", "type": "DDNS", "ddns_search_domain": "example"},
            "static_ip": False,
            "ssh_keys": ["ssh-ed25519 AAAA one"],
            "ntp_servers": ["ntp-1.example"],
        },
        "profiles": _cluster_profiles("vsphere"),
        "pools": [
            {
                "name": "control",
                "control_plane": True,
                "control_plane_as_worker": False,
                "size": 1,
                "instance_type": {**_SIZE},
                "placements": [{**_PLACEMENT}],
            },
            {
                **_WORKERS,
                "instance_type": {**_SIZE},
                "placements": [{**_PLACEMENT, "static_ip_pool_uid": "0123456789abcdef01234567"}],
            },
            {
                "name": "scaled",
                "size": 2,
                "min_size": 1,
                "max_size": 4,
                "instance_type": {**_SIZE},
                "placements": [{**_PLACEMENT}],
            },
        ],
    },
    changes=(
        *_CLUSTER_CHANGES,
        Change("cloud_config.ssh_keys", "cloud_config.ssh_keys", ["ssh-ed25519 AAAA one", "ssh-ed25519 AAAA two"]),
        Change("cloud_config.ntp_servers", "cloud_config.ntp_servers", ["ntp-2.example"]),
        Change("pools[].instance_type.num_cpus", "pools.workers.instance_type.num_cpus", 8),
        Change("pools[].instance_type.memory_mib", "pools.workers.instance_type.memory_mib", 16384),
        Change("pools[].instance_type.disk_gib", "pools.workers.instance_type.disk_gib", 80),
        Change("pools[].placements[].cluster", "pools.workers.placements.0.cluster", "compute-2"),
        Change("pools[].placements[].resource_pool", "pools.workers.placements.0.resource_pool", "other"),
        Change("pools[].placements[].datastore", "pools.workers.placements.0.datastore", "slow"),
        Change("pools[].placements[].network", "pools.workers.placements.0.network", "plants"),
        Change(
            "pools[].placements[].static_ip_pool_uid",
            "pools.workers.placements.0.static_ip_pool_uid",
            "76543210fedcba9876543210",
        ),
    ),
    not_compared={
        **_CLUSTER_OPTIONS,
        "cloud": NotCompared(Why.IMMUTABLE, "cloud", "aws"),
        "cloud_account": NotCompared(Why.IMMUTABLE, "cloud_account", "vsphere-2"),
        "cloud_config.datacenter": NotCompared(Why.IMMUTABLE, "cloud_config.datacenter", "other"),
        "cloud_config.folder": NotCompared(Why.IMMUTABLE, "cloud_config.folder", "other"),
        "cloud_config.image_template_folder": NotCompared(Why.IMMUTABLE, "cloud_config.image_template_folder", "other"),
        "cloud_config.control_plane_endpoint.host": NotCompared(
            Why.IMMUTABLE, "cloud_config.control_plane_endpoint.host", "other.example"
        ),
        "cloud_config.control_plane_endpoint.type": NotCompared(
            Why.IMMUTABLE, "cloud_config.control_plane_endpoint.type", "VIP"
        ),
        "cloud_config.control_plane_endpoint.ddns_search_domain": NotCompared(
            Why.IMMUTABLE, "cloud_config.control_plane_endpoint.ddns_search_domain", "other.example"
        ),
        "cloud_config.static_ip": NotCompared(Why.IMMUTABLE, "cloud_config.static_ip", True),
    },
)


def _edge_cluster(api: Api, name: str) -> Any:
    """As of any cluster; the order of a pool's hosts means nothing."""
    *parts, config = _cluster(api, name)
    for pool in config["spec"]["machinePoolConfig"]:
        pool["hosts"] = sorted(pool["hosts"], key=lambda host: str(host["hostUid"]))
    return [*parts, config]


#: What clusters of hosts cannot have changed: sizes and the autoscaler, and what their pools lack.
_NOT_OF_HOSTS = ("pools[].size", "pools[].min_size", "pools[].max_size", "pools[].skip_k8s_upgrade")
_NIC = {
    "nic_name": "eth0",
    "ip": "192.0.2.63",
    "subnet": "255.255.255.0",
    "gateway": "192.0.2.1",
    "dns": ["192.0.2.2"],
    "is_default": True,
}

EDGE_CLUSTER = Subject(
    label="cluster of hosts",
    module="cluster",
    cloud="edge-native",
    prepare=CLUSTER_NEEDS,
    snapshot=_edge_cluster,
    hosts=("c1", "w1", "w2"),
    base={
        "wait_interval": 1,
        "description": "The plant in the north",
        "tags": {"team": "plants"},
        "cloud": "edge-native",
        "cloud_config": {
            "vip": "192.0.2.250",
            "ntp_servers": ["ntp-1.example"],
            "ssh_keys": ["ssh-ed25519 AAAA one"],
            "static_ip": False,
            "two_node": False,
        },
        "profiles": _cluster_profiles("edge-native"),
        "pools": [
            {
                "name": "control",
                "control_plane": True,
                "control_plane_as_worker": False,
                "hosts": [f"{OWN}-c1"],
            },
            {
                **{key: value for key, value in _WORKERS.items() if f"pools[].{key}" not in _NOT_OF_HOSTS},
                "hosts": [f"{OWN}-w1", {"host": f"{OWN}-w2", "nic": _NIC}],
            },
        ],
    },
    changes=(
        *(change for change in _CLUSTER_CHANGES if change.option not in _NOT_OF_HOSTS),
        Change("cloud_config.ntp_servers", "cloud_config.ntp_servers", ["ntp-2.example"]),
        Change("cloud_config.ssh_keys", "cloud_config.ssh_keys", ["ssh-ed25519 AAAA one", "ssh-ed25519 AAAA two"]),
        Change(
            "pools[].hosts",
            "pools.workers.hosts.0",
            {"host": f"{OWN}-w1", "state": "absent"},
        ),
    ),
    not_compared={
        **{key: row for key, row in _CLUSTER_OPTIONS.items() if key not in _NOT_OF_HOSTS},
        "cloud": NotCompared(Why.IMMUTABLE, "cloud", "aws"),
        "cloud_account": NotCompared(Why.KNOWN, "cloud_account", "aws", "clusters of hosts have none"),
        "cloud_config.vip": NotCompared(Why.IMMUTABLE, "cloud_config.vip", "192.0.2.251"),
        "cloud_config.endpoint.host": NotCompared(Why.IMMUTABLE, note="test_hosts.py"),
        "cloud_config.endpoint.type": NotCompared(Why.IMMUTABLE, note="test_hosts.py"),
        "cloud_config.endpoint.ddns_search_domain": NotCompared(
            Why.IMMUTABLE, note="the embedded plane serves no DDNS"
        ),
        "cloud_config.overlay_network.enabled": NotCompared(Why.IMMUTABLE, note="the embedded agent lays no overlay"),
        "cloud_config.overlay_network.cidr": NotCompared(Why.IMMUTABLE, note="the embedded agent lays no overlay"),
        "cloud_config.static_ip": NotCompared(Why.IMMUTABLE, "cloud_config.static_ip", True),
        "cloud_config.two_node": NotCompared(Why.IMMUTABLE, "cloud_config.two_node", True),
        "pools[].size": NotCompared(Why.KNOWN, "pools.workers.size", 5, "the number of hosts says it"),
        "pools[].min_size": NotCompared(Why.KNOWN, "pools.workers.min_size", 1, "nothing scales pools of hosts"),
        "pools[].max_size": NotCompared(Why.KNOWN, "pools.workers.max_size", 3, "nothing scales pools of hosts"),
        "pools[].skip_k8s_upgrade": NotCompared(
            Why.KNOWN, "pools.workers.skip_k8s_upgrade", "enabled", "the API does not say it of such pools"
        ),
        "pools[].host_tags": NotCompared(Why.BEHAVIOUR, note="test_hosts.py: it chooses hosts"),
    },
)

SUBJECTS: tuple[Subject, ...] = (
    PROJECT,
    REGISTRATION_TOKEN,
    EDGE_HOST,
    AWS_ACCOUNT,
    VSPHERE_ACCOUNT,
    PROFILE,
    AWS_CLUSTER,
    VSPHERE_CLUSTER,
    EDGE_CLUSTER,
)
CLUSTERS = (AWS_CLUSTER, VSPHERE_CLUSTER, EDGE_CLUSTER)


def options(spec: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The paths of all options of an argument spec that have no options of their own."""
    for name, entry in spec.items():
        path = prefix + name
        if entry.get("options"):
            inner = path + ("[]." if entry["type"] == "list" else ".")
            yield from options(entry["options"], inner)
        else:
            yield path
