# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cluster profiles: the layers of a cluster as versioned lists of packs."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils import clouds, versions
from ansible_collections.paletteops.modes.plugins.module_utils.catalogue import Catalogue, Pack
from ansible_collections.paletteops.modes.plugins.module_utils.client import Client
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, flatten, hint
from ansible_collections.paletteops.modes.plugins.module_utils.fields import (
    Field,
    Values,
    changed_fields,
    decode,
    encode,
    same,
)
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Session
from ansible_collections.paletteops.modes.plugins.module_utils.resource import (
    DESCRIPTION,
    NAME,
    TAGS,
    Resource,
    metadata_body,
)

ANOTHER_PACK = "Leave it out, or remove the pack first and add it anew."
ANOTHER = "Make another cluster profile for that."

#: The layers which a profile that makes a whole cluster has, once each.
INFRASTRUCTURE = ("os", "k8s", "cni", "csi")

#: What the API takes as the pack of a layer that is only manifests (Terraform provider, resource_cluster_profile.go).
MANIFEST_PACK_UID = "spectro-manifest-pack"

OPTION = (
    Field("value", needed=True),
    Field("label"),
    Field("description"),
    Field("default", type="bool"),
)

VARIABLE = (
    Field("name"),
    Field("display_name"),
    Field("description"),
    Field(
        "format",
        choices=("string", "number", "boolean", "ipv4", "ipv4cidr", "ipv6", "version", "base64"),
        assumed="string",
    ),
    Field("input_type", choices=("text", "dropdown", "multiline"), assumed="text"),
    Field("options", type="list", elements="dict", fields=OPTION, ordered=True),
    Field("default_value"),
    Field("regex"),
    Field("required", type="bool"),
    Field("hidden", type="bool"),
    Field("immutable", type="bool"),
    Field("is_sensitive", type="bool"),
)

MANIFEST = (Field("name"), Field("content", type="yaml", needed=True))

PACK_VALUES = Field("values", type="yaml")
MANIFESTS = Field("manifests", type="list", elements="dict", fields=MANIFEST, key="name")

PACK = (
    Field("name"),
    Field("version", api="tag"),
    Field("layer", choices=("kernel", "os", "k8s", "cni", "csi", "addon"), immutable=ANOTHER_PACK),
    Field("type", choices=("spectro", "helm", "manifest", "oci"), assumed="spectro", immutable=ANOTHER_PACK),
    Field("registry", api="registryUid", immutable=ANOTHER_PACK),
    PACK_VALUES,
    MANIFESTS,
)

VARIABLES = Field("variables", type="list", elements="dict", fields=VARIABLE, key="name")
PACKS = Field("packs", type="list", elements="dict", fields=PACK, key="name")


def profiles(client: Client) -> list[dict[str, Any]]:
    """All cluster profiles of the scope, each version one: ``{name, version, cloud, uid}``, from one call."""
    answer = client.get("/v1/dashboard/clusterprofiles/metadata")
    return [
        {
            "name": item["metadata"]["name"],
            "uid": item["metadata"]["uid"],
            "version": (item.get("spec") or {}).get("version") or "1.0.0",
            "cloud": (item.get("spec") or {}).get("cloudType"),
        }
        for item in answer["items"]
    ]


def facts_key(client: Client, uid: str) -> str:
    """Under which the run keeps what clusters need to know of a version of a profile."""
    return client.key(f"profile facts {uid}", tenant=False)


def manifests_of(answer: dict[str, Any]) -> dict[str, list[Values]]:
    """The manifests of a profile by pack, from a v1ClusterProfilePacksManifests."""
    found: dict[str, list[Values]] = {}
    for pack in (answer.get("spec") or {}).get("packs") or []:
        spec = pack.get("spec") or {}
        name = spec.get("name") or (pack.get("metadata") or {}).get("name")
        found[str(name)] = [
            {"name": item.get("name"), "content": item.get("content")} for item in spec.get("manifests") or []
        ]
    return found


def template(raw: dict[str, Any]) -> dict[str, Any]:
    """The newest content of a profile: what is not published yet, or what is."""
    spec = raw.get("spec") or {}
    return spec.get("draft") or spec.get("published") or {}


def unpublished(raw: dict[str, Any]) -> bool:
    """Whether a profile has content that clusters do not see: a draft, unless it is what is published already."""
    spec = raw.get("spec") or {}
    draft, published = spec.get("draft"), spec.get("published")
    return not published or (bool(draft) and draft != published)


