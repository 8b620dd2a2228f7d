# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries: those of the catalogue, and Helm and OCI registries that a tenant adds.

The plane speaks to nothing outside, so it cannot look into a registry that was added: such a one does not support
synchronising, and a profile names its charts by name and version.
"""

from __future__ import annotations

from typing import Any

from paletteops_plane.catalogue import DEFAULT_REGISTRY, Registry, catalogue
from paletteops_plane.errors import ApiError, invalid, name_taken, not_found
from paletteops_plane.filters import filtered, ordered
from paletteops_plane.metadata import fill, replace, required_name
from paletteops_plane.paging import page
from paletteops_plane.plane import Plane
from paletteops_plane.routing import Call, operation
from paletteops_plane.store import Document, NameTaken

KIND = "registry"

#: The secrets of ``spec.auth``: they go in and never come out; left empty in an update, the stored ones stay.
_SECRETS = ("password", "token")
_NO_AUTHENTICATION = {"type": "noAuth"}
_SCHEMES = ("https://", "http://", "oci://")


def find_registry(plane: Plane, uid: str) -> Registry | None:
    """A registry of the catalogue or of the tenant."""
    found = catalogue().registry(uid)
    if found is None:
        document = plane.store.get(KIND, uid)
        found = _registry_of(document) if document else None
    return found


def known_registry(plane: Plane, uid: str) -> Registry:
    """As ``find_registry``; 404 when there is none."""
    registry = find_registry(plane, uid)
    if registry is None:
        raise not_found("registry", uid)
    return registry


def metadata_of(registry: Registry) -> dict[str, Any]:
    """A registry as lists and packs show it (v1RegistryMetadata)."""
    return {
        "uid": registry.uid,
        "name": registry.name,
        "kind": registry.kind,
        "isDefault": registry.name == DEFAULT_REGISTRY and registry.scope == "system",
        "isPrivate": registry.private,
        "scope": registry.scope,
    }


def _registry_of(document: Document) -> Registry:
    spec = document.body["spec"]
    return Registry(
        uid=document.uid,
        name=document.name,
        kind=document.body["kind"],
        endpoint=spec["endpoint"],
        provider=spec.get("providerType", ""),
        scope="tenant",
        private=spec.get("isPrivate", False),
    )


def _in_scope(call: Call, kind: str | None = None) -> list[Registry]:
    scope = call.query.get("scope", "all")
    added = [_registry_of(document) for document in call.plane.store.list(KIND)]
    found = [registry for registry in (*catalogue().registries, *added) if scope in ("all", registry.scope)]
    return [registry for registry in found if kind in (None, registry.kind)]


@operation("GET /v1/registries/metadata")
def list_metadata(call: Call) -> dict[str, Any]:
    return {"items": [metadata_of(registry) for registry in _in_scope(call)]}


# What an answer is made of


def _document(call: Call, registry: Registry) -> Document | None:
    return call.plane.store.get(KIND, registry.uid) if registry.scope == "tenant" else None


def _metadata(call: Call, registry: Registry) -> dict[str, Any]:
    document = _document(call, registry)
    if document is not None:
        metadata: dict[str, Any] = document.body["metadata"]
        return metadata
    # The catalogue came with the data file.
    began = call.plane.store.setting("began")
    return {"name": registry.name, "uid": registry.uid, "creationTimestamp": began, "lastModifiedTimestamp": began}


def _sync(call: Call, registry: Registry) -> dict[str, Any]:
    began = _metadata(call, registry)["creationTimestamp"]
    return {
        "isSyncSupported": registry.scope == "system",
        "lastRunTime": began,
        "lastSyncedTime": call.plane.store.setting(f"registry:{registry.uid}:synced") or began,
        "message": "",
        "status": "Success",
    }


def _authentication(call: Call, registry: Registry) -> dict[str, Any]:
    document = _document(call, registry)
    if document is None:
        return _NO_AUTHENTICATION
    shown = {key: value for key, value in document.body["spec"]["auth"].items() if key not in _SECRETS}
    if "tls" in shown:
        shown["tls"] = {key: value for key, value in shown["tls"].items() if key != "key"}
    return shown


def _listed(call: Call, items: list[dict[str, Any]]) -> dict[str, Any]:
    chosen, listmeta = page(ordered(filtered(items, call.query), call.query), call.query)
    return {"items": chosen, "listmeta": listmeta}


def _registry(call: Call, kind: str) -> Registry:
    registry = known_registry(call.plane, call.path["uid"])
    if registry.kind != kind:
        raise ApiError("ResourceNotFound", f"the registry {registry.name!r} is of kind {registry.kind}, not {kind}")
    return registry


def _synchronise(call: Call, registry: Registry) -> None:
    call.plane.store.set_setting(f"registry:{registry.uid}:synced", call.plane.clock.timestamp())


# Changes


def _check_spec(spec: dict[str, Any], where: str) -> None:
    endpoint = spec["endpoint"]
    if not endpoint.startswith(_SCHEMES):
        raise invalid(
            f"{where}.endpoint: {endpoint!r} does not begin with one of {', '.join(_SCHEMES)}",
            field=f"{where}.endpoint",
            value=endpoint,
        )
    authentication = spec["auth"]
    wanted = {"basic": ("username", "password"), "token": ("token",)}.get(authentication.get("type", "noAuth"), ())
    for field in wanted:
        if not authentication.get(field):
            raise invalid(f"{where}.auth.{field}: is needed for this type", field=f"{where}.auth.{field}")


def _create(call: Call, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = call.body.get("metadata", {})
    document = Document(kind=KIND, name=required_name(metadata, "registry"), body={"kind": kind, "spec": spec})
    _check_spec(spec, "body.spec")
    fill(call.plane, document, metadata)
    taken = next((registry for registry in catalogue().registries if registry.name == document.name), None)
    if taken is not None:
        raise name_taken("registry", document.name, taken.uid)
    try:
        call.plane.store.add(document)
    except NameTaken as holder:
        raise name_taken("registry", document.name, holder.uid) from None
    return {"uid": document.uid}


def _changeable(call: Call, kind: str) -> Document:
    registry = _registry(call, kind)
    document = _document(call, registry)
    if document is None:
        raise ApiError("OperationForbidden", f"the registry {registry.name!r} is the system's and stays as it is")
    return document


def _update(call: Call, kind: str) -> None:
    document = _changeable(call, kind)
    stored, sent = document.body["spec"], call.body.get("spec", document.body["spec"])
    authentication = dict(sent["auth"])
    for secret in _SECRETS:
        if not authentication.get(secret) and stored["auth"].get(secret):
            authentication[secret] = stored["auth"][secret]
    document.body["spec"] = {**sent, "auth": authentication}
    _check_spec(document.body["spec"], "body.spec")
    replace(document, call.body.get("metadata", {}), "registry")
    try:
        call.plane.touch(document)
    except NameTaken as holder:
        raise name_taken("registry", document.name, holder.uid) from None


def _delete(call: Call, kind: str) -> None:
    document = _changeable(call, kind)
    profiles = [profile for profile in call.plane.store.list("clusterprofile") if document.uid in _registries(profile)]
    if profiles:
        names = ", ".join(sorted({profile.name for profile in profiles})[:5])
        raise ApiError("ResourceInUse", f"the registry {document.name!r} is used by the cluster profiles {names}")
    call.plane.store.delete(document.uid)


def _registries(profile: Document) -> set[str]:
    """The registries that a profile's packs come from."""
    found = (profile.body["_draft"], profile.body["_published"])
    return {pack["registryUid"] for template in found if template for pack in template["packs"]}


