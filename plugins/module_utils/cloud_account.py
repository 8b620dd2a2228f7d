# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cloud accounts: the credentials by which the management plane works in a cloud."""

from __future__ import annotations

import dataclasses
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils import clouds
from ansible_collections.paletteops.modes.plugins.module_utils.client import Client
from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import Cloud
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, flatten, hint, unknown
from ansible_collections.paletteops.modes.plugins.module_utils.fields import Field, Values, decode, encode
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Session
from ansible_collections.paletteops.modes.plugins.module_utils.resource import NAME, TAGS, Resource
from ansible_collections.paletteops.modes.plugins.module_utils.run import Index, Run

#: The annotation in which the API keeps an account's private cloud gateway.
GATEWAY = "overlordUid"

CLOUD = Field("cloud", api="kind", choices=clouds.WITH_ACCOUNT, immutable="Make another account for the other cloud.")
CREDENTIALS = Field("credentials", api="spec", type="dict", fields=clouds.union("account"))
PRIVATE_CLOUD_GATEWAY = Field("private_cloud_gateway", api="metadata.annotations.overlordUid")


def accounts(client: Client) -> list[dict[str, Any]]:
    """All cloud accounts of the scope as ``{name, uid, cloud}``, from one call."""
    answer = client.get("/v1/dashboard/cloudaccounts/metadata")
    return [
        {"name": item["metadata"]["name"], "uid": item["metadata"]["uid"], "cloud": item.get("kind")}
        for item in answer["items"]
    ]


def gateways(client: Client) -> list[dict[str, Any]]:
    """All private cloud gateways as ``{name, uid}``."""
    answer = client.get("/v1/overlords", tenant=True)
    return [{"name": item["metadata"]["name"], "uid": item["metadata"]["uid"]} for item in answer["items"]]


def account_index(client: Client, run: Run) -> Index:
    """The accounts of the scope, by one call that the tasks of a run share."""
    return run.index(client.key(CloudAccount.kind, tenant=False), lambda: accounts(client))


def account_uid(client: Client, run: Run, name: str, cloud: str, check_mode: bool) -> str:
    """The uid of the account of that name. Raises where there is none, or where it is for another cloud.

    In check mode an account that an earlier task would have made counts; its uid is empty.
    """
    key = client.key(CloudAccount.kind, tenant=False)
    index = account_index(client, run)
    found = index.find(name=name)
    foretold = run.predicted(key, name) if check_mode else None
    if foretold:
        found = dict(foretold["spec"], uid="") if foretold["spec"] else None
    if found is None:
        known = [item["name"] for item in index.entries()]
        if check_mode:
            known += [spec["name"] for spec in run.predictions(key)]
        raise unknown(
            "cloud account",
            name,
            known,
            "Make it with paletteops.modes.cloud_account.",
        )
    if found.get("cloud") != cloud:
        fitting = [item["name"] for item in index.entries() if item.get("cloud") == cloud]
        raise PaletteError(
            f"The cloud account '{name}' is for {found.get('cloud')}, and the cluster is on {cloud}."
            + hint(name, fitting)
        )
    return str(found["uid"])


