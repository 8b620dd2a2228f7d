# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters: on infrastructure that the management plane provides, and of the user's own hosts."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils import clouds, versions, wait
from ansible_collections.paletteops.modes.plugins.module_utils.client import Client
from ansible_collections.paletteops.modes.plugins.module_utils.cloud_account import account_index, account_uid
from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import (
    POOL,
    POOL_KEYS,
    Cloud,
    check_pools,
    control_plane_first,
    is_label,
    pool_labels,
)
from ansible_collections.paletteops.modes.plugins.module_utils.cluster_profile import (
    MANIFESTS,
    PACK_VALUES,
    facts_key,
    manifests_of,
    resolve_profile,
)
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, flatten, hint, unknown
from ansible_collections.paletteops.modes.plugins.module_utils.fields import (
    Field,
    Values,
    changed_fields,
    decode,
    encode,
    show,
    text,
)
from ansible_collections.paletteops.modes.plugins.module_utils.members import Members
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Result, Session
from ansible_collections.paletteops.modes.plugins.module_utils.resource import (
    DESCRIPTION,
    NAME,
    TAGS,
    Resource,
    metadata_body,
)

NEW_CLUSTER = "Make a new cluster for that."

PACK = (Field("name"), PACK_VALUES, MANIFESTS)

PROFILE = (
    Field("name"),
    Field("version"),
    Field("variables", type="dict"),
    Field("packs", type="list", elements="dict", fields=PACK, key="name"),
)

CLOUD_ACCOUNT = Field("cloud_account", needed=True, immutable=NEW_CLUSTER)
CLOUD_CONFIG = Field("cloud_config", type="dict", fields=clouds.union("cluster"))
POOLS = Field("pools", type="list", elements="dict", fields=POOL + clouds.union("pool"), key="name", needed=True)
PROFILES = Field("profiles", type="list", elements="dict", fields=PROFILE, key="name", needed=True)

#: Profile types that bring a whole cluster; it has exactly one of them.
INFRASTRUCTURE = ("cluster", "infra")


def clusters(client: Client) -> list[dict[str, Any]]:
    """All clusters of the project as ``{name, uid}``, from one call."""
    client.project_uid()
    if client.foretold:
        return []
    answer = client.get("/v1/dashboard/spectroclusters/metadata")
    return [{"name": item["name"], "uid": item["uid"]} for item in answer["items"]]


def name_findings(name: str) -> list[str]:
    """What is wrong with the name of a new cluster."""
    if is_label(name):
        return []
    return [
        f"name is '{show(name)}', and a cluster's name is made of lower case letters, digits and hyphens, at most 63, "
        "with a letter or digit at both ends. Name it so."
    ]


def require_project(client: Client) -> None:
    if not client.scope:
        raise PaletteError(
            "No project is set, and clusters live in one. Set the option project, module_defaults for "
            "group/paletteops.modes.palette, or the environment variable PALETTE_PROJECT."
        )