# Pack and Helm registries


def _routes(kind: str, status_field: str, private_field: str) -> None:
    base = f"/v1/registries/{kind}"

    def whole(call: Call, registry: Registry) -> dict[str, Any]:
        return {
            "kind": kind,
            "metadata": _metadata(call, registry),
            "spec": {
                "auth": _authentication(call, registry),
                "endpoint": registry.endpoint,
                "name": registry.name,
                "registryUid": registry.uid,
                "scope": registry.scope,
                private_field: registry.private,
            },
            "status": {status_field: _sync(call, registry)},
        }

    @operation(f"GET {base}")
    def list_registries(call: Call) -> dict[str, Any]:
        return _listed(call, [whole(call, registry) for registry in _in_scope(call, kind)])

    @operation(f"GET {base}/summary")
    def list_summaries(call: Call) -> dict[str, Any]:
        summaries = [
            {
                "metadata": _metadata(call, registry),
                "spec": {"endpoint": registry.endpoint, private_field: registry.private, "scope": registry.scope},
                "status": {"sync": _sync(call, registry)},
            }
            for registry in _in_scope(call, kind)
        ]
        return _listed(call, summaries)

    @operation(f"GET {base}/{{uid}}")
    def get(call: Call) -> dict[str, Any]:
        return whole(call, _registry(call, kind))

    @operation(f"POST {base}/{{uid}}/sync")
    def sync(call: Call) -> None:
        _synchronise(call, _registry(call, kind))

    @operation(f"GET {base}/{{uid}}/sync/status")
    def sync_status(call: Call) -> dict[str, Any]:
        return _sync(call, _registry(call, kind))


