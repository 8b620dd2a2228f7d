# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Amazon Web Services."""

from __future__ import annotations

from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import Cloud
from ansible_collections.paletteops.modes.plugins.module_utils.fields import Field, Values

NEW_CLUSTER = "Make a new cluster for that."

STS = (
    Field("arn", ("ARN of the role to assume.",)),
    Field("external_id", ("External ID that the role asks for.",), secret=True),
)

POD_IDENTITY = (
    Field("role_arn", ("ARN of the role that the pods assume.",)),
    Field("permission_boundary_arn", ("ARN of the permission boundary.",)),
)

ACCOUNT = (
    Field(
        "credential_type",
        (
            "How the management plane signs in to the cloud: V(secret) by access key, V(sts) by a role to assume,"
            " V(pod-identity) by a role that the pods of a self-hosted plane assume.",
        ),
        choices=("secret", "sts", "pod-identity"),
        assumed="secret",
    ),
    Field("access_key", ("Access key ID, with V(secret).",)),
    Field("secret_key", ("Secret access key, with V(secret).",), secret=True),
    Field("secret_token", ("Session token, on partitions that need one.",), secret=True),
    Field("sts", ("The role, with V(sts).",), type="dict", fields=STS),
    Field("pod_identity", ("The role, with V(pod-identity).",), type="dict", fields=POD_IDENTITY),
    Field(
        "partition",
        ("Partition of the cloud.",),
        choices=("aws", "aws-us-gov", "aws-iso", "aws-iso-b"),
        assumed="aws",
    ),
    Field("policy_arns", ("Policies to attach, by ARN.",), api="policyARNs", type="list", elements="str"),
)

CLUSTER = (
    Field("region", ("Region, such as V(eu-central-1).",), needed=True, immutable=NEW_CLUSTER),
    Field("vpc_id", ("An existing VPC. Without it one is made.",), immutable=NEW_CLUSTER),
    Field("ssh_key_name", ("Name of the key pair for the machines.",), immutable=NEW_CLUSTER),
    Field(
        "control_plane_load_balancer",
        ("Scheme of the load balancer before the control plane.",),
        choices=("Internet-facing", "internal"),
        immutable=NEW_CLUSTER,
    ),
    Field("bastion_disabled", ("Whether to do without a bastion host.",), type="bool"),
)


def subnets_out(subnets: dict[str, str]) -> list[dict[str, str]]:
    return [{"az": zone, "id": subnet} for zone, subnet in sorted(subnets.items())]


def security_groups_out(groups: list[str]) -> list[dict[str, str]]:
    return [{"id": group} for group in groups]


def security_groups_in(groups: list[dict[str, Any]]) -> list[str]:
    return [str(group["id"]) for group in groups if group.get("id")]


POOL = (
    Field("instance_type", ("Instance type, such as V(m6i.large).",), needed=True),
    Field("capacity_type", ("How the capacity is bought.",), choices=("on-demand", "spot"), assumed="on-demand"),
    Field("spot_max_price", ("Highest price for a spot instance.",), api="spotMarketOptions.maxPrice"),
    Field("azs", ("Availability zones. Without them the cloud chooses.",), type="list", elements="str"),
    Field(
        "subnets",
        ("In an existing VPC, the subnet of each availability zone, as a map. Those not named stay as they are.",),
        api="subnetIds",
        write="subnets",
        type="dict",
        encode=subnets_out,
    ),
    Field("root_device_size", ("Size of the root volume in GB.",), type="int"),
    Field(
        "additional_security_groups",
        ("Security groups beside those that are made, by ID.",),
        type="list",
        elements="str",
        encode=security_groups_out,
        decode=security_groups_in,
    ),
)


def check_account(credentials: Values, sending: bool) -> list[str]:
    """Each way of signing in needs its own fields; secrets are known only while they are sent."""
    kind = credentials.get("credential_type") or "secret"
    sts, pod = credentials.get("sts") or {}, credentials.get("pod_identity") or {}
    needed = {
        "secret": {"access_key": credentials.get("access_key")},
        "sts": {"sts.arn": sts.get("arn")},
        "pod-identity": {"pod_identity.role_arn": pod.get("role_arn")},
    }[kind]
    if kind == "secret" and sending:
        needed["secret_key"] = credentials.get("secret_key")
    return [
        f"credentials.{name} is missing, and credential_type {kind} needs it. Name it."
        for name, value in needed.items()
        if not value
    ]


AWS = Cloud(
    name="aws",
    account=ACCOUNT,
    cluster=CLUSTER,
    pool=POOL,
    check_account=check_account,
    pool_keys=("hostResourceGroupArn", "licenseConfigurationArns"),
)
