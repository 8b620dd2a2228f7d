# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for clusters: together, by one shared poll, with progress, ending with the reason."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils.client import Client
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, one_line
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Session, Spec

WAIT_SPEC: Spec = {
    "wait_timeout": {"type": "int", "default": 3600},
    "wait_interval": {"type": "int", "default": 10},
    "unhealthy_timeout": {"type": "int", "default": 600},
}

#: States on the way to Running. Any other is not going to become it (Terraform provider, cluster_common_crud.go).
UNDERWAY = frozenset({"", "Unknown", "Pending", "Provisioning", "Importing", "Running"})

#: The way out of a repave that waits, for the option and for the inventory.
APPROVE = "Set approve_repave (palette_approve_repave in an inventory) to true to approve it"

#: Seconds between two lines of progress for a cluster whose state stays the same.
PROGRESS = 30.0

OUTDATED = (
    "A profile of the cluster '{name}' was changed since the cluster took it, and the cluster goes on with what it "
    "took. Give the profile a new version, and the cluster that one."
)

#: Names in one search; the filter is sent whole with each page.
BATCH = 200


def key(client: Client) -> str:
    return client.key("cluster states", tenant=False)


def summaries(client: Client, names: list[str]) -> dict[str, dict[str, Any]]:
    """State, health and nodes of the named clusters by uid, from the bulk search call."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(names), BATCH):
        values = {"operator": "eq", "match": {"conjunction": "or", "values": names[start : start + BATCH]}}
        criteria = {
            "filter": {
                "conjunction": "and",
                "filterGroups": [
                    {
                        "conjunction": "and",
                        "filters": [{"property": "clusterName", "type": "string", "condition": {"string": values}}],
                    }
                ],
            },
            "sort": [],
        }
        for item in client.pages("/v1/dashboard/spectroclusters/search", criteria):
            found[item["metadata"]["uid"]] = summary(item)
    return found


def summary(item: dict[str, Any]) -> dict[str, Any]:
    """What a waiter needs of a v1SpectroClusterSummary."""
    status = item.get("status") or {}
    spec = item.get("specSummary") or {}
    pools = (spec.get("cloudConfig") or {}).get("machinePools") or []
    return {
        "state": status.get("state") or "",
        "health": (status.get("health") or {}).get("state") or "",
        "repave": (status.get("repave") or {}).get("state") or "",
        "outdated": bool((status.get("notifications") or {}).get("isAvailable")),
        "nodes": sum(int(pool.get("size") or 0) for pool in pools),
        "healthy_nodes": sum(int(pool.get("healthy") or 0) for pool in pools),
    }


def repave_reasons(client: Client, uid: str) -> tuple[str, list[str]]:
    """State and reasons of a cluster's repave; both empty where there is none."""
    answer = client.find(f"/v1/spectroclusters/{uid}/repave/status") or {}
    reasons = (answer.get("spec") or {}).get("reasons") or []
    texts = [one_line(item.get("message") or item.get("code")) for item in reasons]
    return str((answer.get("status") or {}).get("state") or ""), texts


def reason_of(item: dict[str, Any]) -> str:
    """Why, of a condition or an event: what it says may be the words of a host."""
    return one_line(": ".join(filter(None, (item.get("reason"), item.get("message")))))


def words(known: dict[str, Any]) -> str:
    """A summary in a line of progress."""
    text = known["state"] or "no state yet"
    if known["health"]:
        text += f", {known['health']}"
    if known["nodes"]:
        text += f", {known['healthy_nodes']} of {known['nodes']} nodes"
    if known["repave"] == "Pending":
        text += ", a repave waits for approval"
    return text


def ready(known: dict[str, Any]) -> bool:
    return bool(
        known["state"] == "Running"
        and known["health"] == "Healthy"
        and known["repave"] != "Pending"
        and known["healthy_nodes"] >= known["nodes"]
    )


def check_limits(params: dict[str, Any]) -> None:
    """Raises PaletteError where a limit of the wait cannot be, before anything is done."""
    for option, least in (("wait_timeout", 1), ("wait_interval", 1), ("unhealthy_timeout", 0)):
        if int(params[option]) < least:
            raise PaletteError(f"{option} is {params[option]}. Use {least} or more.")


