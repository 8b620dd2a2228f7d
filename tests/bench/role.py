# Copyright: (c) 2026, the paletteops.modes contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the role `agent` on real hosts over SSH (root, Debian): `role.py [--hosts N] [--forks N] [--tasks]`.

The hosts (50 by default) are machines of the end-to-end tests. The playbook `agent` brings them the agent, which
registers with a plane that has its limits on; then it runs again, and has nothing to do. Each run is set beside what
Ansible itself needs in the same minutes on the same hosts, with the same options, over connections that it makes anew
as the run did:
- as many no-op tasks as the recap counts, each a module on every host (`ansible.builtin.ping`, with become);
- no-op tasks of the same kind: such a module for a task that goes to the host, `ansible.builtin.assert` for one that
  Ansible does by itself. This is the smaller floor, and no aim was set for it;
- for the first run, a plain copy of the agent's file to all hosts (scp), as many at once as there are forks.

The packages that the agent needs are on the hosts before: what a package manager takes is not the role's.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
import typing
from collections.abc import Sequence
from pathlib import Path

import httpx
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from e2e import agent
from e2e.hosts import GATEWAY, REPOSITORY, USER, Base, Hosts, HostsError, command, ended_by_signals, prepare_base
from support.plane import RunningPlane

#: aims, as multiples of the floor
FIRST, AGAIN = 1.5, 1.3
PROJECT, TOKEN = "Default", "bench"
#: what Ansible does by itself; all else goes to the host
OWN_ACTIONS = ("set_fact", "fail", "debug", "assert", "group_by", "include_vars", "include_tasks", "include_role")
VARIABLES = REPOSITORY / "roles" / "agent" / "vars" / "debian.yml"


class Ready(Hosts):
    """Hosts on which the packages are that the agent needs."""

    def prepare(self) -> Base:
        base = prepare_base(self.say)
        names = sorted(yaml.safe_load(VARIABLES.read_text("utf-8"))["palette__family"]["packages"].values())
        folder = base.folder.with_name(base.folder.name + "-packages")
        done = folder.with_name("packages.done")
        if not done.exists() or done.read_text("utf-8").split() != names:
            self.say("the packages that the agent needs, once")
            shutil.rmtree(folder, ignore_errors=True)
            command(["cp", "-a", str(base.folder), str(folder)])
            (folder / "srv/packages").mkdir(exist_ok=True)
            install = "apt-get -qq update && apt-get -qq -y --no-install-recommends install "
            inside = f"export DEBIAN_FRONTEND=noninteractive; {install} {shlex.join(names)} >&2; apt-get clean"
            script = f'mount --bind {base.packages} {folder}/srv/packages; exec chroot {folder} sh -ec "{inside}"'
            command(["unshare", "--mount", "sh", "-ec", script])
            done.write_text(" ".join(names), "utf-8")
        return dataclasses.replace(base, folder=folder)


@dataclasses.dataclass(frozen=True)
class Played:
    """What a run of a playbook took, and what it ran."""

    seconds: float
    #: of the processor, by Ansible's own processes
    processor: float
    #: as the recap counts, at most of all hosts
    ok: int
    changed: int
    tasks: list[dict[str, typing.Any]]


@dataclasses.dataclass(frozen=True)
class Floors:
    """What a run is set beside; ``copied`` in seconds, 0 where nothing is copied."""

    on_hosts: Played
    same_kinds: Played
    copied: float = 0.0


