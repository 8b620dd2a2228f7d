# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pack catalogue: registries, and the packs in them with their versions and default values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils.client import Client
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, hint, unknown
from ansible_collections.paletteops.modes.plugins.module_utils.run import Run


@dataclasses.dataclass(frozen=True)
class Pack:
    """One pack of one registry.

    versions   version to pack uid
    values     pack uid to the version's default values, as YAML text
    """

    name: str
    layer: str
    type: str
    cloud_types: list[str]
    registry_uid: str
    registry: str
    versions: dict[str, str]
    values: dict[str, str]


class Catalogue:
    """What can be put into cluster profiles. Answers are shared by all tasks of a run."""

    def __init__(self, client: Client, run: Run) -> None:
        self.client = client
        self.run = run
        self._registries: list[dict[str, Any]] | None = None

    def registries(self) -> list[dict[str, Any]]:
        """All registries as ``{name, uid, kind, scope, is_default, is_private}``."""

        def fetch() -> list[dict[str, Any]]:
            return [
                {
                    "name": item["name"],
                    "uid": item["uid"],
                    "kind": item.get("kind"),
                    "scope": item.get("scope"),
                    "is_default": bool(item.get("isDefault")),
                    "is_private": bool(item.get("isPrivate")),
                }
                for item in self.client.get("/v1/registries/metadata")["items"]
            ]

        if self._registries is None:  # asked for each pack
            self._registries = self.run.index(self.client.key("registry", tenant=False), fetch).entries()
        return self._registries

    def registry_name(self, uid: str | None) -> str | None:
        if uid is None:
            return None
        return next((item["name"] for item in self.registries() if item["uid"] == uid), uid)

    def search(self, name: str | None = None) -> Iterator[dict[str, Any]]:
        """Packs of all registries, without their versions: ``v1PackMetadata`` specs."""
        criteria = {"filter": {"name": {"eq": name, "ignoreCase": False}}} if name else {}
        for item in self.client.pages("/v1/packs/search", criteria):
            yield item["spec"]

    def names(self) -> list[str]:
        key = self.client.key("pack names", tenant=False)
        found: list[str] = self.run.cached(key, lambda: sorted({spec["name"] for spec in self.search()}))
        return found

    def pack(self, name: str, registry: str | None = None) -> Pack:
        """The pack of that name, in the named registry or in the one that holds it (the default one where several do).

        Raises PaletteError with the nearest names where there is none.
        """
        specs: list[dict[str, Any]] = self.run.cached(
            self.client.key(f"pack {name}", tenant=False), lambda: list(self.search(name))
        )
        if not specs:
            raise unknown("pack", name, self.names())
        spec = specs[0]
        holders = [holder for item in specs for holder in item.get("registries") or []]
        uid = self._registry_uid(name, holders, registry)
        entity = self.run.cached(
            self.client.key(f"pack {name} in {uid}", tenant=False),
            lambda: self.client.get(f"/v1/packs/{name}/registries/{uid}"),
        )
        tags = entity.get("tags") or []
        return Pack(
            name=name,
            layer=entity.get("layer") or spec.get("layer") or "addon",
            type=spec.get("type") or "spectro",
            cloud_types=entity.get("cloudTypes") or spec.get("cloudTypes") or [],
            registry_uid=uid,
            registry=self.registry_name(uid) or "",
            versions={item.get("version") or item["tag"]: item["packUid"] for item in tags},
            values={item["packUid"]: item.get("values") or "" for item in entity.get("packValues") or []},
        )

    def _registry_uid(self, name: str, holders: list[dict[str, Any]], registry: str | None) -> str:
        if registry:
            known = self.registries()
            found = next((item for item in known if item["name"] == registry), None)
            if found is None:
                raise unknown("registry", registry, [item["name"] for item in known])
            if found["uid"] not in [holder["uid"] for holder in holders]:
                names = [holder["name"] for holder in holders]
                raise PaletteError(f"The registry '{registry}' does not hold the pack '{name}'.{hint(registry, names)}")
            return str(found["uid"])
        if len(holders) == 1:
            return str(holders[0]["uid"])
        defaults = {item["uid"] for item in self.registries() if item["is_default"]}
        chosen = next((holder for holder in holders if holder["uid"] in defaults), holders[0])
        return str(chosen["uid"])
