# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks and the role, run by their names on inventories, against planes of their own."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.collection import NAME, REPOSITORY
from support.plane import RunningPlane
from support.project import faults
from support.runs import Ansible, Api

Values = dict[str, Any]

EXAMPLE = REPOSITORY / "inventory" / "example"

RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)

CANARY = "canary-5d1e-secret"

PLACEMENT = [{"cluster": "compute", "datastore": "fast", "network": "clusters", "resource_pool": "pool"}]
MACHINE = {"num_cpus": 4, "memory_mib": 8192, "disk_gib": 60}

ALL: Values = {
    "palette_mode": "controller",
    "palette_wait_interval": 1,
    "palette_projects": [{"name": "shops"}, {"name": "plants"}],
}

SHOPS: Values = {
    "palette_project": "shops",
    "palette_cloud": "aws",
    "palette_cloud_account": "shops-aws",
    "palette_cloud_config": {"region": "eu-central-1"},
    "palette_profiles": [{"name": "shop-base", "version": "1.x"}],
    "palette_pools": [
        {"name": "control-plane", "control_plane": True, "size": 1, "instance_type": "m6i.large"},
        {"name": "workers", "size": 1, "instance_type": "m6i.large"},
    ],
    "palette_cloud_accounts": [
        {"name": "shops-aws", "cloud": "aws", "credentials": {"access_key": "AKIATEST", "secret_key": CANARY}}
    ],
    "palette_cluster_profiles": [
        {
            "name": "shop-base",
            "version": "1.0.0",
            "cloud": "aws",
            "packs": [
                {"name": "ubuntu-aws", "version": "22.04"},
                {"name": "kubernetes", "version": "1.31.9"},
                {"name": "cni-calico", "version": "3.30.x"},
                {"name": "csi-aws-ebs", "version": "1.46.0"},
            ],
        }
    ],
}

PLANTS: Values = {
    "palette_project": "plants",
    "palette_cloud": "vsphere",
    "palette_cloud_account": "plants-vcenter",
    "palette_cloud_config": {
        "datacenter": "plants",
        "folder": "clusters",
        "control_plane_endpoint": {"host": "192.0.2.40", "type": "VIP"},
        "ssh_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITest ops@plants.example"],
    },
    "palette_profiles": [{"name": "plant-base", "version": "1.x"}],
    "palette_pools": [
        {
            "name": "control-plane",
            "control_plane": True,
            "control_plane_as_worker": True,
            "size": 1,
            "instance_type": MACHINE,
            "placements": PLACEMENT,
        }
    ],
    "palette_cloud_accounts": [
        {
            "name": "plants-vcenter",
            "cloud": "vsphere",
            "private_cloud_gateway": "pcg-default",
            "credentials": {"vcenter_server": "vcenter.example", "username": "palette", "password": CANARY},
        }
    ],
    "palette_cluster_profiles": [
        {
            "name": "plant-base",
            "version": "1.0.0",
            "cloud": "vsphere",
            "packs": [
                {"name": "ubuntu-vsphere", "version": "22.04"},
                {"name": "kubernetes", "version": "1.31.9"},
                {"name": "cni-calico", "version": "3.30.x"},
                {"name": "csi-vsphere-csi", "version": "3.5.x"},
            ],
        }
    ],
}

SHOP, OTHER_SHOP, PLANT = "shop-a", "shop-b", "plant-a"

#: The variables of a cloud, which the other modes do not have.
CLOUDY = ("palette_cloud", "palette_cloud_account", "palette_cloud_config")

#: What makes a cluster of hosts out of one of a cloud.
OF_NO_CLOUD: Values = {
    **dict.fromkeys(CLOUDY),
    "palette_vip": "192.0.2.50",
    "palette_pools": [{"name": "control-plane", "control_plane": True, "hosts": ["shop-host"]}],
}

