# SPDX-License-Identifier: GPL-3.0-or-later
"""The pack catalogue."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from paletteops_plane.catalogue import Pack, catalogue, parent_tags
from paletteops_plane.errors import ApiError, not_found
from paletteops_plane.filters import filtered, ordered
from paletteops_plane.paging import page
from paletteops_plane.resources.projects import matches
from paletteops_plane.resources.registries import known_registry
from paletteops_plane.routing import Call, operation

_SORT_FIELDS = {
    "name": lambda pack: pack.name,
    "type": lambda pack: pack.kind,
    "layer": lambda pack: pack.layer,
    "addOnType": lambda pack: pack.addon_type,
    "displayName": lambda pack: pack.display_name,
}


@operation("GET /v1/packs")
def list_packs(call: Call) -> dict[str, Any]:
    found = filtered([_summary(call, pack) for pack in catalogue().packs], call.query)
    chosen, listmeta = page(ordered(found, call.query), call.query)
    return {"items": chosen, "listmeta": listmeta}


@operation("POST /v1/packs/search")
def search(call: Call) -> dict[str, Any]:
    wanted = call.body.get("filter", {})
    packs = [pack for pack in catalogue().packs if _matches(pack, wanted)]
    for key in reversed(call.body.get("sort", [])):
        packs.sort(key=_SORT_FIELDS[key.get("field", "name")], reverse=key.get("order") == "desc")
    by_name: dict[str, list[Pack]] = {}
    for pack in packs:
        by_name.setdefault(pack.name, []).append(pack)
    chosen, listmeta = page([_metadata(call, versions) for versions in by_name.values()], call.query)
    return {"items": chosen, "listmeta": listmeta}


def _matches(pack: Pack, wanted: dict[str, Any]) -> bool:
    environments = wanted.get("environment")
    return (
        ("name" not in wanted or matches(pack.name, wanted["name"]))
        and ("displayName" not in wanted or matches(pack.display_name, wanted["displayName"]))
        and (not environments or "all" in environments or any(pack.fits(cloud) for cloud in environments))
        and (not wanted.get("layer") or pack.layer in wanted["layer"])
        and (not wanted.get("type") or pack.kind in wanted["type"])
        and (not wanted.get("addOnType") or pack.addon_type in wanted["addOnType"])
        and (not wanted.get("registryUid") or pack.registry.uid in wanted["registryUid"])
        and not wanted.get("isFips")
    )


@operation("GET /v1/packs/{uid}")
def get(call: Call) -> dict[str, Any]:
    pack = catalogue().by_uid.get(call.path["uid"])
    if pack is None:
        raise not_found("pack", call.path["uid"])
    return _tags([pack])


@operation("GET /v1/packs/{packName}/registries/{registryUid}")
def list_versions(call: Call) -> dict[str, Any]:
    registry = known_registry(call.plane, call.path["registryUid"])
    name = call.path["packName"]
    versions = [
        pack
        for pack in catalogue().versions(name, registry.uid)
        if pack.fits(call.query.get("cloudType", "all")) and pack.layer == call.query.get("layer", pack.layer)
    ]
    if not versions:
        raise ApiError("ResourceNotFound", f"no pack named {name!r} in the registry {registry.name!r}", {"name": name})
    return _tags(versions)


def _tags(versions: list[Pack]) -> dict[str, Any]:
    """Versions of one pack (v1PackTagEntity)."""
    first = versions[0]
    return {
        **_described(first),
        "registryUid": first.registry.uid,
        "packValues": [
            {
                "packUid": pack.uid,
                "values": pack.values,
                "dependencies": [],
                "presets": list(pack.presets),
                "schema": [],
            }
            for pack in versions
        ],
        "tags": [
            {
                "packUid": pack.uid,
                "tag": pack.version,
                "version": pack.version,
                "parentTags": parent_tags(pack.version),
                "group": pack.group,
            }
            for pack in versions
        ],
    }


def _described(pack: Pack) -> dict[str, Any]:
    return {
        "name": pack.name,
        "displayName": pack.display_name,
        "layer": pack.layer,
        "cloudTypes": list(pack.clouds),
        "addonType": pack.addon_type,
        "addonSubType": "",
        "logoUrl": "",
    }


def spec_of(pack: Pack) -> dict[str, Any]:
    """A pack as the API shows it (v1PackSummarySpec)."""
    return {
        **_described(pack),
        "digest": pack.digest,
        "group": pack.group,
        "registryUid": pack.registry.uid,
        "type": pack.kind,
        "values": pack.values,
        "version": pack.version,
        "manifests": [],
        "presets": list(pack.presets),
        "schema": [],
    }


def _pack_metadata(call: Call, name: str, uid: str) -> dict[str, Any]:
    began = call.plane.store.setting("began")
    return {"name": name, "uid": uid, "creationTimestamp": began, "lastModifiedTimestamp": began}


def _summary(call: Call, pack: Pack) -> dict[str, Any]:
    return {
        "kind": "pack",
        "metadata": _pack_metadata(call, pack.name, pack.uid),
        "spec": spec_of(pack),
        "status": {},
    }


def _metadata(call: Call, versions: list[Pack]) -> dict[str, Any]:
    """A pack by its name, with the newest version in each registry (v1PackMetadata)."""
    first = versions[0]
    by_registry = groupby(sorted(versions, key=lambda pack: pack.registry.uid), key=lambda pack: pack.registry)
    return {
        "kind": "pack",
        "metadata": _pack_metadata(call, first.name, first.uid),
        "spec": {
            "name": first.name,
            "displayName": first.display_name,
            "layer": first.layer,
            "type": first.kind,
            "cloudTypes": list(first.clouds),
            "addonType": first.addon_type,
            "addonSubType": "",
            "group": first.group,
            "registries": [
                {
                    "uid": registry.uid,
                    "name": registry.name,
                    "scope": "system",
                    "latestVersion": newest.version,
                    "latestPackUid": newest.uid,
                    "logoUrl": "",
                }
                for registry, newest in ((registry, next(packs)) for registry, packs in by_registry)
            ],
        },
    }
