# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user's hosts as members of a cluster's pools: who is meant, whether they can be had, how they are taken out."""

from __future__ import annotations

import time

from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import Cloud
from ansible_collections.paletteops.modes.plugins.module_utils.edge_host import (
    HEALTHY,
    READY,
    UNPAIRED,
    Host,
    foretold_hosts,
    host_index,
    words,
)
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, hint
from ansible_collections.paletteops.modes.plugins.module_utils.fields import Values, merge_items, show, text
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Session

REGISTER = "Register it first: with its agent, or ahead with paletteops.modes.edge_host."


class Members:
    """The hosts of one cluster.

    All hosts of the project are known by one search that the tasks of a run share. Where something in it is wrong it is
    searched anew, once, before a task is refused.
    """

    def __init__(self, session: Session, cluster: str, cloud: Cloud) -> None:
        self.session = session
        self.cluster = cluster
        self.cloud = cloud
        (self.field,) = [field for field in cloud.pool if field.name == cloud.members]
        self.findings: list[str] = []
        self._fresh = False
        self._known: dict[str, Host] | None = None

    def hosts(self) -> dict[str, Host]:
        """All hosts by uid; in check mode as earlier tasks of the run would have made them."""
        if self._known is None:
            self._known = self._look()
        return self._known

    def _look(self) -> dict[str, Host]:
        known = host_index(self.session.client, self.session.run).entries()
        found = {host["uid"]: host for host in foretold_hosts(self.session, known)}
        if self.session.check_mode:
            key = self.session.client.key("cluster", tenant=False)
            for spec in self.session.run.predictions(key):
                for pool in spec.get("pools") or []:
                    for item in pool.get(self.field.name) or []:
                        host = found.get(item[self.field.key])
                        if host and not host["cluster"] and spec["name"] != self.cluster:
                            found[host["uid"]] = dict(host, cluster=spec["name"])
        return found

    def refresh(self) -> bool:
        """Searches anew, once a task. Returns whether it has done so."""
        if self._fresh:
            return False
        host_index(self.session.client, self.session.run).entries(fresh=True)
        self._fresh, self._known = True, None
        return True

    # --- who is meant ---

    def resolve(self, reference: str, own: set[str]) -> str:
        """The uid of the host that a uid or a name means, empty where there is none; ``own`` are the cluster's."""
        hosts = self.hosts()
        if reference in own or reference in hosts:
            return reference
        named = sorted(str(host["uid"]) for host in hosts.values() if host["name"] == reference)
        if len(named) == 1:
            return named[0]
        if not named and self.refresh():
            return self.resolve(reference, own)
        if named:
            raise PaletteError(
                f"{len(named)} edge hosts are named '{reference}': {', '.join(named)}. Name the one that is meant by "
                "its UID."
            )
        return ""

    def wanted(self, pool: Values, pools_before: list[Values], purge: list[str]) -> Values:
        """A pool of the task with its hosts by uid, and with its size. What only chose hosts is taken out."""
        where = f"pools.{pool['name']}"
        tags = pool.pop("host_tags", None)
        before = next((one for one in pools_before if one["name"] == pool["name"]), None)
        present = {item[self.field.key]: one["name"] for one in pools_before for item in one.get(self.field.name) or []}
        named = pool.get(self.field.name)
        if named is None and tags is None:
            if before is None:
                pool["size"] = 0  # the hosts are what is missing
            return pool
        items = []
        for item in named or []:
            uid = self.resolve(item[self.field.key], set(present))
            if uid:
                items.append(dict(item, **{self.field.key: uid}))
            elif item.get("state") != "absent":
                self.findings.append(self._unknown(where, item[self.field.key]))
        if tags:
            items += self._tagged(where, tags, {item[self.field.key] for item in items}, present, pool["name"])
        pool[self.field.name] = items
        old = (before or {}).get(self.field.name) or []
        count = len(merge_items(self.field, old, items, purge, f"{where}.{self.field.name}"))
        if pool.get("size") not in (None, count) and not self.findings:
            self.findings.append(
                f"{where}.size is {pool['size']}, and the pool has {count} hosts, whose number it is. Take it out."
            )
        pool["size"] = count
        return pool

    def _unknown(self, where: str, reference: str) -> str:
        hosts = self.hosts().values()
        known = {host["uid"] for host in hosts} | {host["name"] for host in hosts}
        return f"{where}: There is no edge host named '{show(reference)}'.{hint(reference, known)} {REGISTER}"

    def _tagged(self, where: str, tags: Values, named: set[str], present: dict[str, str], pool: str) -> list[Values]:
        """The hosts with all these tags that are free and healthy, or in the pool already."""
        wanted = {str(key): text("" if value is None else value) for key, value in tags.items()}
        fitting = [host for host in self.hosts().values() if wanted.items() <= host["tags"].items()]
        chosen = [
            host["uid"]
            for host in fitting
            if present.get(host["uid"]) == pool
            or (
                host["uid"] not in present
                and not host["cluster"]
                and host["state"] == READY
                and host["health"] == HEALTHY
            )
        ]
        if not chosen and not named:
            if self.refresh():
                return self._tagged(where, tags, named, present, pool)
            others = "; ".join(f"'{host['name']}' is {words(host)}" for host in fitting) or "no host has them all"
            self.findings.append(
                f"{where}.host_tags: no free and healthy edge host has the tags {show(wanted)}: {others}. "
                "Correct the tags, or tag hosts with paletteops.modes.edge_host."
            )
        return [{self.field.key: uid, "state": "present"} for uid in sorted(chosen) if uid not in named]

    # --- whether they can be had ---

    def check(self, before: list[Values], after: list[Values]) -> list[str]:
        """What keeps hosts from being taken into the cluster or out of it, as sentences."""
        findings = self._check(before, after)
        return self._check(before, after) if findings and self.refresh() else findings

    def _check(self, before: list[Values], after: list[Values]) -> list[str]:
        hosts, own = self.hosts(), self.uids(before)
        findings: list[str] = []
        for pool in after:
            where = f"pools.{pool['name']}.{self.field.name}"
            for uid in sorted(self.uids([pool]) - own):
                host = hosts.get(uid)
                if host is None:
                    findings.append(self._unknown(f"pools.{pool['name']}", uid))
                    continue
                shown = f"{where}: the edge host '{host['name']}'"
                if host["cluster"] and host["cluster"] != self.cluster:
                    findings.append(
                        f"{shown} is in use by the cluster '{host['cluster']}'. Take it out of that one first, or name "
                        "another."
                    )
                elif host["state"] == UNPAIRED:
                    findings.append(f"{shown} is registered ahead and has not come yet. Install its agent first.")
                elif host["health"] != HEALTHY:
                    findings.append(f"{shown} is {words(host)}. Mend it first, or name another.")
                elif host["architecture"] != (pool.get("arch_type") or "amd64"):
                    findings.append(
                        f"{shown} is {host['architecture']}, and the pool is {pool.get('arch_type') or 'amd64'}. "
                        "Set its arch_type, or name another."
                    )
        return findings + self._lost_control_plane(before, after)

    def _lost_control_plane(self, before: list[Values], after: list[Values]) -> list[str]:
        kept = {pool["name"]: self.uids([pool]) for pool in after}
        for pool in before:
            old = self.uids([pool])
            if pool.get("control_plane") and old and pool["name"] in kept and not old & kept[pool["name"]]:
                return [
                    f"pools.{pool['name']}: of the control plane's hosts ({', '.join(sorted(old))}) none would stay, "
                    "and with the last one the cluster would be lost. Leave one in. One that is alone goes in a "
                    "second run, after two others have come."
                ]
        return []

    def uids(self, pools: list[Values]) -> set[str]:
        return {item[self.field.key] for pool in pools for item in pool.get(self.field.name) or []}

    # --- how they are taken out ---

    def grown(self, before: list[Values], after: list[Values]) -> list[Values]:
        """The pools as they are to be before anybody leaves: with the new hosts of pools of workers that lose others.

        So such a pool is never without a host. A control plane keeps one of its own, and its number is never even.
        """
        wanted, there = {pool["name"]: pool for pool in after}, self.uids(before)
        pools = []
        for pool in before:
            to_be = wanted.get(pool["name"], {}).get(self.field.name) or []
            come = [item for item in to_be if item[self.field.key] not in there]
            if come and not pool.get("control_plane") and self.uids([pool]) - self.uids([wanted[pool["name"]]]):
                hosts = [*pool[self.field.name], *come]
                pool = dict(pool, **{self.field.name: hosts, "size": len(hosts)})
            pools.append(pool)
        return pools

    def take_out(self, config: str, before: list[Values], after: list[Values]) -> None:
        """Deletes the machines of hosts that leave a pool, and waits until each is gone.

        A host of the control plane leaves alone, so that the others keep their quorum. Pools that are removed whole are
        left to their own deletion, but for hosts that go on to another pool.
        """
        stay = {pool["name"]: self.uids([pool]) for pool in after}
        everywhere = self.uids(after)
        for pool in before:
            old = self.uids([pool])
            gone = sorted(old - stay[pool["name"]] if pool["name"] in stay else old & everywhere)
            batches = [[uid] for uid in gone] if pool.get("control_plane") else [gone] if gone else []
            for batch in batches:
                machines = f"{config}/machinePools/{pool['name']}/machines"
                leaving = []
                for machine in self.session.client.get(machines)["items"]:
                    host = (machine.get("spec") or {}).get("edgeHostUid") or machine["metadata"].get("name")
                    if host in batch:
                        self.session.client.delete(f"{machines}/{machine['metadata']['uid']}")
                        leaving.append((host, f"{machines}/{machine['metadata']['uid']}"))
                for host, path in leaving:
                    self._until_gone(host, path)

    def _until_gone(self, host: str, path: str) -> None:
        started, said = time.time(), ""
        timeout, interval = int(self.session.params["wait_timeout"]), int(self.session.params["wait_interval"])
        while True:
            machine = self.session.client.find(path)
            state = str(((machine or {}).get("status") or {}).get("instanceState") or "")
            if machine is None or state == "Deleted":
                self.session.tell(f"the host '{host}' has left")
                return
            if state != said:
                said = state
                self.session.tell(f"the host '{host}' leaves; its machine is {state or 'there'}")
            if time.time() - started >= timeout:
                raise PaletteError(
                    f"The host '{host}' has not left the cluster '{self.cluster}' within wait_timeout, {timeout} s: "
                    f"its machine is {state or 'there'}. Look whether the host runs and is healthy. It goes on "
                    "leaving: run again then, or raise wait_timeout.",
                    changed=True,
                )
            time.sleep(interval)

    def settled(self, uid: str, after: list[Values], before: list[Values]) -> None:
        """Notes for later tasks of the run which hosts are in the cluster now, and which are free."""
        index = host_index(self.session.client, self.session.run)
        own, left = self.uids(after), self.uids(before) - self.uids(after)
        hosts = [host for host in index.entries() if host["uid"] in own | left]
        here = {"state": "in-use", "cluster": self.cluster, "cluster_uid": uid}
        free = {"state": READY, "cluster": "", "cluster_uid": ""}
        index.add(*(dict(host, **(here if host["uid"] in own else free)) for host in hosts))