CHECK = "Check the variables of each cluster"
SUBMIT = "Bring the cluster to what the inventory says"
WAIT = "Wait until the cluster runs and is healthy"
UPGRADE = "Move the cluster's profiles to the newest versions in range"
CONFIRM = "All clusters of the play are confirmed"


@dataclasses.dataclass(frozen=True)
class Ran:
    """A run of a playbook: what its recap says, and the results of its tasks by task and host."""

    rc: int
    text: str
    changed: dict[str, int]
    failed: dict[str, int]
    results: dict[tuple[str, str], Values]
    writes: list[str]

    def fine(self) -> Ran:
        assert self.rc == 0, self.text
        return self

    def message(self, task: str, host: str) -> str:
        result = self.results[task, host]
        assert result["failed"], result
        return str(result["msg"])

    @property
    def summary(self) -> dict[str, str]:
        """The lines of the summary by their first word."""
        (lines,) = (
            result["msg"] for (task, _), result in self.results.items() if task == "Summary" and "msg" in result
        )
        return {line.split()[0]: line for line in lines}


class Place:
    """A plane, and a folder with an inventory for it."""

    def __init__(self, plane: RunningPlane, folder: Path) -> None:
        self.plane = plane
        self.folder = folder
        self.ansible = Ansible(plane, folder)
        self.inventory = folder / "hosts.json"

    def write(self, clusters: Mapping[str, Values], everywhere: Values | None = None) -> None:
        """An inventory of the clusters, by the group that their name begins with."""
        groups = {"shops": ("shop", SHOPS), "plants": ("plant", PLANTS)}
        children = {
            group: {"vars": values, "hosts": {name: own for name, own in clusters.items() if name.startswith(start)}}
            for group, (start, values) in groups.items()
        }
        content = {"palette_clusters": {"vars": {**ALL, **(everywhere or {})}, "children": children}}
        self.inventory.write_text(json.dumps(copy.deepcopy(content)), "utf-8")

    def run(self, playbook: str, *options: str, inventory: Path | None = None, **env: str | None) -> Ran:
        play = self.ansible.playbook(
            playbook if "/" in playbook else f"{NAME}.{playbook}",
            "-i",
            str(inventory or self.inventory),
            *options,
            env=env,
        )
        record = self.ansible.recording()[0]
        lines = [json.loads(line) for line in record.read_text("utf-8").splitlines()] if record.exists() else []
        recap = {name: [int(number) for number in numbers] for name, *numbers in RECAP.findall(play.stdout)}
        return Ran(
            play.rc,
            play.stdout + play.stderr,
            {name: numbers[0] for name, numbers in recap.items()},
            {name: numbers[2] for name, numbers in recap.items() if numbers[2]},
            {
                (one["task"].rpartition(" : ")[2], one["host"]): {**one["result"], "failed": one["kind"] == "failed"}
                for one in lines
            },
            [write for outcome in play.outcomes for write in outcome.writes],
        )

    def api(self, project: str) -> Api:
        (uid,) = (uid for name, uid in Api(self.plane).names("projects").items() if name == project)
        return Api(self.plane, uid)

    def clusters(self, project: str) -> dict[str, str]:
        found: dict[str, str] = self.api(project).names("spectroclusters")
        return found

    def pools(self, project: str, cluster: str) -> dict[str, Any]:
        api = self.api(project)
        spec = api.get(f"/v1/spectroclusters/{self.clusters(project)[cluster]}")["spec"]
        config = api.get(f"/v1/cloudconfigs/{spec['cloudType']}/{spec['cloudConfigRef']['uid']}")
        return {pool["name"]: pool for pool in config["spec"]["machinePoolConfig"]}