class CloudAccount(Resource):
    kind = "cloud_account"
    fields = (NAME, TAGS, CLOUD, CREDENTIALS, PRIVATE_CLOUD_GATEWAY)
    lists = ("tags",)
    behaviour = {
        "validate": {"type": "bool", "default": True},
        "update_secrets": {"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    }

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.cloud_name = self.params.get("cloud")

    @property
    def cloud(self) -> Cloud:
        return clouds.of(self.params["cloud"])

    def table(self) -> tuple[Field, ...]:
        if self.cloud_name not in clouds.WITH_ACCOUNT:
            return self.fields
        own = dataclasses.replace(CREDENTIALS, fields=clouds.of(self.cloud_name).account)
        return tuple(own if field is CREDENTIALS else field for field in self.fields)

    def listing(self) -> list[dict[str, Any]]:
        return accounts(self.client)

    def entry(self, after: Values) -> dict[str, Any]:
        return {"name": self.name, "cloud": self.cloud.name}

    def read(self, uid: str) -> dict[str, Any] | None:
        entry = self.index().find(uid=uid) or {}
        cloud = entry.get("cloud") or self.params.get("cloud")
        found: dict[str, Any] | None = self.client.find(f"/v1/cloudaccounts/{cloud}/{uid}")
        return dict(found, kind=cloud) if found else None

    def observe(self, raw: dict[str, Any]) -> Values:
        if raw["kind"] not in clouds.WITH_ACCOUNT or (self.params.get("cloud") or raw["kind"]) != raw["kind"]:
            # Of an account for another cloud only what all have is known: the comparison refuses it by its cloud.
            return dict(decode((NAME, TAGS, CLOUD), raw))
        self.cloud_name = raw["kind"]
        values = decode(self.table(), raw)
        uid = values["private_cloud_gateway"]
        if uid:
            entry = self._gateways().find(uid=uid)
            values["private_cloud_gateway"] = entry["name"] if entry else uid
        return values

    def _gateways(self) -> Any:
        return self.run.index(self.client.key("private_cloud_gateway"), lambda: gateways(self.client))

    def gateway_uid(self, name: str) -> str:
        index = self._gateways()
        found = index.find(name=name)
        if found is None:
            raise unknown("private cloud gateway", name, [item["name"] for item in index.entries()])
        return str(found["uid"])

    def wanted(self, before: Values | None) -> Values:
        wanted = super().wanted(before)
        if wanted["credentials"] is not None:
            wanted["credentials"] = clouds.typed(self.cloud.name, "account", wanted["credentials"], "credentials")
        return wanted

    def check(self, before: Values | None, after: Values) -> None:
        # Palette takes an account's change only as a whole, so its secrets are needed again.
        sending = before is None or self.differs(before, after)
        findings = self.cloud.check_account(after.get("credentials") or {}, sending)
        gateway = after.get("private_cloud_gateway")
        if self.cloud.gateway and not gateway:
            names = [item["name"] for item in self._gateways().entries()]
            findings.append(
                f"private_cloud_gateway is missing, and an account for {self.cloud.name} works through one."
                + hint("", names)
            )
        if gateway and not self.cloud.gateway:
            findings.append(f"private_cloud_gateway is '{gateway}', and {self.cloud.name} uses none. Take it out.")
        if findings:
            raise PaletteError(flatten(findings))
        if gateway:
            self.gateway_uid(gateway)

    def body(self, after: Values, uid: str = "") -> dict[str, Any]:
        values = dict(after, cloud=None)
        if after.get("private_cloud_gateway"):
            values["private_cloud_gateway"] = self.gateway_uid(after["private_cloud_gateway"])
        body = encode(self.table(), values)
        if uid:
            body["metadata"]["uid"] = uid
        return body

    def validate(self, body: dict[str, Any]) -> None:
        """Lets the plane try the credentials before they are stored: by the gateway where there is one."""
        if not self.params["validate"]:
            return
        if self.cloud.gateway:
            gateway = body["metadata"]["annotations"][GATEWAY]
            path, content = f"/v1/overlords/{self.cloud.name}/{gateway}/account/validate", {"account": body["spec"]}
        else:
            path, content = f"/v1/clouds/{self.cloud.name}/account/validate", body["spec"]
        self.client.search(path, content)

    def create(self, after: Values) -> str:
        body = self.body(after)
        self.validate(body)
        return self.client.create(f"/v1/cloudaccounts/{self.cloud.name}", body)

    def update(self, raw: dict[str, Any], before: Values, after: Values) -> None:
        uid = raw["metadata"]["uid"]
        body = self.body(after, uid)
        # An update replaces the whole account, so what no option covers is handed back.
        kept = raw["metadata"].get("annotations") or {}
        body["metadata"]["annotations"] = dict(kept, **(body["metadata"].get("annotations") or {}))
        body["spec"] = dict(raw.get("spec") or {}, **body.get("spec", {}))
        if self.params["update_secrets"] == "always" or before.get("credentials") != after.get("credentials"):
            self.validate(body)
        self.client.put(f"/v1/cloudaccounts/{self.cloud.name}/{uid}", body)

    def delete(self, raw: dict[str, Any]) -> None:
        self.client.delete(f"/v1/cloudaccounts/{raw['kind']}/{raw['metadata']['uid']}")
