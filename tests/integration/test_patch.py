# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook patch, on machines of folders (see foldermachines.py). What the cluster says comes from a file.

Patching with a real Kubernetes is tested end to end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from foldermachines import Machine, needed
from support.plane import RunningPlane
from test_playbooks import Ran
from test_playbooks_hosts import STORE, Hosts, cluster

Values = dict[str, Any]

#: Stand for the modules of kubernetes.core: the cluster is a file of nodes, and of what was done with them.
STANDS_FOR = """\
import json, os
from ansible.module_utils.basic import AnsibleModule

def main():
    module = AnsibleModule({"kubeconfig": {}, "kind": {}, "name": {}, "state": {}, "definition": {"type": "dict"},
                            "delete_options": {"type": "dict"}}, supports_check_mode=True)
    given, path = module.params, os.environ["STANDS_FOR_A_CLUSTER"]
    with open(path) as stream:
        cluster = json.load(stream)
    node = next((one for one in cluster["nodes"] if one["metadata"]["name"] == given["name"]), None)
    failure = ""
    if given["definition"]:
        wanted = given["definition"]
        node = next(one for one in cluster["nodes"] if one["metadata"]["name"] == wanted["metadata"]["name"])
        node["metadata"]["annotations"].update(wanted["metadata"]["annotations"])
        node["spec"].update(wanted.get("spec", {}))
    elif given["state"] == "drain":
        cluster["drained"].append(given["name"])
        if cluster["refusals"]:
            cluster["refusals"] -= 1
            failure = "Cannot evict pod"
    elif given["state"] == "uncordon":
        del node["spec"]["unschedulable"]
    with open(path, "w") as stream:
        json.dump(cluster, stream)
    if failure:
        module.fail_json(msg=failure)
    module.exit_json(changed=bool(given["state"]), resources=[node] if given["name"] else cluster["nodes"])

main()
"""

NODE = "The machine is the node's"
PATCHED = "The host was patched"