@pytest.fixture
def place(planes: Callable[..., RunningPlane], tmp_path: Path) -> Place:
    """A plane with nothing on it."""
    return Place(planes(), tmp_path / "runs")


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A plane on which the inventory's three clusters run; tests leave them as they are, or use one of their own."""
    folder = tmp_path_factory.mktemp("stocked")
    with RunningPlane(folder / "plane", speed=100_000.0, limits=False) as plane:
        place = Place(plane, folder / "runs")
        place.write({SHOP: {}, OTHER_SHOP: {}, PLANT: {}})
        assert place.run("site").fine().changed == {SHOP: 5, OTHER_SHOP: 2, PLANT: 4}
        yield place


# --- site ---


def test_the_example_is_foretold_made_and_then_left_alone(place: Place) -> None:
    site = ("site", "--limit", "shops:plants")  # the stores' machines are in test_playbooks_hosts.py
    foretold = place.run(*site, "--check", "--diff", inventory=EXAMPLE).fine()
    assert not foretold.writes
    assert set(Api(place.plane).names("projects")) == {"Default"}
    made = place.run(*site, inventory=EXAMPLE, EXAMPLE_WAIT_INTERVAL="1").fine()
    assert made.changed == foretold.changed
    assert len(made.changed) >= 4 and all(made.changed.values())
    for options in ("--check", "--diff"), ("--diff",):
        again = place.run(*site, *options, inventory=EXAMPLE).fine()
        assert set(again.changed.values()) == {0}
        assert not again.writes
    for cluster in made.changed:
        words = again.summary[cluster].split()
        assert words[1] == "controller" and words[3:5] == ["Running", "Healthy"], words
        ready, _, nodes = words[5].partition("/")
        assert ready == nodes and int(nodes) > 0
    kubeconfig = place.ansible.home / ".kube/paletteops/shops/shop-berlin"
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    assert stat.S_IMODE(kubeconfig.parent.stat().st_mode) == 0o700


def test_a_name_that_nobody_defines_is_refused_in_check_mode_too(place: Place) -> None:
    place.write({SHOP: {"palette_profiles": [{"name": "shop-bass"}]}, OTHER_SHOP: {"palette_cloud_account": "nobodys"}})
    ran = place.run("site", "--check")
    assert ran.rc != 0
    assert "shop-base" in ran.message(SUBMIT, SHOP)
    assert "nobodys" in ran.message(SUBMIT, OTHER_SHOP)
    assert not ran.writes


def test_one_failing_cluster_does_not_hide_the_others(place: Place) -> None:
    place.write(
        {
            SHOP: {
                "palette_pools": [SHOPS["palette_pools"][0], {**SHOPS["palette_pools"][1], "instance_type": "m6i.none"}]
            },
            OTHER_SHOP: {},
            "shop-appliance": {"palette_mode": "appliance", **OF_NO_CLOUD},
            PLANT: {"palette_cloud_config": {**PLANTS["palette_cloud_config"], "datacenter": "missing-1"}},
        },
        {"palette_wait_timeout": 3},
    )
    ran = place.run("site")
    assert ran.rc == 2
    assert ran.failed == {SHOP: 1, "shop-appliance": 1, PLANT: 1}
    assert "InstanceTypeNotFound" in ran.message(WAIT, SHOP)
    assert "PlacementNotFound" in ran.message(WAIT, PLANT)
    assert "appliance mode" in ran.message("Appliance mode", "shop-appliance")
    assert ran.summary[OTHER_SHOP].split()[3:5] == ["Running", "Healthy"]
    assert ran.summary[SHOP].split()[3] == "Provisioning"
    assert "InstanceTypeNotFound" in ran.summary[f"{SHOP}:"]
    assert ran.summary["shop-appliance"].split()[3] == "failed"
    place.write({SHOP: {}, OTHER_SHOP: {}, PLANT: {}})  # the pool is corrected, and the cluster goes on
    mended = place.run("site", "--limit", SHOP).fine()
    assert mended.summary[SHOP].split()[3:5] == ["Running", "Healthy"]