class Bench:
    """An inventory of the hosts, and playbooks that run with it."""

    def __init__(self, hosts: Hosts, plane: RunningPlane, forks: int) -> None:
        self.hosts, self.plane, self.forks = hosts, plane, forks
        self.folder = hosts.folder / "ansible"
        self.folder.mkdir()
        self.agent = agent.build_agent(hosts.folder / "agent")
        self.inventory = self.folder / "hosts.json"
        self.configuration = self.folder / "ansible.cfg"
        self.configuration.write_text(
            f"[defaults]\nforks = {forks}\ncallback_plugins = {Path(__file__).parent / 'callbacks'}\n"
            "callbacks_enabled = bench_tasks\n[ssh_connection]\npipelining = true\n",
            "utf-8",
        )
        self.number = 0
        self._write_inventory()

    def _write_inventory(self) -> None:
        file = {"path": "/etc/spectro/paletteops-agent.yaml", "permissions": 0o600, "content": "engine: simulated\n"}
        variables = {
            "ansible_user": USER,
            "ansible_ssh_common_args": shlex.join(self.hosts.ssh_options),
            "ansible_python_interpreter": "/usr/bin/python3",
            "palette_mode": "agent",
            "palette_project": PROJECT,
            "palette_registration_token": TOKEN,
            "palette_agent_file": str(self.agent),
            "palette_agent_user_data": {"stages": {"initramfs": [{"name": "bench", "files": [file]}]}},
        }
        machines = {host.name: {"ansible_host": host.address} for host in self.hosts}
        groups = {"palette_clusters": {}, "palette_hosts": {"hosts": machines, "vars": variables}}
        self.inventory.write_text(json.dumps({"all": {"children": groups}}), "utf-8")

    def play(self, playbook: str) -> Played:
        """Runs a playbook, with connections of its own. Fails where a task fails."""
        self.number += 1
        folder = self.folder / str(self.number)
        folder.mkdir()
        environment = {
            **os.environ,
            "PALETTE_API_URL": self.plane.url,
            "PALETTE_API_KEY": self.plane.key,
            "PALETTE_CA_PATH": self.plane.ca_file or "",
            "HOME": str(folder),
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".venv" / "collections"),
            "ANSIBLE_CONFIG": str(self.configuration),
            "ANSIBLE_HOME": str(folder),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "ANSIBLE_NOCOLOR": "1",
            "BENCH_TASKS": str(folder / "tasks.json"),
        }
        words = [str(REPOSITORY / ".venv" / "bin" / "ansible-playbook"), "-i", str(self.inventory), playbook]
        used, began = processor_seconds(), time.monotonic()
        done = subprocess.run(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seconds = time.monotonic() - began
        if done.returncode:
            raise agent.Failure(f"{playbook} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        report = json.loads((folder / "tasks.json").read_text("utf-8"))
        changed = sum("changed=0" not in line for line in done.stdout.splitlines() if "changed=" in line)
        ok = max(report["ok"].values())
        return Played(seconds, processor_seconds() - used, ok, changed, report["tasks"])

    def no_ops(self, tasks: Sequence[dict[str, typing.Any]]) -> Played:
        playbook = self.folder / "no-op.json"
        playbook.write_text(json.dumps([{"hosts": "palette_hosts", "gather_facts": False, "tasks": list(tasks)}]))
        return self.play(str(playbook))

    def copy(self) -> float:
        """Seconds of a plain copy of the agent to all hosts, as many at once as there are forks."""

        def one(address: str) -> None:
            target = f"{USER}@{address}:/tmp/palette-agent"
            command(["scp", "-q", *self.hosts.ssh_options, str(self.agent), target])

        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(self.forks) as pool:
            list(pool.map(one, [host.address for host in self.hosts]))
        return time.monotonic() - began

    def calls(self) -> int:
        """How often Ansible called the plane since the last time that this was asked."""
        with self.plane.client() as client:
            items = client.get("/embedded/v1/requests").json()
            client.delete("/embedded/v1/requests")
        listed = items["items"] if isinstance(items, dict) else items
        return sum(
            item["path"].startswith(("/v1/dashboard/", "/v1/projects", "/v1/edgehosts/tokens")) for item in listed
        )


def processor_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def goes_to_host(task: dict[str, typing.Any]) -> bool:
    action = str(task["action"])
    return not action.startswith("paletteops.") and action.rpartition(".")[2] not in OWN_ACTIONS


def over_connections(count: int) -> list[dict[str, typing.Any]]:
    return [{"name": "A no-op on the host", "ansible.builtin.ping": {}, "become": True}] * count


def of_the_same_kind(tasks: Sequence[dict[str, typing.Any]]) -> list[dict[str, typing.Any]]:
    """A no-op for each task that ran: on the host or by Ansible, on one host or on all."""
    found: list[dict[str, typing.Any]] = []
    for task in tasks:
        if not task["ok"]:
            continue
        own = {"name": "A no-op of Ansible's own", "ansible.builtin.assert": {"that": True, "quiet": True}}
        kind = over_connections(1)[0] if goes_to_host(task) else own
        found.append({**kind, "run_once": True} if task["ok"] == 1 else kind)
    return found


def make_token(client: httpx.Client) -> None:
    items = client.get("/v1/dashboard/projects/metadata").json()["items"]
    project = next(item["metadata"]["uid"] for item in items if item["metadata"]["name"] == PROJECT)
    body = {"metadata": {"name": TOKEN}, "spec": {"defaultProjectUid": project}}
    client.post("/v1/edgehosts/tokens", json=body).raise_for_status()


def row(title: str, seconds: float, processor: float | None = None) -> None:
    used = "" if processor is None else f"   ({processor:.1f} s of the processor, by Ansible)"
    print(f"  {title:34} {seconds:6.1f} s{used}")


def report(title: str, run: Played, calls: int, floors: Floors, aim: float, every_task: bool) -> None:
    there = sum(bool(task["ok"]) and goes_to_host(task) for task in run.tasks)
    changed = f", {run.changed} hosts changed" if run.changed else ""
    print(f"{title}: {run.ok} tasks a host, {there} of them on the host; {calls} calls of the plane's API{changed}")
    row("the role", run.seconds, run.processor)
    row("as many no-op tasks on the hosts", floors.on_hosts.seconds, floors.on_hosts.processor)
    row("no-op tasks of the same kinds", floors.same_kinds.seconds, floors.same_kinds.processor)
    if floors.copied:
        row("a plain copy", floors.copied)
    added = " and the copy" if floors.copied else ""
    print(
        f"  ratio to no-op tasks on the hosts{added} {run.seconds / (floors.on_hosts.seconds + floors.copied):.2f}",
        end="",
    )
    print(f" (aim {aim}); to those of the same kinds {run.seconds / (floors.same_kinds.seconds + floors.copied):.2f}")
    in_tasks = sum(task["seconds"] for task in run.tasks)
    print(f"  before, between and after tasks {run.seconds - in_tasks:.1f} s; tasks:")
    shown = run.tasks if every_task else sorted(run.tasks, key=lambda task: -task["seconds"])[:6]
    for task in shown:
        print(f"    {task['seconds']:6.2f} s  {task['ok']:3} ran, {task['skipped']:3} skipped  {task['name']}")
    print(flush=True)


def measure(hosts: Hosts, plane: RunningPlane, forks: int, every_task: bool) -> None:
    for host in hosts:
        # some unit may have failed; what counts is that all have been started
        host.run(["systemctl", "is-system-running", "--wait"], check=False)
    with plane.client() as client:
        make_token(client)
    bench = Bench(hosts, plane, forks)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    size = bench.agent.stat().st_size / 1024
    print(
        f"{len(list(hosts))} hosts, {forks} forks, {os.cpu_count()} cores, load {load}; the agent has {size:.0f} KiB\n"
    )
    bench.calls()
    first = bench.play("paletteops.modes.agent")
    first_calls = bench.calls()
    again = bench.play("paletteops.modes.agent")
    again_calls = bench.calls()
    for title, run, calls, aim in (("first run", first, first_calls, FIRST), ("re-run", again, again_calls, AGAIN)):
        on_hosts, same_kinds = bench.no_ops(over_connections(run.ok)), bench.no_ops(of_the_same_kind(run.tasks))
        floors = Floors(on_hosts, same_kinds, bench.copy() if run is first else 0.0)
        report(title, run, calls, floors, aim, every_task)
    if again.changed:
        raise agent.Failure("the re-run changed something")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="role.py", description="Measures the role agent on real hosts over SSH.")
    parser.add_argument("--hosts", type=int, default=50, help="how many (50)")
    parser.add_argument("--forks", type=int, default=5, help="of Ansible (5, its default)")
    parser.add_argument("--tasks", action="store_true", help="all tasks with their time, in their order")
    options = parser.parse_args(arguments)
    try:
        with ended_by_signals(), Ready(options.hosts) as hosts:
            plane = RunningPlane(hosts.folder / "plane", tls=True, listen=f"{GATEWAY}:0")
            with plane:
                measure(hosts, plane, options.forks, options.tasks)
    except (agent.Failure, HostsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
