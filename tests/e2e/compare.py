#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of three by agent mode against one by kubeadm alone, on hosts of the same kind in the same run.

Both with the bundle unpacked and imported before, and both from the start until three nodes are ready: by hand from
`kubeadm init`, by agent mode from the moment at which the plane knows of the cluster.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from e2e import agent, bare
from e2e.hosts import Hosts, HostsError, ended_by_signals, wait_until

COUNT = 3
#: as a multiple of kubeadm by hand
AIM = 1.3


def by_hand(content: Path, version: str) -> float:
    bundle = content / f"{bare_name(content, version)}"
    with bare.unpacked(bundle) as unpacked, Hosts(COUNT, quiet=True) as hosts:
        for host in hosts:
            bare.install(host, unpacked)
        return bare.cluster(list(hosts), version)


def bare_name(content: Path, version: str) -> str:
    (found,) = content.glob(f"edge-k8s-{version}-*.tar.zst")
    return found.name


def by_agents(content: Path, version: str) -> float:
    with Hosts(COUNT, quiet=True, logs=agent.LOGS) as hosts, agent.Plane(hosts.folder / "plane", content) as plane:
        own = agent.Content(hosts.folder / "content", content)
        run = agent.Run(hosts, plane, agent.build_agent(hosts.folder / "agent"), own)
        lead, *others = hosts
        pools = [
            {"name": "control", "control_plane": True, "hosts": [lead.name]},
            {"name": "workers", "hosts": [host.name for host in others]},
        ]
        address = {"host": lead.address, "type": "External"}
        profiles = [{"name": "edge", "version": "1.0.0"}]
        one = {"palette_endpoint": address, "palette_profiles": profiles, "palette_pools": pools}
        run.write_inventory({"one": one}, list(hosts), [agent.profile("1.0.0", version)])
        # a first time, so that every host holds the content
        run.playbook("site")
        run.playbook("teardown", "-e", "palette_confirm_teardown=one")
        begun = threading.Event()
        found: list[float] = []

        def look() -> None:
            with plane.client() as client:
                project = next(
                    each["metadata"]["uid"]
                    for each in client.get("/v1/dashboard/projects/metadata").json()["items"]
                    if each["metadata"]["name"] == "e2e"
                )
                while not begun.is_set():
                    listed = client.get("/v1/dashboard/spectroclusters/metadata", headers={"ProjectUid": project})
                    if listed.json().get("items"):
                        found.append(time.monotonic())
                        begun.set()
                    begun.wait(0.2)

        names = [host.name for host in hosts]
        watcher = threading.Thread(target=look, daemon=True)
        player = threading.Thread(target=run.playbook, args=("site",), daemon=True)
        watcher.start()
        player.start()
        if not begun.wait(120):
            begun.set()
            raise HostsError("the cluster was not made")
        wait_until("all nodes are ready", 600, lambda: run.ready(lead, names), 0.3)
        seconds = time.monotonic() - found[0]
        player.join()
        return seconds


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="compare.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--bundles", type=Path, help="a folder of bundles with their public key; else they are built")
    parser.add_argument("--version", default=agent.VERSIONS[-1], help="of Kubernetes")
    options = parser.parse_args(arguments)
    try:
        with ended_by_signals():
            content = options.bundles or agent.build_bundles([options.version])
            load = os.getloadavg()[0]
            hand = by_hand(content, options.version)
            agents = by_agents(content, options.version)
    except (agent.Failure, HostsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"a cluster of {COUNT}, Kubernetes {options.version}, {os.cpu_count()} cores, load before {load:.1f}")
    print(f"  agent mode {agents:.1f} s; kubeadm by hand {hand:.1f} s, ratio {agents / hand:.2f} (aim {AIM})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