class Patching:
    """A cluster of three hosts and what patches them."""

    def __init__(self, place: Hosts, folder: Path) -> None:
        self.place, self.folder = place, folder
        self.machines = {name: Machine(name, folder) for name in ("a-1", "a-2", "a-3")}
        modules = folder / "collections/ansible_collections/kubernetes/core/plugins/modules"
        modules.mkdir(parents=True)
        for name in ("k8s", "k8s_info", "k8s_drain"):
            (modules / f"{name}.py").write_text(STANDS_FOR, "utf-8")
        self.tasks, self.file = folder / "tasks.yml", folder / "cluster.json"
        self.does("touch /opt/patched")
        self.stands(0)
        self.lay_out()

    def lay_out(self, **more: Values) -> None:
        machines = {
            name: {**machine.variables, "palette_agent_install": False, **more.get(name.replace("-", "_"), {})}
            for name, machine in self.machines.items()
        }
        self.place.lay_out({STORE: cluster("a-1", "a-2", "a-3")}, machines)

    def stands(self, refusals: int) -> None:
        nodes = [
            {
                "metadata": {"name": name, "annotations": {}},
                "spec": {},
                "status": {
                    "nodeInfo": {"machineID": (machine.root / "etc/machine-id").read_text("ascii").strip()},
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }
            for name, machine in self.machines.items()
        ]
        self.file.write_text(json.dumps({"nodes": nodes, "drained": [], "refusals": refusals}), "utf-8")

    def does(self, command: str) -> None:
        """The user's tasks."""
        self.tasks.write_text(json.dumps([{"name": "Mine", "ansible.builtin.shell": command}]), "utf-8")

    def run(self, **given: Any) -> Ran:
        given = {"palette_patch_tasks": str(self.tasks), "palette_patch_reboot": "never", **given}
        collections = self.place.ansible.environment()["ANSIBLE_COLLECTIONS_PATH"]
        return self.place.run(
            "patch",
            "-e",
            json.dumps(given),
            ANSIBLE_COLLECTIONS_PATH=f"{self.folder / 'collections'}:{collections}",
            STANDS_FOR_A_CLUSTER=str(self.file),
        )

    @property
    def drained(self) -> list[str]:
        return list(json.loads(self.file.read_text("utf-8"))["drained"])

    @property
    def cordoned(self) -> list[str]:
        nodes = json.loads(self.file.read_text("utf-8"))["nodes"]
        return [node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")]

    @property
    def patched(self) -> list[str]:
        return [name for name, machine in self.machines.items() if (machine.root / "opt/patched").exists()]


@pytest.fixture
def patching(planes: Callable[..., RunningPlane], tmp_path: Path) -> Iterator[Patching]:
    needed()
    place = Hosts(planes(), tmp_path / "runs")
    with place.fleet:
        made = Patching(place, tmp_path)
        place.run("foundation").fine()
        place.start("a-1", "a-2", "a-3")
        place.run("agent").fine()
        yield made
    assert not place.fleet.errors


def test_a_patch_that_fails_says_what_stays_and_is_finished_by_the_next_run(patching: Patching) -> None:
    patching.does("echo no such mirror >&2; exit 3")
    ran = patching.run()
    assert ran.rc == 2
    message = ran.message(PATCHED, "a-1")
    for word in ("Mine", "no such mirror", "The node a-1 stays cordoned", "run the playbook again"):
        assert word in message
    assert (patching.drained, patching.cordoned) == (["a-1"], ["a-1"])
    patching.does("touch /opt/patched")
    patching.run().fine()
    assert (patching.patched, patching.cordoned) == (["a-1", "a-2", "a-3"], [])
    assert not (patching.machines["a-1"].root / "var/lib/paletteops/patching").exists()


def test_hosts_of_a_batch_stop_with_the_one_that_fails(patching: Patching) -> None:
    patching.does('test "$(hostname)" != a-2 && touch /opt/patched')
    ran = patching.run(palette_patch_batch=2)
    assert ran.rc == 2
    assert ran.message("Mine", "a-2")
    for name in ("a-2", "a-3"):
        assert f"The node {name} stays cordoned" in ran.message(PATCHED, name)
    assert patching.cordoned == ["a-2", "a-3"]
    patching.does("touch /opt/patched")
    patching.run(palette_patch_batch=2).fine()
    assert (patching.patched, patching.cordoned) == (["a-1", "a-2", "a-3"], [])


def test_a_drain_that_is_refused_is_tried_again_until_its_time_is_over(patching: Patching) -> None:
    patching.stands(1)
    patching.run().fine()
    assert patching.drained == ["a-1", "a-1", "a-2", "a-3"]
    patching.stands(1)
    ran = patching.run(palette_patch_drain_timeout=0)
    assert ran.rc == 2
    assert "Drain the node: Cannot evict pod. The node a-1 stays cordoned" in ran.message(PATCHED, "a-1")
    assert (patching.drained, patching.cordoned) == (["a-1"], ["a-1"])


def test_a_node_is_not_drained_for_another_machine(patching: Patching) -> None:
    wrong = patching.machines["a-1"].variables
    patching.lay_out(a_2={"ansible_ssh_executable": wrong["ansible_ssh_executable"], "ansible_host": "wrong.example"})
    before = patching.machines["a-1"].files()
    ran = patching.run(palette_patch_pending=str(pending(patching, "a-2")))
    assert ran.rc == 2
    message = ran.message(NODE, "a-2")
    for word in ("'a-2' is the node 'a-2'", "'wrong.example'", "that of the node a-1", "Correct ansible_host"):
        assert word in message
    assert (patching.drained, patching.cordoned, patching.patched) == ([], [], [])
    assert patching.machines["a-1"].files() == before


def pending(patching: Patching, host: str) -> Path:
    """Says that there is something to do on this host alone."""
    path = patching.folder / "pending.yml"
    needed_there = {"palette_patch_needed": f"{{{{ inventory_hostname == '{host}' }}}}"}
    path.write_text(json.dumps([{"name": "Look", "ansible.builtin.set_fact": needed_there}]), "utf-8")
    return path
