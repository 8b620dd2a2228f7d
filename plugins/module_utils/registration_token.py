# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Registration tokens: what a host shows when it registers with the plane for the first time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, unknown
from ansible_collections.paletteops.modes.plugins.module_utils.fields import Field, Values, changed_fields, decode
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Result, Session
from ansible_collections.paletteops.modes.plugins.module_utils.resource import DESCRIPTION, NAME, Resource

#: A hundred years: enough for any token, and few enough for any clock.
LONGEST = timedelta(days=36500)

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(value: str, option: str) -> datetime:
    """A moment as a user writes it: a date (its first second) or a date with a time, in UTC where no zone is named."""
    said = value.strip()
    said = re.sub(r"[zZ]$", "+00:00", said)
    said = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", said) if "T" in said or " " in said else said
    said = re.sub(r"\.\d+", "", said)
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise PaletteError(
            f"{option} is '{value}', which is no moment. Write it as 2027-03-31 or 2027-03-31T18:00:00Z."
        ) from None
    return found.astimezone(timezone.utc) if found.tzinfo else found.replace(tzinfo=timezone.utc)


def written(when: datetime) -> str:
    """A moment as the API has it."""
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def as_api(value: str) -> str | None:
    """A moment as the API writes it; its zero time is none."""
    when = moment(value, "expires_at")
    return written(when) if when.year > 1 else None


def duration(value: str, option: str) -> timedelta:
    """A time span as a user writes it: ``90d``, ``12h``, ``30m``, or a number of seconds."""
    match = re.fullmatch(r"(\d{1,9})([smhdw]?)", value.strip().lower())
    span = timedelta(**{UNITS[match.group(2) or "s"]: min(int(match.group(1)), 10**8)}) if match else None
    if span is None or span > LONGEST:
        raise PaletteError(
            f"{option} is '{value}', which is no time span of at most {LONGEST.days} days. Write it as 90d, 12h, 30m "
            "or seconds."
        )
    return span


