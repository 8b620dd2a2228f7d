# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Edge hosts: the user's machines, as the plane knows them. They register by themselves, or are registered ahead."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils.client import Client
from ansible_collections.paletteops.modes.plugins.module_utils.errors import (
    ApiError,
    PaletteError,
    one_line,
    unknown,
)
from ansible_collections.paletteops.modes.plugins.module_utils.fields import Field, Values, decode, encode
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Result, Session
from ansible_collections.paletteops.modes.plugins.module_utils.resource import (
    NAME,
    TAGS,
    Resource,
    labels_to_tags,
)
from ansible_collections.paletteops.modes.plugins.module_utils.run import Index, Run

READY, UNPAIRED = "ready", "unpaired"
HEALTHY = "healthy"

#: What the API says of a uid that has a record, wherever in the tenant.
TAKEN = "AlreadyRegisteredEdgeHostDevice"

#: Seconds between two lines of progress for a host that stays as it is.
PROGRESS = 30.0

Host = dict[str, Any]


def host_of(item: dict[str, Any]) -> Host:
    """What the tasks of a run need of one host, from an item of the search or from the host's own object."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    device, health = spec.get("device") or {}, status.get("health") or {}
    users = status.get("inUseClusters") or status.get("inUseClustersRef") or []
    system = device.get("os") or {}
    return {
        "name": metadata.get("name") or metadata["uid"],
        "uid": metadata["uid"],
        "tags": labels_to_tags(metadata.get("labels") or {}),
        "state": status.get("state") or UNPAIRED,
        "health": health.get("state") or "",
        "message": one_line(health.get("message")),
        "agent_version": health.get("agentVersion") or "",
        "architecture": device.get("archType") or "amd64",
        "host_type": device.get("hostType") or "",
        "address": (spec.get("host") or {}).get("hostAddress") or "",
        "os": " ".join(filter(None, (system.get("family"), system.get("version")))),
        "cluster": str(users[0].get("name") or users[0].get("uid")) if users else "",
        "cluster_uid": str(users[0].get("uid") or "") if users else "",
    }


def edge_hosts(client: Client) -> list[Host]:
    """All edge hosts of the scope, from the bulk search call."""
    client.project_uid()
    if client.foretold:
        return []
    criteria = {"filter": {"conjunction": "and", "filterGroups": []}, "sort": []}
    return [host_of(item) for item in client.pages("/v1/dashboard/edgehosts/search", criteria)]


def hosts_key(client: Client) -> str:
    return client.key(EdgeHost.kind, tenant=False)


def host_index(client: Client, run: Run) -> Index:
    """The hosts of the scope, by one search that the tasks of a run share."""
    return run.index(hosts_key(client), lambda: edge_hosts(client))


def foretold_hosts(session: Session, known: Iterable[Host]) -> list[Host]:
    """The hosts as they would be in check mode: with those that earlier tasks would register, without those removed."""
    found = {host["uid"]: dict(host) for host in known}
    if not session.check_mode:
        return list(found.values())
    foretold = session.run.foretold(hosts_key(session.client))
    clusters = session.run.foretold(session.client.key("cluster", tenant=False))
    for uid, host in list(found.items()):
        if foretold.get(uid, host) is None:
            del found[uid]
        elif host["cluster"] and clusters.get(host["cluster"], host) is None:
            found[uid] = dict(host, cluster="", cluster_uid="", state=READY)
    for spec in foretold.values():
        if spec is None:
            continue
        device = {"archType": spec.get("architecture")}
        made = host_of({"metadata": dict(spec, labels=None), "spec": {"device": device}})
        there = found.get(spec["uid"], made)
        if there["state"] == UNPAIRED or spec.get("registered"):
            # What the run would register is there and healthy by the time that it is needed.
            there = dict(there, health=HEALTHY, message="", state=there["state"] if there["cluster"] else READY)
        found[spec["uid"]] = dict(there, name=made["name"], tags=spec.get("tags") or {})
    return list(found.values())


def words(host: Host | None) -> str:
    """A host's state in a line."""
    if host is None:
        return "not known to the plane"
    if host["state"] == UNPAIRED:
        return "registered ahead, not paired yet"
    text = host["state"] + (f" in the cluster '{host['cluster']}'" if host["cluster"] else "")
    return ", ".join(filter(None, (text, host["health"] or "no sign of life yet", host["message"])))


