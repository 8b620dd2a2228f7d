# SPDX-License-Identifier: GPL-3.0-or-later
"""The template of a cluster profile: its packs, layer by layer, as they are stored, checked and shown.

Stored: ``{"type", "cloudType", "revision", "packs": [...]}``; a pack ``{"name", "uid", "tag", "version", "layer",
"type", "registryUid", "values", "manifests": [{"uid", "name", "content"}]}``. Values and manifests are kept as they
were sent, to the letter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from paletteops_plane.catalogue import INFRASTRUCTURE_LAYERS, MANIFEST_PACK_UID, Pack, Registry, catalogue
from paletteops_plane.errors import ApiError, invalid
from paletteops_plane.store import new_uid
from paletteops_plane.variables import references

#: The clouds for which this plane has clusters; ``all`` is for add-ons.
CLOUDS = ("aws", "vsphere", "edge-native")

#: Layers that a cluster of a cloud may be without: on hosts, storage is the user's.
OPTIONAL_LAYERS = {"edge-native": ("csi",)}

Template = dict[str, Any]
PackEntry = dict[str, Any]


@dataclass(frozen=True)
class Violation:
    """One rule that a template breaks."""

    code: str
    message: str
    field: str
    value: Any = None
    pack: str = ""

    def error(self) -> ApiError:
        return invalid(self.message, field=self.field, value=self.value, rule=self.code)


#: Finds a registry by its uid, those of the tenant included.
FindRegistry = Callable[[str], Registry | None]


def build_pack(
    sent: dict[str, Any], before: PackEntry | None, where: str, find_registry: FindRegistry | None = None
) -> PackEntry:
    """A pack as it is stored, resolved against the catalogue; 422 where there is no such pack.

    ``before`` is the pack of this name as it is stored: its manifests keep their uids. A chart of a registry that
    the tenant added is taken as it is named, since the plane cannot look into that registry.
    """
    name, kind = sent["name"], sent.get("type", "spectro")
    entry: PackEntry = {"name": name, "type": kind, "values": sent.get("values", "")}
    if kind == "manifest":
        tag = sent.get("tag", "")  # none is invented: a client would see a version that nobody asked for
        entry |= {"uid": sent.get("uid") or MANIFEST_PACK_UID, "tag": tag, "version": tag, "layer": "addon"}
        entry |= {"registryUid": sent.get("registryUid", "")}
    elif registry := _tenants(sent, find_registry):
        tag = sent.get("tag", "")
        if not tag or kind not in _HOLDS[registry.kind]:
            raise invalid(
                f"{where}: of the {registry.kind} registry {registry.name!r} name a chart of type "
                f"{' or '.join(_HOLDS[registry.kind])} with its version as tag",
                field=f"{where}.tag" if not tag else f"{where}.type",
                value=tag if not tag else kind,
            )
        entry |= {"uid": sent.get("uid", ""), "tag": tag, "version": tag, "layer": "addon"}
        entry |= {"registryUid": registry.uid}
    else:
        pack = catalogue().resolve(name, sent.get("tag", ""), sent.get("uid", ""), sent.get("registryUid", ""), where)
        entry |= {
            "uid": pack.uid,
            "tag": sent.get("tag") or pack.version,
            "version": pack.version,
            "layer": pack.layer,
            "type": pack.kind,
            "registryUid": pack.registry.uid,
        }
    if sent.get("layer") and sent["layer"] != entry["layer"]:
        raise invalid(
            f"{where}.layer: the pack {name!r} is of the layer {entry['layer']}, not {sent['layer']}",
            field=f"{where}.layer",
            value=sent["layer"],
        )
    entry["manifests"] = _build_manifests(sent.get("manifests", []), before, where)
    return entry


#: The types of packs that the kinds of registries hold which a tenant can add.
_HOLDS = {"helm": ("helm",), "oci": ("oci", "helm")}


def _tenants(sent: dict[str, Any], find_registry: FindRegistry | None) -> Registry | None:
    uid = sent.get("registryUid", "")
    if not uid or find_registry is None or catalogue().registry(uid) is not None:
        return None
    return find_registry(uid)


def _build_manifests(sent: list[dict[str, Any]], before: PackEntry | None, where: str) -> list[dict[str, Any]]:
    stored = before["manifests"] if before else []
    made: list[dict[str, Any]] = []
    for number, manifest in enumerate(sent):
        name = manifest.get("name", "")
        place = f"{where}.manifests[{number}]"
        if not name:
            raise invalid(f"{place}.name: a manifest needs a name", field=f"{place}.name")
        if any(other["name"] == name for other in made):
            raise invalid(f"{place}.name: the manifest {name!r} is there twice", field=f"{place}.name", value=name)
        uid = manifest.get("uid", "")
        known = next((old for old in stored if old["uid"] == uid or (not uid and old["name"] == name)), None)
        made.append({"uid": known["uid"] if known else new_uid(), "name": name, "content": manifest.get("content", "")})
    return made


def build(
    sent: dict[str, Any], before: Template | None, where: str, find_registry: FindRegistry | None = None
) -> Template:
    """A template as it is stored; its rules are not yet checked (``violations``)."""
    kind = sent.get("type") or (before["type"] if before else "cluster")
    default_cloud = before["cloudType"] if before else ("all" if kind == "add-on" else "")
    packs = []
    for number, pack in enumerate(sent.get("packs", [])):
        old = find_pack(before, pack["name"]) if before else None
        packs.append(build_pack(pack, old, f"{where}.packs[{number}]", find_registry))
    return {
        "type": kind,
        "cloudType": sent.get("cloudType") or default_cloud,
        "revision": before["revision"] if before else 1,
        "packs": packs,
    }


def find_pack(template: Template, name: str) -> PackEntry | None:
    return next((pack for pack in template["packs"] if pack["name"] == name), None)


def violations(template: Template, where: str) -> Iterator[Violation]:
    """The rules that a template breaks, most general first."""
    kind, cloud = template["type"], template["cloudType"]
    field = f"{where}.cloudType"
    if kind == "system":
        yield Violation(
            "ProfileTypeNotServed", f"{where}.type: this plane has no system profiles", f"{where}.type", kind
        )
        return
    if kind == "add-on":
        if cloud not in ("all", *CLOUDS):
            yield Violation("CloudTypeUnknown", f"{field}: {cloud!r} is none of all, {', '.join(CLOUDS)}", field, cloud)
    elif cloud not in CLOUDS:
        yield Violation(
            "CloudTypeUnknown",
            f"{field}: a profile of type {kind} is for one cloud of {', '.join(CLOUDS)}, not {cloud!r}",
            field,
            cloud,
        )
    names: set[str] = set()
    for number, pack in enumerate(template["packs"]):
        place = f"{where}.packs[{number}]"
        name, layer = pack["name"], pack["layer"]
        if name in names:
            yield Violation(
                "PackNameDuplicate",
                f"{place}.name: the pack {name!r} is there twice; say ALIAS--{name} for the second",
                f"{place}.name",
                name,
                name,
            )
        names.add(name)
        known = catalogue().by_uid.get(pack["uid"])
        if known is not None and not known.fits(cloud):
            yield Violation(
                "PackCloudMismatch",
                f"{place}: the pack {name!r} (layer {layer}) is for {', '.join(known.clouds)}, not for {cloud}",
                f"{place}.name",
                name,
                name,
            )
        if kind == "add-on" and layer != "addon":
            yield Violation(
                "PackLayerNotAllowed",
                f"{place}: the pack {name!r} is of the layer {layer}; an add-on profile has add-ons only",
                f"{place}.layer",
                layer,
                name,
            )
        if kind == "infra" and layer == "addon":
            yield Violation(
                "PackLayerNotAllowed",
                f"{place}: the pack {name!r} is an add-on; a profile of type infra has none (type cluster may)",
                f"{place}.layer",
                layer,
                name,
            )
    if kind in ("cluster", "infra"):
        for layer in INFRASTRUCTURE_LAYERS:
            of_layer = [pack["name"] for pack in template["packs"] if pack["layer"] == layer]
            if not of_layer and layer not in OPTIONAL_LAYERS.get(cloud, ()):
                yield Violation(
                    "PackLayerMissing",
                    f"{where}.packs: a profile of type {kind} needs a pack of the layer {layer}",
                    f"{where}.packs",
                    layer,
                )
            elif len(of_layer) > 1:
                yield Violation(
                    "PackLayerDuplicate",
                    f"{where}.packs: there is more than one pack of the layer {layer}: {', '.join(of_layer)}",
                    f"{where}.packs",
                    layer,
                    of_layer[1],
                )


def check(template: Template, where: str) -> None:
    """422 for the first rule that a template breaks."""
    for violation in violations(template, where):
        raise violation.error()


def used_variables(template: Template) -> set[str]:
    texts = [pack["values"] for pack in template["packs"]]
    texts += [manifest["content"] for pack in template["packs"] for manifest in pack["manifests"]]
    return references(texts)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pack_reference(pack: PackEntry) -> dict[str, Any]:
    """A pack as a profile and a cluster show it (v1PackRef)."""
    return {
        "name": pack["name"],
        "packUid": pack["uid"],
        "layer": pack["layer"],
        "tag": pack["tag"],
        "version": pack["version"],
        "type": pack["type"],
        "registryUid": pack["registryUid"],
        "values": pack["values"],
        "digest": digest(f"{pack['uid']}:{pack['version']}"),
        "manifests": [
            {"kind": "manifest", "name": manifest["name"], "uid": manifest["uid"]} for manifest in pack["manifests"]
        ],
    }


def catalogue_pack(pack: PackEntry) -> Pack | None:
    """The catalogue's pack behind an entry; none for one that is manifests alone."""
    return catalogue().by_uid.get(pack["uid"])