class ClusterProfile(Resource):
    kind = "cluster_profile"
    fields = (
        NAME,
        Field("version", api="spec.version"),
        DESCRIPTION,
        TAGS,
        Field("cloud", choices=clouds.NAMES + ("all",), immutable=ANOTHER),
        Field("type", choices=("cluster", "infra", "add-on"), assumed="cluster", immutable=ANOTHER),
        VARIABLES,
        PACKS,
    )
    lists = ("tags", "variables", "packs", "manifests")
    behaviour = {
        "version": {"type": "str", "default": "1.0.0"},
        "publish": {"type": "bool", "default": True},
        "upgrade": {"type": "bool", "default": False},
    }

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.catalogue = Catalogue(self.client, self.run)
        self.secret_defaults: dict[str, str] = {}

    @property
    def version(self) -> str:
        return str(self.params["version"])

    @property
    def title(self) -> str:
        return f"cluster profile '{self.name}' version {self.version}"

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version}

    def entry(self, after: Values) -> dict[str, Any]:
        return dict(self.identity(), cloud=after.get("cloud"))

    def listing(self) -> list[dict[str, Any]]:
        return profiles(self.client)

    def read(self, uid: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.client.find(f"/v1/clusterprofiles/{uid}")
        return found

    # --- what is ---

    def observe(self, raw: dict[str, Any]) -> Values:
        content = template(raw)
        values = decode((NAME, DESCRIPTION, TAGS), raw)
        values["version"] = (raw.get("spec") or {}).get("version") or "1.0.0"
        values["cloud"] = content.get("cloudType")
        values["type"] = content.get("type") or "cluster"
        values["packs"] = [self._observed_pack(pack) for pack in content.get("packs") or []]
        named = [pack for pack in self.params.get("packs") or [] if pack.get("manifests") is not None]
        if named or self.params.get("read_all"):
            self._observe_manifests(raw["metadata"]["uid"], values["packs"])
        if self.params.get("variables") is not None or self.params.get("read_all"):
            answer = self.client.get(f"/v1/clusterprofiles/{raw['metadata']['uid']}/variables")
            values["variables"] = [self._observed_variable(item) for item in answer.get("variables") or []]
        return values

    def _observed_pack(self, pack: dict[str, Any]) -> Values:
        # Manifests are references here; their content needs a call of its own and is read where a task names it.
        values = dict(decode(PACK, pack), manifests=None)
        values["registry"] = self.catalogue.registry_name(pack.get("registryUid") or None)
        values["version"] = values["version"] or pack.get("version")
        return values

    def _observe_manifests(self, uid: str, packs: list[Values]) -> None:
        found = manifests_of(self.client.get(f"/v1/clusterprofiles/{uid}/packs/manifests"))
        for pack in packs:
            pack["manifests"] = found.get(pack["name"], [])

    @staticmethod
    def _observed_variable(item: dict[str, Any]) -> Values:
        values = decode(VARIABLE, item)
        if values["is_sensitive"]:
            values["default_value"] = None
        return values

    # --- what is wanted ---

    def wanted(self, before: Values | None) -> Values:
        wanted = super().wanted(before)
        if before is None:
            wanted["type"] = wanted["type"] or "cluster"
            if wanted["type"] == "add-on":
                wanted["cloud"] = wanted["cloud"] or "all"
        kept = {pack["name"]: pack for pack in (before or {}).get("packs") or []}
        if wanted["packs"] is not None:
            wanted["packs"] = [self._wanted_pack(pack, kept.get(pack["name"])) for pack in wanted["packs"]]
        if wanted["variables"] is not None:
            known = {item["name"]: item for item in (before or {}).get("variables") or []}
            wanted["variables"] = [self._wanted_variable(item, known.get(item["name"])) for item in wanted["variables"]]
        return wanted

    def _wanted_pack(self, pack: Values, before: Values | None) -> Values:
        pack = dict(pack)
        if pack.get("state") == "absent" or (pack.get("type") or (before or {}).get("type")) == "manifest":
            if pack.get("state") != "absent" and before is None:
                pack["layer"] = pack.get("layer") or "addon"
            return pack
        current = (before or {}).get("version")
        version = versions.choose(pack.get("version"), current, self.params["upgrade"])
        if version is None or before is None:
            known = self.catalogue.pack(pack["name"], pack.get("registry"))
            what = f"the pack '{pack['name']}'"
            version = versions.resolve(pack.get("version") or "x", known.versions, what)
            if pack.get("layer") and pack["layer"] != known.layer:
                raise PaletteError(
                    f"packs.{pack['name']}.layer is '{pack['layer']}', and the pack belongs to '{known.layer}'. "
                    "Leave layer out, or name another pack."
                )
            pack["layer"] = known.layer
            pack["type"] = pack.get("type") or known.type
            if before is None:
                pack["registry"] = pack.get("registry") or known.registry
            if pack.get("values") is None:
                pack["values"] = self._default_values(known, version, before)
        pack["version"] = version
        return pack

    @staticmethod
    def _default_values(known: Pack, version: str, before: Values | None) -> str | None:
        """The new version's defaults, unless somebody has changed those of the version before."""
        new = known.values.get(known.versions[version], "")
        if before is None:
            return new
        old = known.values.get(known.versions.get(before.get("version") or "", ""))
        untouched = old is not None and same(PACK_VALUES, old, before.get("values") or "")
        return new if untouched else None

    def _wanted_variable(self, item: Values, before: Values | None) -> Values:
        item = dict(item)
        sensitive = item.get("is_sensitive")
        if sensitive is None:
            sensitive = (before or {}).get("is_sensitive")
        if sensitive and item.get("default_value") is not None:
            self.secret_defaults[item["name"]] = item.pop("default_value")
            self.session.hide(self.secret_defaults[item["name"]])
        return item

    def check(self, before: Values | None, after: Values) -> None:
        findings: list[str] = []
        if not re.fullmatch(r"\d+\.\d+\.\d+", self.version):
            findings.append(
                f"version is '{self.version}', and a cluster profile's version has three numbers, such as 1.2.0."
            )
        if not after.get("cloud"):
            findings.append(
                f"cloud is missing, and a profile of type {after['type']} is for one.{hint('', clouds.NAMES)}"
            )
        packs = after.get("packs") or []
        layers: dict[str, list[str]] = {}
        for pack in packs:
            layers.setdefault(pack.get("layer") or "addon", []).append(pack["name"])
        if after["type"] in ("cluster", "infra"):
            cloud = clouds.CLOUDS.get(after.get("cloud") or "")
            needed = cloud.layers if cloud else INFRASTRUCTURE
            findings += [
                f"packs: the layer {layer} is missing, and a profile of type {after['type']} has {', '.join(needed)}. "
                "Add a pack of that layer."
                for layer in needed
                if layer not in layers
            ]
        named = {pack["name"] for pack in self.params.get("packs") or []}
        for layer in INFRASTRUCTURE:
            if len(layers.get(layer, [])) > 1:
                kept = [name for name in layers[layer] if name not in named]
                way_out = "Keep one of them."
                if kept:
                    way_out = (
                        f"{' and '.join(kept)} stays of the profile as it is, since packs that are not named stay. "
                        "Name it with state absent, or make a new version of the profile."
                    )
                findings.append(f"packs: the layer {layer} has {' and '.join(layers[layer])}. {way_out}")
            if after["type"] == "add-on" and layer in layers:
                findings.append(
                    f"packs.{layers[layer][0]} belongs to the layer {layer}, and a profile of type add-on has none of "
                    "that. Take it out, or use type infra or cluster."
                )
        findings += self._foreign_packs(before, after)
        if findings:
            raise PaletteError(flatten(findings))

    def _foreign_packs(self, before: Values | None, after: Values) -> list[str]:
        """Packs that are new in the profile and do not fit its cloud."""
        present = {pack["name"] for pack in (before or {}).get("packs") or []}
        findings = []
        for pack in after.get("packs") or []:
            if pack["name"] in present or pack.get("type") == "manifest":
                continue
            fitting = self.catalogue.pack(pack["name"], pack.get("registry")).cloud_types
            if after.get("cloud") not in ("all", None) and fitting and not {"all", after["cloud"]} & set(fitting):
                findings.append(
                    f"packs.{pack['name']} is for {', '.join(fitting)}, and the profile is for {after['cloud']}. "
                    "Name a pack that fits the cloud."
                )
        return findings

    # --- writing ---

    def _pack_body(self, pack: Values, raw: dict[str, Any] | None) -> dict[str, Any]:
        """A pack of a request: what the plane has of it, with what is wanted laid over it."""
        body = encode(PACK, dict(pack, registry=None))
        body["name"] = pack["name"]
        if pack.get("type") == "manifest":
            body.update(uid=MANIFEST_PACK_UID, values=body.get("values", ""))
        elif raw is not None and raw.get("packUid") and (raw.get("tag") or raw.get("version")) == pack["version"]:
            body.update(uid=raw["packUid"], registryUid=raw.get("registryUid", ""))
        else:
            registry = self.catalogue.registry_name((raw or {}).get("registryUid")) if raw else pack.get("registry")
            known = self.catalogue.pack(pack["name"], registry)
            body.update(uid=known.versions[pack["version"]], registryUid=known.registry_uid)
        uids = {item["name"]: item["uid"] for item in (raw or {}).get("manifests") or []}
        for manifest in body.get("manifests") or []:
            if manifest["name"] in uids:
                manifest["uid"] = uids[manifest["name"]]
        if raw is not None and not body.get("manifests") and raw.get("manifests"):
            body.pop("manifests", None)
            if pack.get("manifests") is None:  # nobody named them, so they stay: a request without them drops them
                body["manifests"] = [{"name": item["name"], "uid": item["uid"]} for item in raw["manifests"]]
        return body

    def _variable_bodies(self, variables: list[Values]) -> list[dict[str, Any]]:
        return [
            encode(
                VARIABLE, dict(item, default_value=self.secret_defaults.get(item["name"], item.get("default_value")))
            )
            for item in variables
        ]

    def create(self, after: Values) -> str:
        body = {
            "metadata": encode((NAME, DESCRIPTION, TAGS), after)["metadata"],
            "spec": {
                "version": self.version,
                "template": {
                    "type": after["type"],
                    "cloudType": after["cloud"],
                    "packs": [self._pack_body(pack, None) for pack in after.get("packs") or []],
                },
                "variables": self._variable_bodies(after.get("variables") or []),
            },
        }
        return self.client.create("/v1/clusterprofiles", body, query={"publish": self.params["publish"]})

    def pending(self, raw: dict[str, Any]) -> bool:
        return bool(self.params["publish"]) and unpublished(raw)

    def update(self, raw: dict[str, Any], before: Values, after: Values) -> None:
        path = f"/v1/clusterprofiles/{raw['metadata']['uid']}"
        changed = changed_fields(self.fields, before, after)
        leaving: list[Values] = []
        if "variables" in changed:
            # A pack may use a variable only while it is there: new ones come before the packs, old ones go after them.
            names = {item["name"] for item in after["variables"]}
            leaving = [item for item in before["variables"] if item["name"] not in names]
            if leaving and "packs" in changed:
                self.client.put(path + "/variables", {"variables": self._variable_bodies(after["variables"] + leaving)})
            else:
                self.client.put(path + "/variables", {"variables": self._variable_bodies(after["variables"])})
                leaving = []
        if "packs" in changed:
            present = {pack["name"]: pack for pack in template(raw).get("packs") or []}
            packs = [self._pack_body(pack, present.get(pack["name"])) for pack in after["packs"]]
            body = {
                "metadata": {"name": self.name, "uid": raw["metadata"]["uid"]},
                "spec": {"version": self.version, "template": {"type": after["type"], "packs": packs}},
            }
            self.client.put(path, body)
        if leaving:
            self.client.put(path + "/variables", {"variables": self._variable_bodies(after["variables"])})
        if {"description", "tags"} & set(changed):
            body = {"metadata": metadata_body(raw, after), "spec": {"version": self.version}}
            self.client.patch(path + "/metadata", body)
        if self.params["publish"] and ("packs" in changed or unpublished(raw)):
            self.client.patch(path + "/publish")
        self.run.forget(facts_key(self.client, raw["metadata"]["uid"]))

    def delete(self, raw: dict[str, Any]) -> None:
        self.client.delete(f"/v1/clusterprofiles/{raw['metadata']['uid']}")


def resolve_profile(client: Client, session: Session, name: str, version: str | None) -> tuple[dict[str, Any], str]:
    """The profile of that name with the newest version that fits: its listing entry, and its version.

    In check mode a profile which an earlier task would have made counts; its uid is empty. Raises PaletteError with the
    nearest names or versions where there is none.
    """
    key = client.key(ClusterProfile.kind, tenant=False)
    index = session.run.index(key, lambda: profiles(client))
    foretold = session.run.predictions(key) if session.check_mode else []
    for fresh in (False, True):
        entries = index.entries(fresh=fresh)
        known = entries + [dict(spec, uid="") for spec in foretold if not _listed(entries, spec)]
        found = {entry["version"]: entry for entry in known if entry["name"] == name}
        wanted = version or "x"
        if any(versions.satisfies(item, wanted) for item in found):
            chosen = versions.resolve(wanted, found, f"the cluster profile '{name}'")
            return found[chosen], chosen
    if not found:
        names = [entry["name"] for entry in known]
        raise PaletteError(
            f"There is no cluster profile named '{name}'.{hint(name, names)} "
            "Make it with paletteops.modes.cluster_profile."
        )
    raise PaletteError(f"There is no version {version} of the cluster profile '{name}'.{hint(version or '', found)}")


def _listed(entries: list[dict[str, Any]], spec: dict[str, Any]) -> bool:
    return any(entry["name"] == spec["name"] and entry["version"] == spec["version"] for entry in entries)