class Cluster(Resource):
    kind = "cluster"
    fields = (
        NAME,
        DESCRIPTION,
        TAGS,
        Field("cloud", choices=clouds.NAMES, immutable=NEW_CLUSTER),
        CLOUD_ACCOUNT,
        CLOUD_CONFIG,
        PROFILES,
        POOLS,
    )
    lists = (
        "tags",
        "profiles",
        "pools",
        "additional_labels",
        "additional_annotations",
        "additional_tags",
        "subnets",
        "hosts",
    )
    behaviour = dict(
        wait.WAIT_SPEC,
        wait={"type": "bool", "default": False},
        upgrade={"type": "bool", "default": False},
        approve_repave={"type": "bool", "default": False},
        force_delete={"type": "bool", "default": False},
        force_delete_after={"type": "int", "default": 1200},
        update_secrets={"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        require_project(self.client)
        if "wait_timeout" in self.params:
            wait.check_limits(self.params)
        self.profile_uids: dict[str, str] = {}
        self.secret_variables: dict[str, dict[str, str]] = {}
        self.attached_types: dict[str, str] = {}
        self.named_variables: dict[str, dict[str, str]] = {}
        self.sensitive: dict[str, set[str]] = {}
        self.updated_profiles = False
        self.deleting = False
        self.members = Members(session, self.name, self.cloud) if self._of_hosts() else None

    def _of_hosts(self) -> bool:
        """Whether the cluster is made of the user's hosts."""
        return self.params.get("cloud") in clouds.CLOUDS and bool(self.cloud.members)

    @property
    def cloud(self) -> Cloud:
        return clouds.of(self.params["cloud"])

    def table(self) -> tuple[Field, ...]:
        if self.params.get("cloud") not in clouds.CLOUDS:
            return self.fields
        own = {
            CLOUD_CONFIG.name: dataclasses.replace(CLOUD_CONFIG, fields=self.cloud.cluster),
            POOLS.name: dataclasses.replace(POOLS, fields=self.cloud.pool_fields),
            CLOUD_ACCOUNT.name: CLOUD_ACCOUNT if self.cloud.account else Field(CLOUD_ACCOUNT.name),
        }
        return tuple(own.get(field.name, field) for field in self.fields)

    # --- what is ---

    def listing(self) -> list[dict[str, Any]]:
        return clusters(self.client)

    def read(self, uid: str) -> dict[str, Any] | None:
        raw: dict[str, Any] | None = self.client.find(f"/v1/spectroclusters/{uid}")
        if raw is None or (raw.get("status") or {}).get("state") == "Deleted":
            return None
        cloud, config = raw["spec"].get("cloudType"), (raw["spec"].get("cloudConfigRef") or {}).get("uid")
        if cloud in clouds.CLOUDS and config and self.params["state"] != "absent":
            raw["cloudConfig"] = self.client.get(f"/v1/cloudconfigs/{cloud}/{config}")
        return raw

    def observe(self, raw: dict[str, Any]) -> Values:
        values = decode((NAME, DESCRIPTION, TAGS), raw)
        values["cloud"] = raw["spec"].get("cloudType")
        self.deleting = is_deleting(raw)
        if "cloudConfig" not in raw or values["cloud"] != self.params.get("cloud"):
            return values
        spec = raw["cloudConfig"]["spec"]
        values["cloud_account"] = self._account_name(spec.get("cloudAccountRef") or {})
        values["cloud_config"] = decode(self.cloud.cluster, spec.get("clusterConfig"))
        values["pools"] = [decode(self.cloud.pool_fields, pool) for pool in spec.get("machinePoolConfig") or []]
        values["profiles"] = self._observed_profiles(raw)
        return values

    def _account_name(self, reference: dict[str, Any]) -> str | None:
        name: str | None = reference.get("name")
        if name or not reference.get("uid"):
            return name
        entry = account_index(self.client, self.run).find(uid=reference["uid"])
        return str(entry["name"] if entry else reference["uid"])

    def _observed_profiles(self, raw: dict[str, Any]) -> list[Values]:
        """The attached profiles, with the variables and packs which the task names of them."""
        uid = raw["metadata"]["uid"]
        named = {item["name"]: item for item in self.params.get("profiles") or []}
        with_variables = any(item.get("variables") is not None for item in named.values())
        variables = self._cluster_variables(uid) if with_variables else {}
        manifests = self._cluster_manifests(uid, named) if named else {}
        found = []
        for template in raw["spec"].get("clusterProfileTemplates") or []:
            name = template.get("name")
            self.profile_uids[name] = template["uid"]
            self.attached_types[name] = template.get("type") or ""
            wanted = named.get(name) or {}
            packs = {item["name"] for item in wanted.get("packs") or []}
            found.append(
                {
                    "name": name,
                    "version": template.get("profileVersion"),
                    "variables": variables.get(template["uid"], {}),
                    "packs": [
                        {
                            "name": pack["name"],
                            "values": pack.get("values") or None,
                            "manifests": manifests.get(name, {}).get(pack["name"], []),
                        }
                        for pack in template.get("packs") or []
                        if pack["name"] in packs
                    ],
                }
            )
            self.sensitive[name] = self.sensitive.pop(template["uid"], set())
        return found

    def _cluster_variables(self, uid: str) -> dict[str, dict[str, str]]:
        """The values of the cluster's variables by profile uid; those of sensitive ones are not known."""
        found: dict[str, dict[str, str]] = {}
        for item in self.client.get(f"/v1/spectroclusters/{uid}/variables") or []:
            known = item.get("variables") or []
            self.sensitive[item["profileUid"]] = {one["name"] for one in known if one.get("isSensitive")}
            found[item["profileUid"]] = {
                one["name"]: str(one.get("value") if one.get("value") is not None else one.get("defaultValue") or "")
                for one in known
                if not one.get("isSensitive")
            }
        return found

    def _cluster_manifests(self, uid: str, named: dict[str, Values]) -> dict[str, dict[str, list[Values]]]:
        overrides = [pack for item in named.values() for pack in item.get("packs") or []]
        if not any(pack.get("manifests") is not None for pack in overrides):
            return {}
        answer = self.client.get(f"/v1/spectroclusters/{uid}/profiles/packs/manifests")
        return {item["metadata"]["name"]: manifests_of(item) for item in answer["profiles"]}

    # --- what is wanted ---

    def wanted(self, before: Values | None) -> Values:
        wanted = super().wanted(before)
        if before is not None and before["cloud"] != self.cloud.name:
            return {"cloud": self.cloud.name}  # refused as a change that cannot be made
        if wanted["cloud_config"] is not None:
            wanted["cloud_config"] = clouds.typed(self.cloud.name, "cluster", wanted["cloud_config"], "cloud_config")
        if before is None and wanted["cloud_config"] is None:
            wanted["cloud_config"] = {}
        if wanted["pools"] is not None:
            pools = (before or {}).get("pools") or []
            known = {pool["name"]: pool for pool in pools}
            wanted["pools"] = [self._wanted_pool(pool, known.get(pool["name"])) for pool in wanted["pools"]]
            if self.members:
                self.members.findings = []
                wanted["pools"] = [
                    pool if pool.get("state") == "absent" else self.members.wanted(pool, pools, self.params["purge"])
                    for pool in wanted["pools"]
                ]
                if self.members.findings:
                    raise PaletteError(flatten(self.members.findings))
        if wanted["profiles"] is not None:
            attached = {item["name"]: item for item in (before or {}).get("profiles") or []}
            wanted["profiles"] = [self._wanted_profile(item, attached.get(item["name"])) for item in wanted["profiles"]]
        return wanted

    def _wanted_pool(self, pool: Values, before: Values | None) -> Values:
        pool = clouds.typed_pool(self.cloud.name, pool, f"pools.{pool['name']}")
        if pool.get("state") == "absent":
            return pool
        if self.members:
            return pool
        if pool["max_size"] == 0:
            pool["min_size"] = 0
        most = pool["max_size"] if pool["max_size"] is not None else (before or {}).get("max_size")
        if not most:
            return pool
        if before is None:
            if pool["min_size"] is None and pool["size"] is not None:
                pool["min_size"] = min(pool["size"], most)
        elif pool["size"] is not None or pool["max_size"] or pool["min_size"]:
            # The autoscaler moves the size between its bounds, and is not fought there.
            least = pool["min_size"] if pool["min_size"] is not None else before.get("min_size") or 0
            pool["size"] = min(max(before["size"], least), most)
        return pool

    def _wanted_profile(self, item: Values, before: Values | None) -> Values:
        item = dict(item)
        if item.get("state") == "absent":
            return item
        version = versions.choose(item.get("version"), (before or {}).get("version"), self.params["upgrade"])
        if version is None:
            entry, version = resolve_profile(self.client, self.session, item["name"], item.get("version"))
            if before is None or version != before["version"]:
                self.profile_uids[item["name"]] = entry["uid"]
        item["version"] = version
        if item.get("variables") is not None:
            item["variables"] = self._wanted_variables(item, before)
        return item

    def _wanted_variables(self, item: Values, before: Values | None) -> dict[str, str]:
        """The variables to compare. Values of sensitive ones are taken out, to be sent but never shown."""
        name = item["name"]
        given = {str(key): text(value) for key, value in item["variables"].items()}
        sensitive = self.sensitive.get(name, set())
        known = set((before or {}).get("variables") or {}) | sensitive
        moved = before is None or before["version"] != item["version"]
        if moved or not set(given) <= known:
            facts = self._profile_facts(name, item["version"])
            sensitive = sensitive | {one["name"] for one in facts["variables"] if one.get("is_sensitive")}
            known = {one["name"] for one in facts["variables"]}
        for key in given:
            if key not in known:
                raise PaletteError(
                    f"profiles.{name}.variables.{key}: the cluster profile '{name}' version {item['version']} has no "
                    f"variable of that name.{hint(key, known)}"
                )
        for key in sensitive & set(given):
            self.secret_variables.setdefault(name, {})[key] = given[key]
            self.session.hide(given.pop(key))
        self.named_variables[name] = given
        return given

    def _profile_facts(self, name: str, version: str) -> dict[str, Any]:
        """Type, cloud, pack names and variables of a profile that is to be attached; one reading a run."""
        uid = self.profile_uids.get(name)
        if not uid:
            for spec in self.run.predictions(self.client.key("cluster_profile", tenant=False)):
                if spec["name"] == name and spec["version"] == version:
                    return {
                        "type": spec.get("type"),
                        "cloud": spec.get("cloud"),
                        "packs": [pack["name"] for pack in spec.get("packs") or []],
                        "variables": spec.get("variables") or [],
                    }

        def fetch() -> dict[str, Any]:
            raw = self.client.get(f"/v1/clusterprofiles/{uid}")
            content = raw["spec"].get("published") or raw["spec"].get("draft") or {}
            variables = self.client.get(f"/v1/clusterprofiles/{uid}/variables").get("variables") or []
            return {
                "type": content.get("type"),
                "cloud": content.get("cloudType"),
                "packs": [pack["name"] for pack in content.get("packs") or []],
                "variables": [
                    {
                        "name": one["name"],
                        "is_sensitive": bool(one.get("isSensitive")),
                        "required": bool(one.get("required")),
                        "regex": one.get("regex") or "",
                        "has_default": bool(one.get("defaultValue")),
                    }
                    for one in variables
                ],
            }

        facts: dict[str, Any] = self.run.cached(facts_key(self.client, uid or ""), fetch)
        return facts

    def check(self, before: Values | None, after: Values) -> None:
        if self.deleting:
            raise PaletteError(f"The cluster '{self.name}' is being deleted. Wait until it is gone, then run again.")
        findings: list[str] = []
        if before is None:
            findings += name_findings(self.name)
        config, pools = after.get("cloud_config") or {}, after.get("pools") or []
        old = (before or {}).get("pools")
        findings += check_pools(pools, old, self.cloud.members, bool(config.get("two_node")))
        findings += self.cloud.check_cluster(config, pools)
        if self.members:
            findings += self.members.check(old or [], pools)
        if after.get("cloud_account") and not self.cloud.account:
            findings.append(
                f"cloud_account is '{after['cloud_account']}', and {self.cloud.name} takes none: its machines are your "
                "hosts. Take it out."
            )
        findings += self._check_profiles(before, after)
        if findings:
            raise PaletteError(flatten(findings))
        if before is None and self.cloud.account:
            account_uid(self.client, self.run, after["cloud_account"], self.cloud.name, self.session.check_mode)

    def _check_profiles(self, before: Values | None, after: Values) -> list[str]:
        """Whether profiles that are new or moved to another version fit the cloud, their overrides and each other."""
        findings: list[str] = []
        attached = {item["name"]: item for item in (before or {}).get("profiles") or []}
        infrastructure: list[str] = []
        for item in after.get("profiles") or []:
            name, old = item["name"], attached.get(item["name"])
            where = f"profiles.{name}"
            if old is not None and old["version"] == item["version"]:
                present = {pack["name"] for pack in old.get("packs") or []}
                unknown_packs = [pack["name"] for pack in item.get("packs") or [] if pack["name"] not in present]
                if not unknown_packs and old.get("variables") == item.get("variables"):
                    if self.attached_types.get(name) in INFRASTRUCTURE:
                        infrastructure.append(name)
                    continue
            facts = self._profile_facts(name, item["version"])
            if facts["type"] in INFRASTRUCTURE:
                infrastructure.append(name)
            if facts["cloud"] not in (self.cloud.name, "all", None):
                findings.append(
                    f"{where}: the cluster profile is for {facts['cloud']}, and the cluster is on {self.cloud.name}. "
                    f"Name a profile for {self.cloud.name}."
                )
            for pack in item.get("packs") or []:
                if pack["name"] not in facts["packs"]:
                    findings.append(
                        f"{where}.packs.{pack['name']}: the profile has no such pack."
                        + hint(pack["name"], facts["packs"])
                    )
            given = set(item.get("variables") or {}) | set(self.secret_variables.get(name, {}))
            for variable in facts["variables"]:
                findings += self._value_findings(name, variable)
                lacking = variable.get("required") and not variable.get("has_default", variable.get("default_value"))
                if lacking and variable["name"] not in given and not variable.get("is_sensitive"):
                    findings.append(
                        f"{where}.variables.{variable['name']} is required by the profile. Give it a value."
                    )
        return findings + self._infrastructure_findings(before, infrastructure)

    def _infrastructure_findings(self, before: Values | None, found: list[str]) -> list[str]:
        """A cluster has its infrastructure from exactly one profile; ``found`` names those that bring one."""
        if len(found) == 1 or (before is not None and not self.attached_types):
            return []  # of a cluster that is only foretold the types are not known
        lost = [name for name, kind in self.attached_types.items() if kind in INFRASTRUCTURE]
        if lost and not found:
            return [
                f"profiles.{lost[0]} brings the cluster's infrastructure, and cannot be detached. Name the profile "
                "that takes its place, or delete the cluster."
            ]
        named = " and ".join(f"'{name}'" for name in found) or "none"
        way_out = f"To swap them, give '{lost[0]}' state: absent." if lost else "Name one."
        return [
            f"profiles: a cluster has exactly one profile of type cluster or infra, and here it is {named}. {way_out}"
        ]

    def _value_findings(self, profile: str, variable: dict[str, Any]) -> list[str]:
        """Whether the value that the task gives a variable matches the variable's regular expression."""
        secret = self.secret_variables.get(profile, {}).get(variable["name"])
        value = self.named_variables.get(profile, {}).get(variable["name"], secret)
        pattern = variable.get("regex")
        if value is None or not pattern:
            return []
        with contextlib.suppress(re.error):  # what only the plane understands, the plane checks
            if not re.search(pattern, value):
                shown = "the value" if secret is not None else f"'{show(value)}'"
                return [
                    f"profiles.{profile}.variables.{variable['name']}: {shown} does not match {pattern}. Correct it."
                ]
        return []

    # --- writing ---

    def _pool_body(self, pool: Values, raw: dict[str, Any] | None = None) -> dict[str, Any]:
        """A pool of a request: ``cloudConfig`` and ``poolConfig``, with what no option covers handed back."""
        config, common = encode(self.cloud.pool, pool), encode(POOL, pool)
        common["labels"] = pool_labels(pool)
        for key in ("minSize", "maxSize"):
            if not common.get(key):
                common.pop(key, None)
        if raw is not None:
            for key in self.cloud.pool_keys:
                if key in raw:
                    config.setdefault(key, raw[key])
            for key in POOL_KEYS:
                if key in raw:
                    common[key] = raw[key]
            self.cloud.carry(raw, config)
        return {"cloudConfig": config, "poolConfig": common}

    def _profile_body(self, item: Values, replaces: str | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {"uid": self.profile_uids[item["name"]]}
        # Values that the task does not name stay with the cluster when a profile takes another's place.
        variables = self._variable_bodies(item["name"], self.named_variables.get(item["name"]))
        if variables:
            body["variables"] = variables
        packs = encode((Field("packs", type="list", fields=PACK),), {"packs": item.get("packs") or []})["packs"]
        if packs:
            body["packValues"] = packs
        if replaces:
            body["replaceWithProfile"] = replaces
        return body

    def _variable_bodies(self, profile: str, values: dict[str, str] | None) -> list[dict[str, str]]:
        """Values of a profile's variables for a request, with those of the sensitive ones that the task names."""
        whole = dict(values or {}, **self.secret_variables.get(profile, {}))
        return [{"name": key, "value": value} for key, value in sorted(whole.items())]

    def create(self, after: Values) -> str:
        account = {}
        if self.cloud.account:
            uid = account_uid(self.client, self.run, after["cloud_account"], self.cloud.name, False)
            account = {"cloudType": self.cloud.name, "cloudAccountUid": uid}
        body = {
            "metadata": encode((NAME, DESCRIPTION, TAGS), after)["metadata"],
            "spec": {
                **account,
                "cloudConfig": encode(self.cloud.cluster, after["cloud_config"]),
                "machinepoolconfig": [self._pool_body(pool) for pool in control_plane_first(after["pools"])],
                "profiles": [self._profile_body(item) for item in after["profiles"]],
            },
        }
        uid = self.client.create(f"/v1/spectroclusters/{self.cloud.name}", body)
        if self.members:
            self.members.settled(uid, after["pools"], [])
        return uid

    def sends_secrets(self) -> bool:
        # Secrets of a cluster are the values of sensitive variables; without one there is nothing to send.
        return super().sends_secrets() and bool(self.secret_variables)

    def pending(self, raw: dict[str, Any]) -> bool:
        return bool(self.params["approve_repave"]) and repave_state(raw) == "Pending"

    def update(self, raw: dict[str, Any], before: Values, after: Values) -> None:
        path = f"/v1/spectroclusters/{raw['metadata']['uid']}"
        if repave_state(raw) == "Pending":
            if not self.params["approve_repave"]:
                reasons = wait.repave_reasons(self.client, raw["metadata"]["uid"])[1]
                raise PaletteError(
                    f"The cluster '{self.name}' waits for somebody to approve a repave, and takes no changes until "
                    f"then: {'; '.join(reasons)}. {wait.APPROVE}."
                )
            self.client.patch(path + "/repave/approve")
        changed = changed_fields(self.table(), before, after)
        if {"tags", "description"} & set(changed):
            self.client.patch(path + "/metadata", {"metadata": metadata_body(raw, after)})
        config = f"/v1/cloudconfigs/{self.cloud.name}/{raw['spec']['cloudConfigRef']['uid']}"
        if "cloud_config" in changed:
            # Only what differs: a default that nobody named must not be sent for something that cannot be changed.
            was = before.get("cloud_config") or {}
            named = {key: value for key, value in after["cloud_config"].items() if value != was.get(key)}
            whole = overlay(raw["cloudConfig"]["spec"].get("clusterConfig") or {}, encode(self.cloud.cluster, named))
            self.client.put(config + "/clusterConfig", {"clusterConfig": whole})
        if "pools" in changed:
            pools = before["pools"]
            if self.members:
                pools = self.members.grown(pools, after["pools"])
                self._update_pools(config, raw, before["pools"], pools)
                self.members.take_out(config, pools, after["pools"])
            self._update_pools(config, raw, pools, after["pools"])
            if self.members:
                self.members.settled(raw["metadata"]["uid"], after["pools"], before["pools"])
        secrets = self.sends_secrets()
        if "profiles" in changed or secrets:
            self._update_profiles(path, raw, before["profiles"], after["profiles"], secrets)

    def _update_pools(self, config: str, raw: dict[str, Any], before: list[Values], after: list[Values]) -> None:
        old = {pool["name"]: pool for pool in before}
        raws = {pool["name"]: pool for pool in raw["cloudConfig"]["spec"].get("machinePoolConfig") or []}
        for pool in control_plane_first(after):
            if pool["name"] not in old:
                self.client.request("POST", config + "/machinePools", body=self._pool_body(pool), repeatable=False)
            elif pool != old[pool["name"]]:
                self.client.put(f"{config}/machinePools/{pool['name']}", self._pool_body(pool, raws[pool["name"]]))
        for name in sorted(set(old) - {pool["name"] for pool in after}):
            self.client.delete(f"{config}/machinePools/{name}")

    def _update_profiles(
        self, path: str, raw: dict[str, Any], before: list[Values], after: list[Values], secrets: bool
    ) -> None:
        self.updated_profiles = True
        attached = {item["name"]: item["uid"] for item in raw["spec"].get("clusterProfileTemplates") or []}
        old = {item["name"]: item for item in before}
        gone = sorted(set(old) - {item["name"] for item in after})
        # A cluster is never without its infrastructure: the profile that brings it is swapped, not detached.
        swapped = next((name for name in gone if self.attached_types.get(name) in INFRASTRUCTURE), None)
        detached = [attached[name] for name in gone if name != swapped]
        if detached:
            self.client.delete(path + "/profiles", body={"profileUids": detached})
        profiles, variables = [], []
        for item in after:
            name = item["name"]
            was = old.get(name)
            if was is None:
                takes_over = swapped and self._profile_facts(name, item["version"])["type"] in INFRASTRUCTURE
                profiles.append(
                    self._profile_body(item, replaces=attached[swapped] if swapped and takes_over else None)
                )
            elif was["version"] != item["version"] or was.get("packs") != item.get("packs"):
                profiles.append(self._profile_body(item, replaces=attached[name]))
            elif was.get("variables") != item.get("variables") or (secrets and name in self.secret_variables):
                values = self._variable_bodies(name, item.get("variables"))
                variables.append({"profileUid": attached[name], "variables": values})
        if profiles:
            self.client.request(
                "PATCH", path + "/profiles", body={"profiles": profiles}, query={"resolveNotification": True}
            )
        if variables:
            self.client.patch(path + "/variables", variables)

    def settle(self, uid: str, changed: bool) -> Result:
        more: Result = {}
        # Whoever waits for a cluster of this run learns of all of them by one call.
        if changed:
            self.run.submit(wait.key(self.client), uid, self.name)
        else:
            self.run.submitted(wait.key(self.client), uid, self.name)
        if self.updated_profiles:
            more.update(self._settle_repave(uid))
        if self.params["wait"]:
            known = wait.Waiter(self.session, uid, self.name).until_ready()
            more["status"] = {key: known[key] for key in ("state", "health", "nodes", "healthy_nodes")}
        return more

    def _settle_repave(self, uid: str) -> Result:
        state, reasons = wait.repave_reasons(self.client, uid)
        if state != "Pending":
            return {}
        if self.params["approve_repave"]:
            self.client.patch(f"/v1/spectroclusters/{uid}/repave/approve")
            self.session.tell(f"repave approved: {'; '.join(reasons)}")
            return {"repave": {"state": "Approved", "reasons": reasons}}
        self.session.warn(
            f"The cluster '{self.name}' takes the change only after its nodes are repaved, and waits for approval: "
            f"{'; '.join(reasons)}. {wait.APPROVE}."
        )
        return {"repave": {"state": "Pending", "reasons": reasons}}

    # --- removal ---

    def leaving(self, raw: dict[str, Any]) -> bool:
        forced = self.params["force_delete"] and not self.params["wait"]
        return is_deleting(raw) and not forced

    def delete(self, raw: dict[str, Any]) -> None:
        query = {"forceDelete": True} if is_deleting(raw) else None
        self.client.delete(f"/v1/spectroclusters/{raw['metadata']['uid']}", query=query)

    def settle_absent(self, uid: str) -> bool:
        self.run.finish(wait.key(self.client), uid)
        if not self.params["wait"]:
            return False
        after = self.params["force_delete_after"] if self.params["force_delete"] else None
        wait.Waiter(self.session, uid, self.name).until_gone(after)
        return True


def is_deleting(raw: dict[str, Any]) -> bool:
    return bool((raw.get("status") or {}).get("state") == "Deleting")


def repave_state(raw: dict[str, Any]) -> str:
    return str(((raw.get("status") or {}).get("repave") or {}).get("state") or "")


def overlay(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """``top`` laid over ``base``, objects within objects too."""
    merged = dict(base)
    for key, value in top.items():
        merged[key] = (
            overlay(merged[key], value) if isinstance(value, dict) and isinstance(merged.get(key), dict) else value
        )
    return merged


def find_cluster(session: Session, name: str) -> dict[str, Any]:
    """The listing entry of a cluster. Raises PaletteError with the nearest names where there is none.

    In check mode a cluster that an earlier task of the run would have made counts; its uid is empty.
    """
    require_project(session.client)
    key = session.client.key("cluster", tenant=False)
    index = session.run.index(key, lambda: clusters(session.client))
    entry = index.find(name=name)
    foretold = session.run.predicted(key, name) if session.check_mode else None
    if foretold:
        entry = (entry or {"name": name, "uid": ""}) if foretold["spec"] else None
    if entry is None:
        raise unknown("cluster", name, [item["name"] for item in index.entries()])
    return entry
