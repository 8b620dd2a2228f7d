# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Projects: the scopes of a tenant in which clusters, cluster profiles and cloud accounts live."""

from __future__ import annotations

from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils.fields import Values, decode, encode
from ansible_collections.paletteops.modes.plugins.module_utils.resource import (
    DESCRIPTION,
    NAME,
    TAGS,
    Resource,
    metadata_body,
)


class Project(Resource):
    kind = "project"
    fields = (NAME, DESCRIPTION, TAGS)
    lists = ("tags",)
    tenant = True

    def listing(self) -> list[dict[str, Any]]:
        return self.client.projects()

    def read(self, uid: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.client.find(f"/v1/projects/{uid}", tenant=True)
        return found

    def observe(self, raw: dict[str, Any]) -> Values:
        return decode(self.fields, raw)

    def create(self, after: Values) -> str:
        return self.client.create("/v1/projects", encode(self.fields, after), tenant=True)

    def update(self, raw: dict[str, Any], before: Values, after: Values) -> None:
        uid = raw["metadata"]["uid"]
        self.client.put(f"/v1/projects/{uid}/meta", dict(metadata_body(raw, after), uid=uid), tenant=True)

    def delete(self, raw: dict[str, Any]) -> None:
        self.client.delete(f"/v1/projects/{raw['metadata']['uid']}", tenant=True)
