# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the info modules read, in the option names of the modules that write it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils import clouds, wait
from ansible_collections.paletteops.modes.plugins.module_utils.catalogue import Catalogue
from ansible_collections.paletteops.modes.plugins.module_utils.cloud_account import CloudAccount
from ansible_collections.paletteops.modes.plugins.module_utils.cluster import POOLS, Cluster, require_project
from ansible_collections.paletteops.modes.plugins.module_utils.cluster_profile import ClusterProfile
from ansible_collections.paletteops.modes.plugins.module_utils.edge_host import edge_hosts, shown
from ansible_collections.paletteops.modes.plugins.module_utils.fields import public, text
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Session, info_operation
from ansible_collections.paletteops.modes.plugins.module_utils.project import Project
from ansible_collections.paletteops.modes.plugins.module_utils.resource import Resource
from ansible_collections.paletteops.modes.plugins.module_utils.versions import order

Item = dict[str, Any]


def reader(session: Session, resource: type[Resource], **params: Any) -> Resource:
    """A resource that only reads: with every option unnamed but those given."""
    unnamed = {field.name: None for field in resource.fields}
    return resource(_with(session, dict(unnamed, state="present", **params)))


def _with(session: Session, params: Item) -> Session:
    return Session(
        params, session.check_mode, False, session.client, session.run, session.tell, session.warn, session.hide
    )


def chosen(session: Session, entries: list[Item]) -> list[Item]:
    name = session.params.get("name")
    return [entry for entry in entries if not name or entry["name"] == name]


def projects(session: Session) -> Iterator[Item]:
    resource = reader(session, Project)
    for entry in chosen(session, resource.listing()):
        raw = resource.read(entry["uid"])
        if raw:
            yield dict(public(resource.fields, resource.observe(raw)), uid=entry["uid"])


def cloud_accounts(session: Session) -> Iterator[Item]:
    for entry in chosen(session, reader(session, CloudAccount).listing()):
        if entry["cloud"] not in clouds.WITH_ACCOUNT:
            yield entry
            continue
        resource = reader(session, CloudAccount, cloud=entry["cloud"])
        raw = resource.read(entry["uid"])
        if raw:
            yield dict(public(resource.table(), resource.observe(raw)), uid=entry["uid"])


def cluster_profiles(session: Session) -> Iterator[Item]:
    resource = reader(session, ClusterProfile, read_all=True)
    for entry in chosen(session, resource.listing()):
        raw = resource.read(entry["uid"])
        if raw and session.params.get("version") in (None, entry["version"]):
            published = bool((raw.get("status") or {}).get("isPublished"))
            users = [item.get("name") for item in (raw.get("status") or {}).get("inUseClusters") or []]
            yield dict(
                public(resource.fields, resource.observe(raw)), uid=entry["uid"], published=published, in_use_by=users
            )


def cluster_list(session: Session) -> Iterator[Item]:
    require_project(session.client)
    name = session.params.get("name")
    listing = reader(session, Cluster).listing()
    entries = chosen(session, listing)
    states = wait.summaries(session.client, [name] if name else [entry["name"] for entry in entries])
    for entry in entries:
        resource = reader(session, Cluster, cloud=None)
        raw = resource.read(entry["uid"])
        if raw is None:
            continue
        cloud = raw["spec"].get("cloudType")
        if cloud in clouds.CLOUDS:
            resource = reader(session, Cluster, cloud=cloud)
        item = dict(public(resource.table(), resource.observe(raw)), uid=entry["uid"])
        for profile in item.get("profiles") or []:
            profile.pop("variables", None)
            profile["packs"] = packs_of(raw, profile["name"])
        known = states.get(entry["uid"], {})
        item["status"] = {
            "state": known.get("state") or (raw.get("status") or {}).get("state"),
            "health": known.get("health") or None,
            "nodes": known.get("nodes", sum(pool["size"] for pool in item.get(POOLS.name) or [])),
            "healthy_nodes": known.get("healthy_nodes", 0),
            "repave": known.get("repave") or None,
            "conditions": [
                {key: condition.get(key) for key in ("type", "status", "reason", "message")}
                for condition in (raw.get("status") or {}).get("conditions") or []
            ],
        }
        yield item


def packs_of(raw: Item, profile: str) -> list[Item]:
    for template in raw["spec"].get("clusterProfileTemplates") or []:
        if template.get("name") == profile:
            return [
                {"name": pack["name"], "version": pack.get("tag"), "layer": pack.get("layer")}
                for pack in template.get("packs") or []
            ]
    return []


def packs(session: Session) -> Iterator[Item]:
    catalogue = Catalogue(session.client, session.run)
    name, cloud = session.params.get("name"), session.params.get("cloud")
    for spec in catalogue.search(name):
        if cloud and spec.get("cloudTypes") and not {cloud, "all"} & set(spec["cloudTypes"]):
            continue
        item = {
            "name": spec["name"],
            "display_name": spec.get("displayName") or spec["name"],
            "layer": spec.get("layer"),
            "type": spec.get("type"),
            "clouds": spec.get("cloudTypes") or [],
            "registries": [holder["name"] for holder in spec.get("registries") or []],
            "latest_version": next((one.get("latestVersion") for one in spec.get("registries") or []), None),
        }
        if name:
            found = catalogue.pack(name, session.params.get("registry"))
            item["versions"] = sorted(found.versions, key=order, reverse=True)
            newest = item["versions"][0] if item["versions"] else None
            item["values"] = found.values.get(found.versions.get(newest or "", ""), "")
        yield item


def edge_host_list(session: Session) -> Iterator[Item]:
    wanted = {key: session.params[key] for key in ("uid", "name", "state") if session.params.get(key)}
    tags = {
        str(key): text(value if value is not None else "") for key, value in (session.params.get("tags") or {}).items()
    }
    for host in sorted(edge_hosts(session.client), key=lambda host: (host["name"], host["uid"])):
        if wanted.items() <= host.items() and tags.items() <= host["tags"].items():
            yield shown(host)


def registries(session: Session) -> Iterator[Item]:
    yield from chosen(session, Catalogue(session.client, session.run).registries())


CLOUD_CHOICE = {"type": "str", "choices": list(clouds.NAMES)}

PROJECTS = info_operation("projects", projects)
CLOUD_ACCOUNTS = info_operation("cloud_accounts", cloud_accounts)
CLUSTER_PROFILES = info_operation("cluster_profiles", cluster_profiles, {"version": {"type": "str"}})
CLUSTERS = info_operation("clusters", cluster_list)
PACKS = info_operation("packs", packs, {"cloud": CLOUD_CHOICE, "registry": {"type": "str"}})
EDGE_HOSTS = info_operation(
    "edge_hosts",
    edge_host_list,
    {
        "uid": {"type": "str"},
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["ready", "unpaired", "in-use"]},
    },
)
REGISTRIES = info_operation("registries", registries)
