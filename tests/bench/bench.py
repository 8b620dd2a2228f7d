# Copyright: (c) 2026, the paletteops.modes contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what a fleet costs, as ratios in one run, on an embedded plane with its limits on.

Usage: bench.py [--clusters N] [--forks N]. Needs the environment of `make venv`.

It prints, for N clusters (100 by default):
- the API calls for each new cluster, and for each unchanged one on a re-run;
- the wall time of both runs against a floor: the same calls by a bare keep-alive client at the allowed rate;
- the same against what Ansible itself needs for as many no-op tasks on as many hosts;
- what one API task costs beyond Ansible's own no-op action and its calls.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import typing

import urllib3
import yaml

BIN = pathlib.Path(sys.executable).parent
PROJECT = "bench"
CONTROL_PLANE = {"name": "control-plane", "control_plane": True, "size": 1, "instance_type": "m6i.large"}
CLUSTER = {
    "cloud": "aws",
    "cloud_account": "bench",
    "cloud_config": {"region": "eu-central-1"},
    "profiles": [{"name": "bench", "version": "1.0.x"}],
    "pools": [CONTROL_PLANE, {"name": "workers", "size": 2, "instance_type": "m6i.large"}],
    "tags": {"purpose": "bench"},
}
ACCOUNT = {"name": "bench", "cloud": "aws", "credentials": {"access_key": "BENCH", "secret_key": "bench-secret"}}
PROFILE = {
    "name": "bench",
    "version": "1.0.0",
    "cloud": "aws",
    "type": "infra",
    "packs": [{"name": name} for name in ("ubuntu-aws", "kubernetes", "cni-calico", "csi-aws-ebs")],
}
NO_OP = {"name": "A no-op", "ansible.builtin.assert": {"that": True, "quiet": True}}