class RegistrationToken(Resource):
    kind = "registration_token"
    fields = (
        NAME,
        DESCRIPTION,
        Field("expires_at", api="spec.expiry", decode=as_api),
        Field("default_project", api="spec.defaultProject.uid", write="spec.defaultProjectUid"),
        Field("active", api="status.isActive", type="bool", assumed=True),
    )
    behaviour = {
        "expires_in": {"type": "str"},
        "renew_before": {"type": "str"},
    }
    tenant = True

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._names: dict[str, str] = {}
        self._new_and_inactive = False
        if self.params.get("expires_at") and self.params.get("expires_in"):
            raise PaletteError("expires_at and expires_in are both set, and each says when the token ends. Keep one.")
        if self.params.get("renew_before") and not self.params.get("expires_in"):
            raise PaletteError("renew_before is set, and without expires_in there is nothing to renew with. Set it.")

    # --- what is ---

    def tokens(self) -> list[dict[str, Any]]:
        """All tokens of the tenant, with their secrets: never noted in what the run shares."""
        found: list[dict[str, Any]] = self.client.get("/v1/edgehosts/tokens", tenant=True)["items"]
        return found

    def listing(self) -> list[dict[str, Any]]:
        return [{"name": item["metadata"]["name"], "uid": item["metadata"]["uid"]} for item in self.tokens()]

    def read(self, uid: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.client.find(f"/v1/edgehosts/tokens/{uid}", tenant=True)
        return found

    def observe(self, raw: dict[str, Any]) -> Values:
        values = decode(self.fields, raw)
        project = ((raw.get("spec") or {}).get("defaultProject")) or {}
        if project.get("uid"):
            name = project.get("name") or self._project("uid", project["uid"]) or project["uid"]
            self._names[name] = project["uid"]
            values["default_project"] = name
        return values

    def _project(self, known: str, value: str) -> str:
        """The name of a project by its uid, or its uid by its name; empty where there is none."""
        index = self.run.index(self.client.key("project"), self.client.projects)
        found = index.find(0.0, **{known: value})
        return "" if found is None else str(found["name" if known == "uid" else "uid"])

    def project_uid(self, name: str) -> str:
        """The uid of the project by name; empty in check mode where an earlier task would have made it."""
        uid = self._names.get(name) or self._project("name", name)
        key = self.client.key("project")
        if not uid and not (self.session.check_mode and self.run.predicted(key, name)):
            known = [item["name"] for item in self.run.index(key, self.client.projects).entries()]
            raise unknown("project", name, known, "Make it with paletteops.modes.project.")
        return uid

    # --- what is wanted ---

    def wanted(self, before: Values | None) -> Values:
        wanted = super().wanted(before)
        if wanted["expires_at"]:
            wanted["expires_at"] = as_api(wanted["expires_at"])
        span = self.params.get("expires_in")
        if span:
            renew = duration(self.params.get("renew_before") or "0", "renew_before")
            now, lasts = datetime.now(timezone.utc), duration(span, "expires_in")
            if renew >= lasts:
                raise PaletteError(
                    f"renew_before is '{self.params['renew_before']}' and expires_in '{span}': the token would be "
                    "renewed on every run. Make renew_before shorter."
                )
            ends = (before or {}).get("expires_at")
            if before is None or (ends and moment(ends, "expires_at") <= now + renew):
                wanted["expires_at"] = written(now + lasts)
        return wanted

    def check(self, before: Values | None, after: Values) -> None:
        ends = after.get("expires_at")
        if before is None and not ends:
            raise PaletteError(
                f"The {self.title} does not exist yet, and to make it expires_at or expires_in is missing. Name one."
            )
        moved = before is None or before["expires_at"] != ends
        if ends and moved and moment(ends, "expires_at") <= datetime.now(timezone.utc):
            raise PaletteError(f"expires_at is '{ends}', which has passed. Name a moment to come.")
        if after.get("default_project"):
            self.project_uid(after["default_project"])

    # --- writing ---

    def body(self, after: Values, raw: dict[str, Any] | None = None) -> dict[str, Any]:
        project = after.get("default_project")
        annotations = dict(((raw or {}).get("metadata") or {}).get("annotations") or {})
        if annotations.get("description") or after.get("description"):
            annotations["description"] = after.get("description") or ""
        body: dict[str, Any] = {
            "metadata": {"name": after["name"], "annotations": annotations},
            "spec": {"defaultProjectUid": self.project_uid(project) if project else ""},
        }
        if after.get("expires_at"):
            body["spec"]["expiry"] = after["expires_at"]
        return body

    def _switch(self, uid: str, active: bool) -> None:
        self.client.put(f"/v1/edgehosts/tokens/{uid}/state", {"isActive": active}, tenant=True)

    def create(self, after: Values) -> str:
        self._new_and_inactive = after.get("active") is False
        return self.client.create("/v1/edgehosts/tokens", self.body(after), tenant=True)

    def settle(self, uid: str, changed: bool) -> Result:
        if self._new_and_inactive:  # a creation cannot say so
            self._switch(uid, False)
        return {}

    def update(self, raw: dict[str, Any], before: Values, after: Values) -> None:
        uid = raw["metadata"]["uid"]
        changed = set(changed_fields(self.fields, before, after))
        if changed - {"active"}:
            self.client.put(f"/v1/edgehosts/tokens/{uid}", self.body(after, raw), tenant=True)
        if "active" in changed:
            self._switch(uid, bool(after["active"]))

    def delete(self, raw: dict[str, Any]) -> None:
        self.client.delete(f"/v1/edgehosts/tokens/{raw['metadata']['uid']}", tenant=True)

    # --- reading ---

    def ensure(self) -> Result:
        options = {field.name for field in self.fields if field is not NAME} | set(self.behaviour)
        if self.params["state"] == "present" and all(self.params.get(option) is None for option in options):
            return self.show()
        return super().ensure()

    def show(self) -> Result:
        """The token as it is, with its secret. In check mode one that an earlier task would have made has none."""
        foretold = self.run.predicted(self.key(), self.name) if self.session.check_mode else None
        raw = None if foretold and not foretold["spec"] else self.locate()
        if raw is not None:
            values = dict(self.observe(raw), **((foretold or {}).get("spec") or {}))
            secret, uid = str((raw.get("spec") or {}).get("token") or ""), raw["metadata"]["uid"]
        elif foretold and foretold["spec"]:
            values, secret, uid = foretold["spec"], "", ""
        else:
            known = [item["name"] for item in self.index().entries()]
            raise unknown(
                "registration token", self.name, known, "To make it, name expires_at or expires_in of it, too."
            )
        return {"changed": False, self.kind: dict(values, uid=uid), "token": secret}