def is_ready(host: Host | None) -> bool:
    return host is not None and host["state"] != UNPAIRED and host["health"] == HEALTHY


class EdgeHost(Resource):
    kind = "edge_host"
    keys = ("uid", "name")
    fields = (
        Field("uid", api="metadata.uid", needed=True),
        NAME,
        Field(
            "architecture",
            api="spec.device.archType",
            write="spec.archType",
            choices=("amd64", "arm64"),
            assumed="amd64",
            immutable="It is that of the machine. Delete the host's record to register it anew.",
        ),
        Field("pairing_key", write="spec.hostPairingKey", secret=True),
        TAGS,
    )
    lists = ("tags",)
    behaviour = {
        "state": {"type": "str", "choices": ["present", "registered", "reset", "absent"], "default": "present"},
        "wait": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 600},
        "wait_interval": {"type": "int", "default": 5},
    }

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        for option in ("wait_timeout", "wait_interval"):
            if int(self.params.get(option, 1)) < 1:
                raise PaletteError(f"{option} is {self.params[option]}. Use 1 or more.")
        self._uid = str(self.params.get("uid") or "")

    # --- names: a host is known by its uid, and may be named by its name where only one has it ---

    @property
    def name(self) -> str:
        return str(self.params.get("name") or self.params.get("uid"))

    @property
    def uid(self) -> str:
        """The uid of the host that the task means; empty where only a name is given that nothing has."""
        if not self._uid:
            known = foretold_hosts(self.session, self.index().entries())
            found = sorted({host["uid"] for host in known if host["name"] == self.name})
            if len(found) > 1:
                raise PaletteError(
                    f"{len(found)} edge hosts are named '{self.name}': {', '.join(found)}. Say which by uid."
                )
            self._uid = found[0] if found else ""
        return self._uid

    def identity(self) -> dict[str, Any]:
        return {"uid": self.uid} if self.uid else {"name": self.name}

    def entry(self, after: Values) -> dict[str, Any]:
        return host_of({"metadata": {"uid": self.uid, "name": after["name"], "labels": after.get("tags") or {}}})

    def listing(self) -> list[dict[str, Any]]:
        return edge_hosts(self.client)

    # --- what is ---

    def read(self, uid: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.client.find(f"/v1/edgehosts/{uid}")
        return found

    def observe(self, raw: dict[str, Any]) -> Values:
        return decode(self.fields, raw)

    def wanted(self, before: Values | None) -> Values:
        wanted = super().wanted(before)
        if before is None:
            wanted["name"] = wanted["name"] or wanted["uid"]
        return wanted

    # --- writing ---

    def create(self, after: Values) -> str:
        uid = str(after["uid"])
        try:
            return self.client.create("/v1/edgehosts", encode(self.fields, after)) or uid
        except ApiError as error:
            if error.code != TAKEN or self.read(uid) is not None:
                raise
            raise PaletteError(
                f"The {self.title} has a record in another project, with the uid '{uid}'. Name that project, or delete "
                "the record there first.",
                **error.details,
            ) from None

    def update(self, raw: dict[str, Any], before: Values, after: Values) -> None:
        metadata = encode((NAME, TAGS), after)["metadata"]
        metadata.setdefault("labels", {})
        uid = raw["metadata"]["uid"]
        self.client.put(f"/v1/edgehosts/{uid}/meta", {"metadata": dict(metadata, uid=uid)})
        self.run.outdate(self.key())
        self.index().add(dict(host_of(raw), name=after["name"], tags=after.get("tags") or {}))

    def delete(self, raw: dict[str, Any]) -> None:
        self.client.delete(f"/v1/edgehosts/{raw['metadata']['uid']}")
        self.run.outdate(self.key())

    def check_absent(self, raw: dict[str, Any]) -> None:
        self._refuse_in_use(raw, "Take it out of its pool, or delete the cluster, first.")

    def _refuse_in_use(self, raw: dict[str, Any], way_out: str) -> None:
        (host,) = foretold_hosts(self.session, [host_of(raw)])
        if host["cluster"]:
            raise PaletteError(f"The {self.title} is in use by the cluster '{host['cluster']}'. {way_out}")

    # --- the states beside present and absent ---

    def ensure(self) -> Result:
        if self.params["state"] == "registered":
            return self.ensure_registered()
        if self.params["state"] == "reset":
            return self.ensure_reset()
        return super().ensure()

    def ensure_registered(self) -> Result:
        """Makes nothing: the host itself registers. Check mode foretells that it will have."""
        if not self.session.check_mode:
            return {"changed": False, self.kind: self._wait()}
        raw = self.locate()
        known = foretold_hosts(self.session, [host_of(raw)] if raw else [])
        host = next((one for one in known if one["uid"] == self.uid), None)
        if host is None:
            if not self.uid:
                raise self._unknown()
            host = self.entry({"name": self.name})
        if not is_ready(host):
            host = dict(host, health=HEALTHY, state=READY, message="")
            spec = {key: host[key] for key in ("uid", "name", "tags", "architecture")}
            self.run.predict(self.key(), self.uid, dict(spec, registered=True))
        return {"changed": False, self.kind: shown(host)}

    def _unknown(self) -> PaletteError:
        known = [host[key] for host in foretold_hosts(self.session, self.index().entries()) for key in ("name", "uid")]
        return unknown("edge host", self.name, known, "Register it: with the agent, or ahead with its uid.")

    def ensure_reset(self) -> Result:
        raw = self.locate()
        if raw is None:
            if self.session.check_mode and self.uid and self.run.predicted(self.key(), self.uid):
                return self.outcome(False, None, None, {self.kind: {"uid": self.uid, "name": self.name}})
            raise self._unknown()
        self._refuse_in_use(raw, "Taking it out of its pool, or deleting the cluster, resets it.")
        host = host_of(raw)
        if host["state"] == UNPAIRED:
            raise PaletteError(f"The {self.title} has not registered yet, so there is nothing to reset. Leave it.")
        if not self.session.check_mode:
            self.client.put(f"/v1/edgehosts/{host['uid']}/reset", None)
            self.run.outdate(self.key())
        return {"changed": True, self.kind: shown(host)}

    def settle(self, uid: str, changed: bool) -> Result:
        return {self.kind: self._wait()} if self.params["wait"] else {}

    def _look(self, interval: float, since: float) -> Host | None:
        """The host in the look that all who wait in a run share; a new look where that is older than either says."""
        known = self.run.poll(
            self.key(), interval, since, lambda names: {host["uid"]: host for host in edge_hosts(self.client)}
        )
        found = [host for host in known.values() if host["uid"] == self._uid or host["name"] == self.name]
        exact = [host for host in found if host["uid"] == self._uid] if self._uid else found
        return exact[0] if len(exact) == 1 else None

    def _wait(self) -> Values:
        """Waits until the host has registered and is healthy.

        A look that another task of the run took a moment before will do where it finds the host ready. Else looks come
        the closer the less has been waited: a host that was just installed is there soon.
        """
        since, deadline = time.time(), time.time() + int(self.params["wait_timeout"])
        interval = int(self.params["wait_interval"])
        pause = float(interval)
        said, said_at = "", since
        host = self._look(interval, 0.0)
        while True:
            if not is_ready(host):
                host = self._look(pause, since)
            if host is not None and is_ready(host):
                self.index().add(host)
                return shown(host)
            if words(host) != said or time.time() - said_at >= PROGRESS:
                said, said_at = words(host), time.time()
                self.session.tell(said)
            if time.time() >= deadline:
                raise PaletteError(
                    f"The {self.title} was not registered and healthy within wait_timeout, "
                    f"{self.params['wait_timeout']} s: it is {words(host)}. Look whether its agent runs and reaches "
                    "the plane (journalctl -u 'spectro-palette-agent-*' on the host), and whether its registration "
                    "token is valid and for this project.",
                    edge_host=shown(host) if host else {"uid": self._uid, "name": self.name},
                )
            pause = min(interval, max(1.0, (time.time() - since) / 2))
            time.sleep(min(pause, max(0.05, deadline - time.time())))


def shown(host: Host) -> Values:
    """A host as the modules return it."""
    return {
        "uid": host["uid"],
        "name": host["name"],
        "tags": host["tags"],
        "architecture": host["architecture"],
        "state": host["state"],
        "health": host["health"] or None,
        "message": host["message"] or None,
        "agent_version": host["agent_version"] or None,
        "host_type": host["host_type"] or None,
        "address": host["address"] or None,
        "os": host["os"] or None,
        "cluster": {"name": host["cluster"], "uid": host["cluster_uid"]} if host["cluster"] else None,
    }
