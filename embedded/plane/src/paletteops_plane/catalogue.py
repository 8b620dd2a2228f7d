# SPDX-License-Identifier: GPL-3.0-or-later
"""The registries and packs that every plane offers; data in ``catalogue.yaml``.

Their uids follow from what they are (registry, name, version), so that they are the same on every plane and after
every upgrade. Read when first asked for.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from paletteops_plane.errors import ApiError, invalid

#: The uid that clients send for a layer that is manifests alone, and the registry they count it to.
MANIFEST_PACK_UID = "spectro-manifest-pack"
DEFAULT_REGISTRY = "Public Repo"

#: Layers that every cluster needs, in the order in which they are laid.
INFRASTRUCTURE_LAYERS = ("os", "k8s", "cni", "csi")


@dataclass(frozen=True)
class Registry:
    """Where packs come from. ``kind``: pack, helm or oci; ``provider``: what an oci registry holds."""

    uid: str
    name: str
    kind: str
    endpoint: str
    provider: str = ""
    #: ``system`` for those of the catalogue, ``tenant`` for those that a tenant added.
    scope: str = "system"
    private: bool = False


@dataclass(frozen=True)
class Pack:
    """One version of a pack."""

    uid: str
    name: str
    version: str
    display_name: str
    layer: str
    kind: str
    clouds: tuple[str, ...]
    registry: Registry
    values: str
    group: str = ""
    addon_type: str = ""
    #: Ready-made values (v1PackPreset).
    presets: tuple[dict[str, Any], ...] = ()

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(f"{self.uid}:{self.values}".encode()).hexdigest()

    def fits(self, cloud: str) -> bool:
        """May it be in a profile of this cloud; ``all`` is the cloud of profiles that have none."""
        return cloud in ("", "all") or "all" in self.clouds or cloud in self.clouds

    def answers_to(self, tag: str) -> bool:
        """Is it what a tag such as ``1.30.4`` or ``1.30.x`` may mean."""
        return tag == self.version or tag in parent_tags(self.version)


def parent_tags(version: str) -> list[str]:
    """The tags that move with the newest version: of 1.30.4, ``1.30.x`` and ``1.x``."""
    parts = version.split(".")
    return [".".join([*parts[:count], "x"]) for count in range(len(parts) - 1, 0, -1)]


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """For sorting versions; what is no number counts below what is."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.+-]", version))


def _uid(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Catalogue:
    """All registries and packs; packs are grouped by name and newest first."""

    registries: tuple[Registry, ...]
    packs: tuple[Pack, ...]
    by_uid: dict[str, Pack] = field(repr=False)

    def registry(self, uid: str) -> Registry | None:
        return next((registry for registry in self.registries if registry.uid == uid), None)

    def versions(self, name: str, registry_uid: str = "") -> list[Pack]:
        """The versions of a pack, newest first."""
        return [
            pack for pack in self.packs if pack.name == name and (not registry_uid or pack.registry.uid == registry_uid)
        ]

    def resolve(self, name: str, tag: str = "", uid: str = "", registry_uid: str = "", where: str = "pack") -> Pack:
        """The pack that a profile names, by uid or by name, tag and registry; 422 that names what is nearest.

        A name may have an alias before it (``blue--nginx``), so that a profile can hold a pack twice.
        """
        plain = name.rsplit("--", 1)[-1]
        if uid:
            pack = self.by_uid.get(uid)
            if pack is None:
                raise invalid(f"{where}: no pack with the uid {uid!r}", field=f"{where}.uid", value=uid)
            if pack.name != plain:
                raise invalid(
                    f"{where}: the uid {uid!r} is of the pack {pack.name!r}, not of {plain!r}",
                    field=f"{where}.uid",
                    value=uid,
                )
            if tag and not pack.answers_to(tag):
                # The tag is what the user reads, so it decides.
                return self._by_tag(plain, tag, pack.registry.uid, where)
            return pack
        if registry_uid and self.registry(registry_uid) is None:
            raise no_registry(registry_uid, where)
        return self._by_tag(plain, tag, registry_uid, where)

    def _by_tag(self, name: str, tag: str, registry_uid: str, where: str) -> Pack:
        versions = self.versions(name, registry_uid)
        if not versions:
            near = get_close_matches(name, sorted({pack.name for pack in self.packs}), n=3, cutoff=0.5)
            hint = f"; near: {', '.join(near)}" if near else ""
            raise invalid(f"{where}: no pack named {name!r}{hint}", field=f"{where}.name", value=name, near=near)
        if not tag:
            return versions[0]
        for pack in versions:
            if pack.answers_to(tag):
                return pack
        near = _nearest_versions(tag, [pack.version for pack in versions])
        raise invalid(
            f"{where}: the pack {name!r} has no version {tag!r}; near: {', '.join(near)}",
            field=f"{where}.tag",
            value=tag,
            near=near,
        )


def no_registry(uid: str, where: str) -> ApiError:
    return invalid(f"{where}.registryUid: no registry with the uid {uid!r}", field=f"{where}.registryUid", value=uid)


def _nearest_versions(tag: str, versions: list[str]) -> list[str]:
    """Versions that share the most leading parts with a tag, newest first."""

    def shared(version: str) -> int:
        count = 0
        for mine, other in zip(tag.split("."), version.split("."), strict=False):
            if mine != other:
                break
            count += 1
        return count

    return sorted(versions, key=shared, reverse=True)[:3]


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The catalogue, read once."""
    text = files("paletteops_plane").joinpath("catalogue.yaml").read_bytes()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data: dict[str, Any] = yaml.load(text, Loader=loader)
    registries = {item["name"]: Registry(**item) for item in data["registries"]}
    packs = []
    for item in data["packs"]:
        registry = registries[item["registry"]]
        for version in sorted(item["versions"], key=version_key, reverse=True):
            packs.append(
                Pack(
                    uid=_uid(registry.name, item["name"], version),
                    name=item["name"],
                    version=version,
                    display_name=item["displayName"],
                    layer=item["layer"],
                    kind=item.get("type", "spectro"),
                    clouds=tuple(item["clouds"]),
                    registry=registry,
                    values=item["values"].rstrip("\n"),
                    group=item.get("group", ""),
                    addon_type=item.get("addonType", ""),
                    presets=tuple(item.get("presets", ())),
                )
            )
    return Catalogue(tuple(registries.values()), tuple(packs), {pack.uid: pack for pack in packs})