class Waiter:
    """Waits for one cluster; the poll is shared with all who wait in this run."""

    def __init__(self, session: Session, uid: str, name: str) -> None:
        self.session = session
        self.client = session.client
        self.uid = uid
        self.name = name
        self.timeout = int(session.params["wait_timeout"])
        self.interval = int(session.params["wait_interval"])
        self.patience = int(session.params["unhealthy_timeout"])

    def _poll(self, since: float) -> dict[str, Any] | None:
        answer = self.session.run.poll(
            key(self.client), self.interval, since, lambda names: summaries(self.client, names)
        )
        return answer.get(self.uid)

    def until_ready(self) -> dict[str, Any]:
        """The summary of the cluster once it runs and is healthy, with the seconds since this run first asked for it.

        Raises PaletteError with the reason where it does not come to that.
        """
        since = self.session.run.submitted(key(self.client), self.uid, self.name)
        deadline = since + self.timeout
        shown, shown_at, explained = "", time.time(), ""
        unhealthy, unhealthy_at = "", time.time()
        last: dict[str, Any] = {}
        while True:
            known = self._poll(since)
            if known is not None:
                last = dict(known, seconds=round(time.time() - since))
                if ready(known):
                    self.session.run.finish(key(self.client), self.uid)
                    if known["outdated"]:
                        self.session.warn(OUTDATED.format(name=self.name))
                    return last
                if known["state"] not in UNDERWAY:
                    raise self._error(f"is {known['state']} and will not become Running", last)
                if known["repave"] == "Pending":
                    reasons = "; ".join(repave_reasons(self.client, self.uid)[1])
                    raise self._error(f"waits for somebody to approve a repave: {reasons}. {APPROVE}", last)
                if known["health"] != "Unhealthy" or words(known) != unhealthy:
                    unhealthy, unhealthy_at = words(known), time.time()
                elif self.patience and time.time() - unhealthy_at >= self.patience:
                    raise self._error(
                        f"has been unhealthy for unhealthy_timeout, {self.patience} s, with no change. Mend what is "
                        "named here, then run again",
                        last,
                    )
                if words(known) != shown or time.time() - shown_at >= PROGRESS:
                    puzzling = words(known) == shown or known["health"] == "Unhealthy"
                    shown, shown_at = words(known), time.time()
                    problem = self.problem() if puzzling else ""
                    # it is long, and once is enough
                    more = "as before" if problem == explained else problem
                    explained = problem
                    self.session.tell(f"{shown}; {more}" if problem else shown)
            if time.time() >= deadline:
                raise self._error(
                    f"was not ready within wait_timeout, {self.timeout} s. It goes on by itself: mend what is named "
                    "here, then run again, or raise wait_timeout",
                    last,
                )
            time.sleep(min(self.interval, max(0.05, deadline - time.time())))

    def until_gone(self, force_after: int | None) -> None:
        """Returns once the cluster is gone.

        force_after   seconds after which the deletion is forced, None for never
        """
        started = time.time()
        forced = False
        while True:
            raw = self.client.find(f"/v1/spectroclusters/{self.uid}")
            state = ((raw or {}).get("status") or {}).get("state") or ""
            if raw is None or state == "Deleted":
                return
            passed = time.time() - started
            if force_after is not None and not forced and passed >= force_after:
                self.session.tell("its deletion is forced; what it has in the cloud may stay behind")
                self.client.delete(f"/v1/spectroclusters/{self.uid}", query={"forceDelete": True})
                forced = True
            if passed >= self.timeout:
                raise self._error(f"was not gone within wait_timeout, {self.timeout} s", {})
            time.sleep(self.interval)

    def problem(self) -> str:
        """What keeps the cluster back: its unmet conditions, those for one reason together, and its last event."""
        raw = self.client.find(f"/v1/spectroclusters/{self.uid}") or {}
        unmet = [
            condition
            for condition in (raw.get("status") or {}).get("conditions") or []
            if condition.get("status") != "True" and (condition.get("message") or condition.get("reason"))
        ]
        # What is only under way explains nothing where something else has a reason.
        telling = [condition for condition in unmet if condition.get("reason") != "InProgress"]
        reasons: dict[str, list[str]] = {}
        for condition in telling or unmet:
            text = reason_of(condition)
            reasons.setdefault(text, []).append(condition["type"])
        texts = [
            f"{' and '.join(types)} {'are' if len(types) > 1 else 'is'} not met ({text})"
            for text, types in reasons.items()
        ]
        event = self.last_event()
        if event and event not in reasons:
            texts.append(f"last event: {event}")
        return "; ".join(texts)

    def last_event(self) -> str:
        answer = self.client.find(f"/v1/events/components/spectrocluster/{self.uid}", query={"limit": 1}) or {}
        for item in answer.get("items") or []:
            return reason_of(item)
        return ""

    def _error(self, what: str, last: dict[str, Any]) -> PaletteError:
        problem = self.problem()
        state = f" It is {words(last)}." if last else ""
        reason = f" {problem[0].upper()}{problem[1:]}." if problem else ""
        return PaletteError(
            f"The cluster '{self.name}' {what}.{state}{reason}",
            cluster={"name": self.name, "uid": self.uid, **last},
        )