class Plane:
    """An embedded plane with a fresh data file, its limits on, and its record of requests."""

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir()
        ready = folder / "ready"
        command = [str(BIN / "paletteops-plane"), "--listen", "127.0.0.1:0", "--data", str(folder / "plane.sqlite")]
        # Fast enough that nobody waits for what the plane provisions: that is not what is measured.
        command += [
            "--key-file",
            str(folder / "key"),
            "--ready-file",
            str(ready),
            "--speed",
            "36000",
            "--test-controls",
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not ready.exists():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit("The embedded plane did not start.")
            time.sleep(0.05)
        self.url = str(json.loads(ready.read_text())["url"])
        self.key = (folder / "key").read_text().strip()
        self.pool = urllib3.PoolManager()

    def requests(self) -> list[dict[str, typing.Any]]:
        """The requests since the last call."""
        answer = self.pool.request("GET", self.url + "/embedded/v1/requests").json()
        self.pool.request("DELETE", self.url + "/embedded/v1/requests")
        items = answer["items"] if isinstance(answer, dict) else answer
        return [item for item in items if item["path"].startswith("/v1/")]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def play(folder: pathlib.Path, plane: Plane, tasks: list[dict[str, typing.Any]], hosts: int, forks: int) -> float:
    """Runs the tasks on that many hosts and returns the seconds it took. Fails where a task fails."""
    names = [f"bench-{number:03d}" for number in range(hosts)]
    inventory = folder / "inventory.yml"
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": dict.fromkeys(names), "vars": variables}}))
    playbook = folder / "play.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], sort_keys=False))
    environment = dict(
        os.environ,
        PALETTE_API_URL=plane.url,
        PALETTE_API_KEY=plane.key,
        PALETTE_PROJECT=PROJECT,
        ANSIBLE_FORKS=str(forks),
        ANSIBLE_LOCALHOST_WARNING="false",
        TMPDIR=str(folder),
    )
    started = time.monotonic()
    done = subprocess.run(
        [str(BIN / "ansible-playbook"), "-i", str(inventory), str(playbook)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise SystemExit(f"A play failed:\n{done.stdout[-3000:]}")
    return seconds


def task(module: str, **arguments: typing.Any) -> dict[str, typing.Any]:
    return {"name": module, f"paletteops.modes.{module}": arguments}


def floor(plane: Plane, calls: list[dict[str, typing.Any]], body: typing.Callable[[int], bytes | None]) -> float:
    """Seconds that a bare keep-alive client needs for as many calls of each prefix, as fast as the limits allow.

    body   the body of the n-th creation, None where the calls only read
    """
    rates = {"clusterprofiles": 50.0, "cloudconfigs": 50.0}
    pool = urllib3.PoolManager()
    headers = {"ApiKey": plane.key, "ProjectUid": project_uid(plane), "Content-Type": "application/json"}
    free: dict[str, float] = collections.defaultdict(float)
    created = 0
    started = time.monotonic()
    for call in calls:
        prefix = call["path"].split("/")[2]
        rate = rates.get(prefix, 10.0)
        now = time.monotonic()
        free[prefix] = max(free[prefix], now) + 1 / rate
        pause = free[prefix] - 5.0 + 1 / rate - now
        if pause > 0:
            time.sleep(pause)
        data: bytes | None = None
        if call["method"] == "POST" and re.fullmatch(r"/v1/spectroclusters/\w+", call["path"]):
            data = body(created)
            created += 1
        elif call["method"] == "POST":
            data = b"{}"
        pool.request(call["method"], plane.url + call["path"], headers=headers, body=data, retries=False)
    return time.monotonic() - started


def project_uid(plane: Plane) -> str:
    answer = plane.pool.request("GET", plane.url + "/v1/dashboard/projects/metadata", headers={"ApiKey": plane.key})
    return next(str(item["metadata"]["uid"]) for item in answer.json()["items"] if item["metadata"]["name"] == PROJECT)


def creation_body(plane: Plane) -> typing.Callable[[int], bytes]:
    """Bodies of bare creations, with names of their own."""
    headers = {"ApiKey": plane.key, "ProjectUid": project_uid(plane)}

    def uid(path: str) -> str:
        items = plane.pool.request("GET", plane.url + path, headers=headers).json()["items"]
        return next(str(item["metadata"]["uid"]) for item in items if item["metadata"]["name"] == "bench")

    account, profile = uid("/v1/dashboard/cloudaccounts/metadata"), uid("/v1/dashboard/clusterprofiles/metadata")
    pools = [
        {
            "cloudConfig": {"instanceType": "m6i.large"},
            "poolConfig": {"name": name, "size": size, "isControlPlane": control, "labels": [label]},
        }
        for name, size, control, label in (
            ("control-plane", 1, True, "control-plane"),
            ("workers", 2, False, "worker"),
        )
    ]

    def body(number: int) -> bytes:
        spec = {
            "cloudType": "aws",
            "cloudAccountUid": account,
            "cloudConfig": {"region": "eu-central-1"},
            "machinepoolconfig": pools,
            "profiles": [{"uid": profile}],
        }
        return json.dumps({"metadata": {"name": f"bare-{number:03d}"}, "spec": spec}).encode()

    return body


def per_cluster(calls: list[dict[str, typing.Any]], clusters: int) -> str:
    shapes = collections.Counter(f"{call['method']} {re.sub(r'[0-9a-f]{24}', '{uid}', call['path'])}" for call in calls)
    lines = [f"    {count / clusters:6.2f}  {shape}" for shape, count in shapes.most_common()]
    return "\n".join(lines)


def measure(clusters: int, forks: int, folder: pathlib.Path) -> None:
    plane = Plane(folder / "plane")
    bare = Plane(folder / "bare")
    try:
        shared = [task("project", name=PROJECT), task("cloud_account", **ACCOUNT), task("cluster_profile", **PROFILE)]
        for target in (plane, bare):
            play(folder, target, shared, 1, forks)
        plane.requests()
        submit = task("cluster", name="{{ inventory_hostname }}", **CLUSTER)
        wait = task("cluster_wait", name="{{ inventory_hostname }}", wait_interval=2)

        print(f"{clusters} clusters, {forks} forks, {os.cpu_count()} cores\n")
        no_op = play(folder, plane, [NO_OP, NO_OP], clusters, forks)
        body = creation_body(bare)
        for title in ("new", "unchanged"):
            seconds = play(folder, plane, [submit, wait], clusters, forks)
            calls = plane.requests()
            refused = sum(call["status"] == 429 for call in calls)
            floor_calls = [call for call in calls if call["status"] != 429]
            bottom = floor(bare, floor_calls, body)
            print(f"{title} clusters: {len(calls) / clusters:.2f} calls each, {refused} refused for their rate")
            print(per_cluster(calls, clusters))
            print(f"  wall {seconds:.1f} s; floor {bottom:.1f} s, ratio {seconds / bottom:.2f}; ", end="")
            print(f"as many no-op tasks {no_op:.1f} s, ratio {seconds / no_op:.2f}\n")
            plane.requests()

        hosts = 100
        api = play(folder, plane, [task("cluster_profile", **PROFILE)], hosts, forks)
        api_calls = plane.requests()
        no_op = play(folder, plane, [NO_OP], hosts, forks)
        calls_alone = floor(bare, api_calls, body)
        each = {name: value / hosts * 1000 for name, value in (("api", api), ("no-op", no_op), ("calls", calls_alone))}
        print(f"one API task: {len(api_calls) / hosts:.2f} calls, {each['api']:.1f} ms a host-task")
        print(f"  Ansible's no-op action {each['no-op']:.1f} ms, the bare calls {each['calls']:.1f} ms, ", end="")
        print(f"overhead {each['api'] - each['no-op'] - each['calls']:.1f} ms")
    finally:
        for running in (plane, bare):
            with contextlib.suppress(ProcessLookupError):
                running.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what a fleet costs, as ratios in one run.")
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--forks", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="paletteops-bench-") as folder:
        measure(options.clusters, options.forks, pathlib.Path(folder))


if __name__ == "__main__":
    main()