_routes("pack", "packSyncStatus", "private")
_routes("helm", "helmSyncStatus", "isPrivate")


@operation("POST /v1/registries/helm")
def create_helm(call: Call) -> dict[str, Any]:
    spec = {key: value for key, value in call.body.get("spec", {}).items() if key != "createOption"}
    if not spec:
        raise ApiError("InvalidRequest", "body.spec: is missing", {"field": "body.spec"})
    return _create(call, "helm", spec)


@operation("POST /v1/registries/helm/validate")
def validate_helm(call: Call) -> None:
    _check_spec(call.body, "body")


@operation("PUT /v1/registries/helm/{uid}")
def update_helm(call: Call) -> None:
    _update(call, "helm")


@operation("DELETE /v1/registries/helm/{uid}")
def delete_helm(call: Call) -> None:
    _delete(call, "helm")


# OCI registries


@operation("GET /v1/registries/oci/summary")
def list_oci(call: Call) -> dict[str, Any]:
    return {
        "items": [
            {
                "metadata": _metadata(call, registry),
                "spec": {
                    "endpoint": registry.endpoint,
                    "isPrivate": registry.private,
                    "providerType": registry.provider,
                    "registryType": "basic",
                    "scope": registry.scope,
                },
                "status": {"sync": _sync(call, registry)},
            }
            for registry in _in_scope(call, "oci")
        ]
    }


@operation("GET /v1/registries/oci/{uid}")
def get_oci(call: Call) -> dict[str, Any]:
    registry = _registry(call, "oci")
    return {
        "auth": _authentication(call, registry),
        "endpoint": registry.endpoint,
        "providerType": registry.provider,
        "scope": registry.scope,
        "type": "basic",
    }


@operation("GET /v1/registries/oci/{uid}/basic")
def get_basic_oci(call: Call) -> dict[str, Any]:
    registry = _registry(call, "oci")
    document = _document(call, registry)
    stored = document.body["spec"] if document else {}
    kept = ("basePath", "baseContentPath", "containsSpectroManifest")
    return {
        "kind": "oci",
        "metadata": _metadata(call, registry),
        "spec": {
            **{key: stored[key] for key in kept if key in stored},
            "auth": _authentication(call, registry),
            "endpoint": registry.endpoint,
            "isSyncSupported": registry.scope == "system",
            "providerType": registry.provider,
            "registryUid": registry.uid,
            "scope": registry.scope,
        },
        "status": {"syncStatus": _sync(call, registry)},
    }


@operation("POST /v1/registries/oci/basic")
def create_basic_oci(call: Call) -> dict[str, Any]:
    if "spec" not in call.body:
        raise ApiError("InvalidRequest", "body.spec: is missing", {"field": "body.spec"})
    return _create(call, "oci", {"providerType": "helm", **call.body["spec"]})


@operation("POST /v1/registries/oci/basic/validate")
def validate_basic_oci(call: Call) -> None:
    _check_spec(call.body, "body")


@operation("PUT /v1/registries/oci/{uid}/basic")
def update_basic_oci(call: Call) -> None:
    _update(call, "oci")


@operation("DELETE /v1/registries/oci/{uid}/basic")
def delete_basic_oci(call: Call) -> None:
    _delete(call, "oci")


@operation("POST /v1/registries/oci/{uid}/basic/sync")
def sync_basic_oci(call: Call) -> None:
    _synchronise(call, _registry(call, "oci"))


@operation("GET /v1/registries/oci/{uid}/basic/sync/status")
def basic_oci_sync_status(call: Call) -> dict[str, Any]:
    return _sync(call, _registry(call, "oci"))
