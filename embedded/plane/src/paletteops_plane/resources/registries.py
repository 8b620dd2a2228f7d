# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries: read only, those of the catalogue."""

from __future__ import annotations

from typing import Any

from paletteops_plane.catalogue import DEFAULT_REGISTRY, Registry, catalogue, known_registry
from paletteops_plane.errors import ApiError
from paletteops_plane.filters import filtered, ordered
from paletteops_plane.paging import page
from paletteops_plane.routing import Call, operation

#: The kinds as the path names them, and the field that holds the synchronisation's state.
_SYNC_FIELDS = {"pack": "packSyncStatus", "helm": "helmSyncStatus"}

_NO_AUTHENTICATION = {"type": "noAuth"}


@operation("GET /v1/registries/metadata")
def list_metadata(call: Call) -> dict[str, Any]:
    # All of the catalogue's registries are the system's: a tenant adds none to this plane.
    registries = [] if call.query.get("scope") == "tenant" else catalogue().registries
    return {"items": [metadata_of(registry) for registry in registries]}


def metadata_of(registry: Registry) -> dict[str, Any]:
    return {
        "uid": registry.uid,
        "name": registry.name,
        "kind": registry.kind,
        "isDefault": registry.name == DEFAULT_REGISTRY,
        "isPrivate": False,
        "scope": "system",
    }


def _metadata(call: Call, registry: Registry) -> dict[str, Any]:
    return {**call.plane.new_metadata(registry.name, registry.uid), **_times(call)}


def _times(call: Call) -> dict[str, str]:
    """The catalogue came with the data file."""
    began = call.plane.store.setting("began")
    return {"creationTimestamp": began, "lastModifiedTimestamp": began}


def _sync(call: Call, registry: Registry) -> dict[str, Any]:
    began = call.plane.store.setting("began")
    return {
        "isSyncSupported": True,
        "lastRunTime": began,
        "lastSyncedTime": call.plane.store.setting(f"registry:{registry.uid}:synced") or began,
        "message": "",
        "status": "Success",
    }


def _routes(kind: str) -> None:
    base = f"/v1/registries/{kind}"

    def whole(call: Call, registry: Registry) -> dict[str, Any]:
        private = "private" if kind == "pack" else "isPrivate"
        return {
            "kind": kind,
            "metadata": _metadata(call, registry),
            "spec": {
                "auth": _NO_AUTHENTICATION,
                "endpoint": registry.endpoint,
                "name": registry.name,
                "registryUid": registry.uid,
                "scope": "system",
                private: False,
            },
            "status": {_SYNC_FIELDS[kind]: _sync(call, registry)},
        }

    def listed(call: Call, items: list[dict[str, Any]]) -> dict[str, Any]:
        chosen, listmeta = page(ordered(filtered(items, call.query), call.query), call.query)
        return {"items": chosen, "listmeta": listmeta}

    @operation(f"GET {base}")
    def list_registries(call: Call) -> dict[str, Any]:
        return listed(call, [whole(call, registry) for registry in _of_kind(call, kind)])

    @operation(f"GET {base}/summary")
    def list_summaries(call: Call) -> dict[str, Any]:
        private = "private" if kind == "pack" else "isPrivate"
        summaries = [
            {
                "metadata": _metadata(call, registry),
                "spec": {"endpoint": registry.endpoint, private: False, "scope": "system"},
                "status": {"sync": _sync(call, registry)},
            }
            for registry in _of_kind(call, kind)
        ]
        return listed(call, summaries)

    @operation(f"GET {base}/{{uid}}")
    def get(call: Call) -> dict[str, Any]:
        return whole(call, _registry(call, kind))

    @operation(f"POST {base}/{{uid}}/sync")
    def sync(call: Call) -> None:
        _synchronise(call, _registry(call, kind))

    @operation(f"GET {base}/{{uid}}/sync/status")
    def sync_status(call: Call) -> dict[str, Any]:
        return _sync(call, _registry(call, kind))


for _kind in ("pack", "helm"):
    _routes(_kind)


@operation("GET /v1/registries/oci/summary")
def list_oci(call: Call) -> dict[str, Any]:
    return {
        "items": [
            {
                "metadata": _metadata(call, registry),
                "spec": {
                    "endpoint": registry.endpoint,
                    "isPrivate": False,
                    "providerType": registry.provider,
                    "registryType": "basic",
                    "scope": "system",
                },
                "status": {"sync": _sync(call, registry)},
            }
            for registry in _of_kind(call, "oci")
        ]
    }


@operation("GET /v1/registries/oci/{uid}")
def get_oci(call: Call) -> dict[str, Any]:
    registry = _registry(call, "oci")
    return {
        "auth": _NO_AUTHENTICATION,
        "endpoint": registry.endpoint,
        "providerType": registry.provider,
        "scope": "system",
        "type": "basic",
    }


@operation("GET /v1/registries/oci/{uid}/basic")
def get_basic_oci(call: Call) -> dict[str, Any]:
    registry = _registry(call, "oci")
    return {
        "kind": "oci",
        "metadata": _metadata(call, registry),
        "spec": {
            "auth": _NO_AUTHENTICATION,
            "endpoint": registry.endpoint,
            "isSyncSupported": True,
            "providerType": registry.provider,
            "registryUid": registry.uid,
            "scope": "system",
        },
        "status": {"syncStatus": _sync(call, registry)},
    }


@operation("POST /v1/registries/oci/{uid}/basic/sync")
def sync_basic_oci(call: Call) -> None:
    _synchronise(call, _registry(call, "oci"))


@operation("GET /v1/registries/oci/{uid}/basic/sync/status")
def basic_oci_sync_status(call: Call) -> dict[str, Any]:
    return _sync(call, _registry(call, "oci"))


def _of_kind(call: Call, kind: str) -> list[Registry]:
    if call.query.get("scope") == "tenant":
        return []
    return [registry for registry in catalogue().registries if registry.kind == kind]


def _registry(call: Call, kind: str) -> Registry:
    registry = known_registry(call.path["uid"])
    if registry.kind != kind:
        raise ApiError("ResourceNotFound", f"the registry {registry.name!r} is of kind {registry.kind}, not {kind}")
    return registry


def _synchronise(call: Call, registry: Registry) -> None:
    call.plane.store.set_setting(f"registry:{registry.uid}:synced", call.plane.clock.timestamp())