def test_a_shared_object_that_fails_stops_the_clusters_that_need_it_only(place: Place) -> None:
    wrong = {**PLANTS["palette_cloud_accounts"][0], "private_cloud_gateway": "pcg-none"}
    place.write({SHOP: {}, PLANT: {"palette_cloud_accounts": [wrong]}})
    ran = place.run("site")
    assert ran.rc == 2
    assert ran.failed == {PLANT: 1}
    assert ran.summary[SHOP].split()[3:5] == ["Running", "Healthy"]
    assert ran.summary[PLANT].split()[3] == "failed"
    assert "pcg-default" in ran.text
    assert not place.clusters("plants")


def test_all_findings_of_all_clusters_stop_the_play_before_anything_is_touched(place: Place) -> None:
    place.write(
        {
            SHOP: {"palette_clowd": "aws"},
            OTHER_SHOP: {"palette_trusted_boot": True, "palette_pools": [{"name": "control-plane", "siez": 1}]},
            PLANT: {},
        }
    )
    for playbook in ("foundation", "controller", "site", "scale", "upgrade", "teardown"):
        ran = place.run(playbook, "-e", "palette_confirm_teardown=all")
        assert ran.rc == 2
        assert "palette_cloud" in ran.message(CHECK, SHOP)
        message = ran.message(CHECK, OTHER_SHOP)
        assert "palette_trusted_boot is 'true'" in message and "appliance" in message
        assert "palette_pools.control-plane.siez" in message and "size" in message
        assert {task for task, _ in ran.results} == {CHECK}
        assert not place.ansible.requests(), "the plane was called"


def test_clusters_that_define_one_object_differently_are_named(place: Place) -> None:
    other = copy.deepcopy(SHOPS["palette_cluster_profiles"])
    other[0]["packs"][1]["version"] = "1.32.9"
    place.write({SHOP: {}, OTHER_SHOP: {"palette_cluster_profiles": other}})
    ran = place.run("site")
    assert ran.rc != 0
    assert f"'{SHOP}' and '{OTHER_SHOP}'" in ran.text and "shop-base" in ran.text
    assert not place.ansible.requests(), "the plane was called"


def test_the_foundation_makes_what_the_clusters_in_the_play_need(place: Place) -> None:
    place.write({SHOP: {}, OTHER_SHOP: {}, PLANT: {}})
    ran = place.run("foundation", "--limit", f"{OTHER_SHOP},localhost").fine()
    assert ran.changed == {OTHER_SHOP: 3}
    assert set(Api(place.plane).names("projects")) == {"Default", "shops", "plants"}
    assert set(place.api("shops").names("cloudaccounts")) == {"shops-aws"}
    assert not place.api("plants").names("cloudaccounts")
    assert place.run("foundation").fine().changed == {SHOP: 0, OTHER_SHOP: 0, PLANT: 2}
    assert not place.clusters("shops")


def test_the_controller_playbook_takes_clusters_of_its_mode_only(stocked: Place) -> None:
    stocked.write({SHOP: {}, "shop-agent": {"palette_mode": "agent", **OF_NO_CLOUD}})
    ran = stocked.run("controller").fine()
    assert ran.changed == {SHOP: 0, "shop-agent": 0}
    assert set(ran.summary) == {"cluster", "kubeconfigs", SHOP}


