# Copyright: (c) 2026, the paletteops.modes contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what a plane with its limits on pays for hosts at rest: `hosts.py [--count N] [--seconds S]`.

N simulated agents (1,000 by default) share one process. Once all are registered, each sends its heartbeat every minute
and waits for news on an open connection. Printed are the plane's share of a core, its memory, and the slowest answer
to a person who asks meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import typing

from bench import Plane

#: a fleet registers below the limit of one address; waiting longer than this many seconds a host is hopeless
SECONDS_A_HOST = 0.5
TICKS = os.sysconf("SC_CLK_TCK")
Answer = tuple[float, typing.Any]


def ask(plane: Plane, method: str, path: str, body: typing.Any = None, project: str = "") -> Answer:
    """Seconds that an answer took, and what it says. Fails where it is an error."""
    headers = {"ApiKey": plane.key, "Content-Type": "application/json"}
    if project:
        headers["ProjectUid"] = project
    data = None if body is None else json.dumps(body).encode()
    began = time.monotonic()
    answer = plane.pool.request(method, plane.url + path, headers=headers, body=data, retries=False)
    seconds = time.monotonic() - began
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {answer.data.decode()[:300]}")
    return seconds, answer.json() if answer.data else None


def registration_token(plane: Plane, project: str) -> str:
    body = {"metadata": {"name": "bench"}, "spec": {"defaultProjectUid": project}}
    uid = ask(plane, "POST", "/v1/edgehosts/tokens", body)[1]["uid"]
    return str(ask(plane, "GET", f"/v1/edgehosts/tokens/{uid}")[1]["spec"]["token"])


def processor_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int, row: str) -> float:
    """MiB of a row of the process's status, such as VmRSS."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(row + ":")).split()[1]) / 1024


def healthy(plane: Plane, project: str) -> int:
    condition = {"string": {"operator": "eq", "match": {"values": ["healthy"]}}}
    filters = [{"property": "healthState", "type": "string", "condition": condition}]
    body = {"filter": {"filterGroups": [{"conjunction": "and", "filters": filters}]}, "sort": []}
    answer = ask(plane, "POST", "/v1/dashboard/edgehosts/search?limit=1", body, project)[1]
    return int(answer["listmeta"]["count"])


def measure(count: int, seconds: float, folder: pathlib.Path) -> None:
    plane = Plane(folder / "plane")
    agents: subprocess.Popen[bytes] | None = None
    try:
        projects = ask(plane, "GET", "/v1/dashboard/projects/metadata")[1]["items"]
        project = str(projects[0]["metadata"]["uid"])
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(registration_token(plane, project), "utf-8")
        command = [sys.executable, "-m", "paletteops_agent.fleet", "--count", str(count), "--endpoint", plane.url]
        command += ["--token-file", str(token), "--folder", str(folder / "hosts"), "--no-api"]
        agents = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began = time.monotonic()
        while (there := healthy(plane, project)) < count:
            if time.monotonic() - began > 30 + SECONDS_A_HOST * count or agents.poll() is not None:
                raise SystemExit(f"Of {count} hosts {there} are registered and healthy.")
            time.sleep(2)
        print(f"{count} hosts, {os.cpu_count()} cores: registered in {time.monotonic() - began:.0f} s")

        pid = plane.process.pid
        used, began = processor_seconds(pid), time.monotonic()
        slowest = search = 0.0
        while (passed := time.monotonic() - began) < seconds:
            slowest = max(slowest, ask(plane, "GET", f"/v1/edgehosts/edge-{count:04}", project=project)[0])
            search = max(search, ask(plane, "POST", "/v1/dashboard/edgehosts/search", {}, project)[0])
            time.sleep(1)
        share = (processor_seconds(pid) - used) / passed
        print(f"  at rest for {passed:.0f} s: {share:.1%} of a core, {memory(pid, 'VmRSS'):.0f} MiB")
        print(f"  (at most {memory(pid, 'VmHWM'):.0f} MiB at any time)")
        print(f"  slowest answer about one host {slowest * 1000:.0f} ms, of a search {search * 1000:.0f} ms")
    finally:
        if agents is not None:
            agents.terminate()
            agents.wait(60)
        plane.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what a plane pays for hosts at rest.")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="paletteops-bench-") as folder:
        measure(options.count, options.seconds, pathlib.Path(folder))


if __name__ == "__main__":
    main()
