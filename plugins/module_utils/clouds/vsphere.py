# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMware vSphere. The management plane reaches it by a private cloud gateway."""

from __future__ import annotations

from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import Cloud
from ansible_collections.paletteops.modes.plugins.module_utils.fields import Field, Values

NEW_CLUSTER = "Make a new cluster for that."

ACCOUNT = (
    Field("vcenter_server", ("Host name or address of the vCenter.",), needed=True),
    Field("username", ("User of the vCenter.",), needed=True),
    Field("password", ("Password of the user.",), secret=True),
    Field("insecure", ("Whether the vCenter's certificate is left unverified.",), type="bool"),
)

ENDPOINT = (
    Field("host", ("Address or name of the control plane.",), immutable=NEW_CLUSTER),
    Field(
        "type",
        ("Who provides it: a virtual IP, an external load balancer, or a name by dynamic DNS.",),
        choices=("VIP", "External", "DDNS"),
        assumed="VIP",
        immutable=NEW_CLUSTER,
    ),
    Field("ddns_search_domain", ("Search domain, with V(DDNS).",), immutable=NEW_CLUSTER),
)

CLUSTER = (
    Field("datacenter", ("Name of the data centre.",), api="placement.datacenter", needed=True, immutable=NEW_CLUSTER),
    Field("folder", ("Folder for the machines.",), api="placement.folder", needed=True, immutable=NEW_CLUSTER),
    Field(
        "image_template_folder",
        ("Folder with the image templates.",),
        api="placement.imageTemplateFolder",
        immutable=NEW_CLUSTER,
    ),
    Field("control_plane_endpoint", ("Where the control plane answers.",), type="dict", fields=ENDPOINT),
    Field("static_ip", ("Whether machines get static addresses.",), type="bool", immutable=NEW_CLUSTER),
    Field("ssh_keys", ("Public SSH keys for the machines, as a whole list.",), type="list", elements="str"),
    Field("ntp_servers", ("Time servers, as a whole list.",), type="list", elements="str"),
)

INSTANCE_TYPE = (
    Field("num_cpus", ("Number of processors.",), api="numCPUs", type="int", needed=True),
    Field("memory_mib", ("Memory in MiB.",), api="memoryMiB", type="int", needed=True),
    Field("disk_gib", ("Disk in GiB.",), api="diskGiB", type="int", needed=True),
)

PLACEMENT = (
    Field("cluster", ("Compute cluster.",), needed=True),
    Field("resource_pool", ("Resource pool.",)),
    Field("datastore", ("Datastore.",), needed=True),
    Field("network", ("Network.",), api="network.networkName", needed=True),
    Field(
        "static_ip_pool_uid",
        ("Uid of the IP pool for static addresses.",),
        api="network.parentPoolRef.uid",
        write="network.parentPoolUid",
    ),
)

POOL = (
    Field("instance_type", ("Size of the machines.",), type="dict", fields=INSTANCE_TYPE, needed=True),
    Field(
        "placements",
        ("Where machines are put, as a whole list.",),
        type="list",
        elements="dict",
        fields=PLACEMENT,
        ordered=True,
        needed=True,
    ),
)


def check_account(credentials: Values, sending: bool) -> list[str]:
    if sending and not credentials.get("password"):
        return ["credentials.password is missing, and a new or changed account on vsphere needs it. Name it."]
    return []


def carry(raw_pool: dict[str, Any], body: dict[str, Any]) -> None:
    """The plane tells placements apart by a uid of its own; an update that leaves it out would make new ones."""
    for old, new in zip(raw_pool.get("placements") or [], body.get("placements") or []):
        for key in ("uid", "datacenter", "folder", "imageTemplateFolder", "storagePolicyName"):
            if old.get(key):
                new.setdefault(key, old[key])


VSPHERE = Cloud(
    name="vsphere",
    account=ACCOUNT,
    cluster=CLUSTER,
    pool=POOL,
    gateway=True,
    check_account=check_account,
    carry=carry,
)