@pytest.mark.parametrize("killed_after", [9, 30, 45])
def test_a_killed_site_is_completed_by_the_next_one(place: Place, killed_after: int) -> None:
    place.write({SHOP: {}, OTHER_SHOP: {}, PLANT: {}})
    command = place.ansible.command(f"{NAME}.site", "-i", str(place.inventory))
    with faults(place.plane, {"delay_seconds": 0.05, "times": 1000}):
        run = subprocess.Popen(
            command,
            env=place.ansible.environment(),
            cwd=place.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while len(place.ansible.requests()) < killed_after:
            assert run.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    place.run("site").fine()
    for project, names in {"shops": [OTHER_SHOP, SHOP], "plants": [PLANT]}.items():
        made = place.api(project).get("/v1/dashboard/spectroclusters/metadata")["items"]
        assert sorted(item["name"] for item in made) == sorted(names)
    assert set(place.run("site").fine().changed.values()) == {0}


# --- the role ---


def test_nodes_are_verified_by_the_cluster_itself(stocked: Place) -> None:
    stocked.write({SHOP: {}, OTHER_SHOP: {}, PLANT: {}})
    ran = stocked.run("site", "-e", "palette_verify=nodes").fine()
    assert len(ran.results["Read the nodes until all are ready", SHOP]["resources"]) == 2
    assert ("All nodes are there and ready", PLANT) in ran.results
    assert set(ran.changed.values()) == {0}


def test_what_is_not_verified_is_not_waited_for(place: Place) -> None:
    place.write(
        {
            SHOP: {
                "palette_pools": [SHOPS["palette_pools"][0], {**SHOPS["palette_pools"][1], "instance_type": "m6i.none"}]
            }
        }
    )
    ran = place.run("site", "-e", "palette_verify=none").fine()
    assert ran.summary[SHOP].split()[3] == "submitted"
    assert set(place.clusters("shops")) == {SHOP}
    assert not (place.ansible.home / ".kube").exists()


def test_the_role_alone_validates_its_variables(stocked: Place) -> None:
    play = [
        {
            "hosts": SHOP,
            "gather_facts": False,
            "module_defaults": {f"group/{NAME}.palette": {"project": "shops"}},
            "tasks": [{"ansible.builtin.include_role": {"name": f"{NAME}.controller"}}],
        }
    ]
    book = stocked.folder / "role.yml"
    book.write_text(yaml.safe_dump(play), "utf-8")
    stocked.write({SHOP: {"palette_kubeconfig": str(stocked.folder / "own" / "kubeconfig")}})
    assert stocked.run(str(book)).fine().changed == {SHOP: 1}
    assert yaml.safe_load((stocked.folder / "own" / "kubeconfig").read_text("utf-8"))["kind"] == "Config"
    stocked.write({SHOP: {"palette_verify": "nods", "palette_pools": "none"}})
    ran = stocked.run(str(book))
    assert ran.rc == 2 and "palette_verify" in ran.text and not stocked.ansible.requests()


# --- day 2 ---


def test_scale_changes_sizes_and_nothing_else(stocked: Place) -> None:
    pools = copy.deepcopy(SHOPS["palette_pools"])
    pools[1].update(size=3, instance_type="m6i.xlarge")
    pools.append({"name": "old", "size": 1, "instance_type": "m6i.large", "state": "absent"})
    stocked.write({SHOP: {"palette_pools": pools, "palette_description": "Other", "palette_tags": {"other": "tag"}}})
    assert stocked.run("scale", "--check").fine().changed == {SHOP: 1}
    ran = stocked.run("scale").fine()
    assert ran.changed == {SHOP: 1}
    assert ran.summary[SHOP].split()[5] == "4/4"
    assert "Pools with state absent are left for the playbook site: old." in ran.text
    workers = stocked.pools("shops", SHOP)["workers"]
    assert workers["size"] == 3 and workers["instanceType"] == "m6i.large"
    raw = stocked.api("shops").get(f"/v1/spectroclusters/{stocked.clusters('shops')[SHOP]}")
    assert not (raw["metadata"].get("labels") or {}).get("other")
    assert stocked.run("scale").fine().changed == {SHOP: 0}
    pools[1]["size"] = 1
    stocked.write({SHOP: {"palette_pools": pools}})
    stocked.run("scale").fine()


def test_upgrade_moves_one_cluster_after_the_other_with_approval(place: Place) -> None:
    place.write({SHOP: {}, OTHER_SHOP: {}})
    place.run("site").fine()
    newer = copy.deepcopy(SHOPS["palette_cluster_profiles"][0])
    newer["version"] = "1.1.0"
    newer["packs"][1]["version"] = "1.32.9"
    profiles = [*SHOPS["palette_cluster_profiles"], newer]
    place.write({SHOP: {"palette_cluster_profiles": profiles}, OTHER_SHOP: {"palette_cluster_profiles": profiles}})
    site = place.run("site").fine()
    assert site.changed == {SHOP: 1, OTHER_SHOP: 0}, "a range is kept until an upgrade"
    refused = place.run("upgrade")
    assert refused.rc == 2 and refused.failed == {SHOP: 1}
    assert "palette_approve_repave" in refused.text or "approve_repave" in refused.message(WAIT, SHOP)
    assert (UPGRADE, OTHER_SHOP) not in refused.results, "none goes on after one that failed"
    assert "repave waits" in refused.summary[SHOP] and "not reached" in refused.summary[OTHER_SHOP]
    done = place.run("upgrade", "-e", "palette_approve_repave=true").fine()
    assert done.changed[OTHER_SHOP] == 1
    assert set(done.summary) == {"cluster", "kubeconfigs", SHOP, OTHER_SHOP}
    for name, uid in place.clusters("shops").items():
        (template,) = place.api("shops").get(f"/v1/spectroclusters/{uid}")["spec"]["clusterProfileTemplates"]
        assert template["profileVersion"] == "1.1.0", name
    assert set(place.run("upgrade").fine().changed.values()) == {0}


def test_teardown_asks_for_a_confirmation_that_names_all(place: Place) -> None:
    place.write({SHOP: {}, OTHER_SHOP: {}})
    place.run("site").fine()
    for confirmed in ("", f"{SHOP}, shop"):
        ran = place.run("teardown", "-e", json.dumps({"palette_confirm_teardown": confirmed} if confirmed else {}))
        assert ran.rc == 2
        (refusal,) = (result["msg"] for (task, _), result in ran.results.items() if task == CONFIRM)
        assert OTHER_SHOP in refusal and SHOP in refusal and "palette_confirm_teardown" in refusal
        assert not place.ansible.requests(), "the plane was called"
    kubeconfig = place.ansible.home / ".kube/paletteops/shops" / SHOP
    assert kubeconfig.exists()
    foretold = place.run("teardown", "--check", "--limit", SHOP, "-e", f"palette_confirm_teardown={SHOP}").fine()
    assert foretold.changed == {SHOP: 2} and kubeconfig.exists()
    ran = place.run("teardown", "--limit", SHOP, "-e", f"palette_confirm_teardown={SHOP}").fine()
    assert ran.changed == foretold.changed and not kubeconfig.exists()
    assert ran.summary[SHOP].split()[3] == "gone"
    assert set(place.clusters("shops")) == {OTHER_SHOP}
    assert place.run("teardown", "-e", "palette_confirm_teardown=all").fine().changed == {SHOP: 0, OTHER_SHOP: 2}
    assert not place.clusters("shops")
    assert set(place.run("teardown", "-e", "palette_confirm_teardown=all").fine().changed.values()) == {0}


# --- secrets ---


def test_no_secret_of_the_inventory_is_shown_at_the_highest_verbosity(place: Place) -> None:
    place.write({SHOP: {}, PLANT: {"palette_clowd": 1}}, {"palette_api_key": place.plane.key})
    refused = place.run("site", "-vvvv", "--diff")
    assert refused.rc == 2
    place.write({SHOP: {}, PLANT: {}}, {"palette_api_key": place.plane.key, "palette_verify": "nodes"})
    made = place.run("site", "-vvvv", "--diff", PALETTE_API_KEY=None).fine()
    for ran in (refused, made):
        for secret in (CANARY, place.plane.key):
            assert secret not in ran.text
            assert secret not in json.dumps(list(ran.results.values()), default=str)
