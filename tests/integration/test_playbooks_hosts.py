# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks in agent mode: hosts that are registered already, and the look at hosts, against planes of their own.

What is done on hosts is tested on real ones, by the scenario of Molecule and end to end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hosts import Fleet, Host, register
from support.plane import RunningPlane
from support.runs import Api
from test_playbooks import CHECK, EXAMPLE, SHOPS, SUBMIT, Place, Ran

Values = dict[str, Any]

STORE, OTHER = "store-a", "store-b"
MEMBERS = "All hosts of the cluster are ready"
LOOK = "Every host of the cluster can take an agent"
READY = "The host is ready"
REGISTERED = "Wait until the host is registered and healthy"
PLACES = "Check where the hosts belong"

PROFILE = {
    "name": "store-base",
    "version": "1.0.0",
    "cloud": "edge-native",
    "packs": [
        {"name": "edge-native-byoi", "version": "2.1.0"},
        {"name": "edge-k8s", "version": "1.36.1"},
        {"name": "cni-bridge", "version": "1.9.1"},
    ],
}
ALL: Values = {
    "palette_mode": "agent",
    "palette_project": "stores",
    "palette_wait_interval": 1,
    "palette_host_wait_timeout": 3,
    "palette_projects": [{"name": "stores"}],
    "palette_registration_tokens": [{"name": "stores", "default_project": "stores", "expires_in": "30d"}],
    "palette_cluster_profiles": [PROFILE],
    "palette_profiles": [{"name": "store-base", "version": "1.0.x"}],
}


def cluster(control_plane: str, *workers: str, **more: Any) -> Values:
    """Variables of a cluster; its VIP is made of its first host's name."""
    pools: list[Values] = [
        {"name": "control-plane", "control_plane": True, "control_plane_as_worker": True, "hosts": [control_plane]}
    ]
    if workers:
        pools.append({"name": "workers", "hosts": list(workers)})
    return {"palette_vip": f"192.0.2.{200 + sum(control_plane.encode()) % 50}", "palette_pools": pools, **more}


class Hosts(Place):
    """A plane, an inventory of clusters and machines, and hosts that answer the plane."""

    def __init__(self, plane: RunningPlane, folder: Path) -> None:
        super().__init__(plane, folder)
        self.fleet = Fleet()

    def lay_out(self, clusters: Values, hosts: Values, **everywhere: Any) -> None:
        """Machines are there from their image, where nothing else is said."""
        machines = {name: {"palette_agent_install": False, **own} for name, own in hosts.items()}
        content = {
            "palette_clusters": {"vars": {**ALL, **everywhere}, "hosts": clusters},
            "palette_hosts": {"vars": {"palette_wait_interval": 1, "palette_host_wait_timeout": 3}, "hosts": machines},
        }
        self.inventory.write_text(json.dumps(content), "utf-8")

    def token(self, name: str = "stores") -> str:
        items = Api(self.plane).get("/v1/edgehosts/tokens")["items"]
        (secret,) = (str(item["spec"]["token"]) for item in items if item["metadata"]["name"] == name)
        return secret

    def start(self, *uids: str) -> None:
        """The agents of hosts register."""
        taken = len(self.fleet.hosts)
        self.fleet.hosts += [
            register(self.plane, self.token(), uid, address=f"192.0.2.{11 + taken + number}")
            for number, uid in enumerate(uids)
        ]

    def host(self, uid: str) -> Host:
        (found,) = (host for host in self.fleet.hosts if host.uid == uid)
        return found

    def records(self) -> dict[str, str]:
        """The states of the hosts that the plane knows."""
        found = self.api("stores").call("POST", "/v1/dashboard/edgehosts/search", {})["items"]
        return {item["metadata"]["uid"]: item["status"]["state"] for item in found}

    def members(self, name: str) -> dict[str, list[str]]:
        return {
            pool: sorted(host["hostUid"] for host in found["hosts"])
            for pool, found in self.pools("stores", name).items()
        }


@pytest.fixture
def place(planes: Callable[..., RunningPlane], tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(planes(), tmp_path / "runs")
    with made.fleet:
        yield made
    assert not made.fleet.errors


def looked_at(ran: Ran, task: str) -> set[str]:
    return {host for name, host in ran.results if name == task}


def test_the_example_is_foretold_made_and_then_left_alone(place: Hosts) -> None:
    stores = ("site", "--limit", "stores:palette_hosts")
    foretold = place.run(*stores, "--check", "--diff", inventory=EXAMPLE).fine()
    assert not foretold.writes
    founded = place.run("foundation", "--limit", "stores:palette_hosts", inventory=EXAMPLE).fine()
    place.start("store-17-a", "store-18-a", "store-18-b", "store-18-c")
    made = place.run(*stores, inventory=EXAMPLE, EXAMPLE_WAIT_INTERVAL="1").fine()
    assert foretold.changed == {name: founded.changed[name] + made.changed[name] for name in foretold.changed}
    assert made.summary["store-17"].split()[1:6] == ["agent", "edge-native", "Running", "Healthy", "1/1"]
    assert made.summary["store-18"].split()[1:6] == ["agent", "edge-native", "Running", "Healthy", "3/3"]
    for options in ("--check", "--diff"), ():
        again = place.run(*stores, *options, inventory=EXAMPLE).fine()
        assert set(again.changed.values()) == {0}
        assert not again.writes


def test_a_cluster_with_a_host_that_does_not_register_fails_with_that_reason_and_others_go_on(place: Hosts) -> None:
    place.lay_out({STORE: cluster("a-1", "a-2"), OTHER: cluster("b-1")}, {"a-1": {}, "a-2": {}, "b-1": {}})
    place.run("foundation").fine()
    place.start("a-1", "b-1")
    ran = place.run("site")
    assert ran.rc == 2
    assert ran.failed == {STORE: 1, "a-2": 1}
    message = ran.message(MEMBERS, STORE)
    assert "a-2: " in message and "not known to the plane" in message and "a-1: " not in message
    assert set(place.clusters("stores")) == {OTHER}
    assert ran.summary[OTHER].split()[3:5] == ["Running", "Healthy"]
    assert ran.summary[STORE].split()[3] == "failed"
    place.start("a-2")
    mended = place.run("agent").fine()
    assert mended.changed == {STORE: 2, OTHER: 0, "a-1": 0, "a-2": 0, "b-1": 0}


@pytest.mark.parametrize("playbook", ["site", "agent", "scale"])
def test_hosts_fail_by_themselves_where_everything_fails(place: Hosts, playbook: str) -> None:
    spare = {"palette_mode": "agent", "palette_project": "stores", "palette_registration_token": "stores"}
    place.lay_out({STORE: cluster("a-1")}, {"a-1": {}, "spare": spare}, palette_host_wait_timeout=1)
    place.run("foundation").fine()
    ran = place.run(playbook)
    assert ran.rc == 2
    assert ran.failed == {STORE: 1, "a-1": 1, "spare": 1}
    assert "'spare' was not registered" in ran.message(READY, "spare")
    assert "a-1: " in ran.message(MEMBERS, STORE)


def test_clusters_of_other_modes_go_on_where_all_hosts_fail(place: Hosts) -> None:
    shop: Values = {**SHOPS, "palette_mode": "controller", "palette_projects": [{"name": "shops"}]}
    shop |= dict.fromkeys(("palette_registration_tokens", "palette_host_wait_timeout"))
    place.lay_out({STORE: cluster("a-1"), "shop": shop}, {"a-1": {}})
    ran = place.run("site")
    assert ran.rc == 2
    assert ran.failed == {STORE: 1, "a-1": 1}, ran.text
    assert ran.summary["shop"].split()[3:5] == ["Running", "Healthy"]


def test_hosts_are_known_by_the_uids_that_the_inventory_gives(place: Hosts) -> None:
    place.lay_out({STORE: cluster("a-1")}, {"a-1": {"palette_host_uid": "serial-4711"}})
    place.run("foundation").fine()
    place.start("serial-4711")
    place.run("site").fine()
    assert place.members(STORE) == {"control-plane": ["serial-4711"]}


def test_scale_brings_hosts_in_and_takes_them_out_and_they_stay_registered(place: Hosts) -> None:
    machines: Values = {"a-1": {}, "a-2": {}, "a-3": {"palette_mode": "agent", "palette_project": "stores"}}
    place.lay_out({STORE: cluster("a-1", "a-2")}, machines)
    place.run("foundation").fine()
    place.start("a-1", "a-2", "a-3")
    place.run("site").fine()
    place.lay_out({STORE: cluster("a-1", "a-3", "a-2")}, {**machines, "a-3": {}})
    grown = place.run("scale").fine()
    assert grown.changed[STORE] == 1
    assert place.members(STORE) == {"control-plane": ["a-1"], "workers": ["a-2", "a-3"]}
    place.lay_out(
        {STORE: cluster("a-1", "a-3")},
        {**machines, "a-3": {}, "a-2": {"palette_mode": "agent", "palette_project": "stores"}},
    )
    shrunk = place.run("scale").fine()
    assert shrunk.changed[STORE] == 1
    assert place.members(STORE) == {"control-plane": ["a-1"], "workers": ["a-3"]}
    assert place.records()["a-2"] == "ready"
    assert set(place.run("scale").fine().changed.values()) == {0}


def test_upgrade_moves_hosts_to_the_newest_version_in_range(place: Hosts) -> None:
    place.lay_out({STORE: cluster("a-1", "a-2")}, {"a-1": {}, "a-2": {}})
    place.run("foundation").fine()
    place.start("a-1", "a-2")
    place.run("site").fine()
    packs = [*PROFILE["packs"][:1], {"name": "edge-k8s", "version": "1.36.3"}, *PROFILE["packs"][2:]]
    newer = {**PROFILE, "version": "1.0.1", "packs": packs}
    place.lay_out({STORE: cluster("a-1", "a-2")}, {"a-1": {}, "a-2": {}}, palette_cluster_profiles=[PROFILE, newer])
    place.run("upgrade").fine()
    nodes = [place.host(uid).observed["node"]["kubernetes_version"] for uid in ("a-1", "a-2")]
    assert nodes == ["1.36.3", "1.36.3"]
    assert set(place.run("upgrade").fine().changed.values()) == {0}


def test_teardown_leaves_hosts_registered_unless_told_otherwise(place: Hosts) -> None:
    place.lay_out({STORE: cluster("a-1", "a-2")}, {"a-1": {}, "a-2": {}})
    place.run("foundation").fine()
    place.start("a-1", "a-2")
    place.run("site").fine()
    options = ("-e", f"palette_confirm_teardown={STORE}")
    refused = place.run("teardown", *options, "--limit", STORE, "-e", "palette_agent_uninstall=true")
    assert refused.rc == 2 and not refused.writes
    assert "--limit" in refused.message(PLACES, STORE)
    place.run("teardown", *options, "--limit", STORE).fine()
    assert not place.clusters("stores")
    assert place.records() == {"a-1": "ready", "a-2": "ready"}
    gone = place.run("teardown", *options, "-e", "palette_agent_uninstall=true").fine()
    assert gone.changed["a-1"] == gone.changed["a-2"] == 1
    assert not place.records()
    assert set(place.run("teardown", *options, "-e", "palette_agent_uninstall=true").fine().changed.values()) == {0}


def test_teardown_with_the_agents_is_foretold(place: Hosts) -> None:
    hosts: Values = {"a-1": {}, "other": {"palette_mode": "agent", "palette_project": "stores"}}
    place.lay_out({STORE: cluster("a-1"), OTHER: cluster("other")}, hosts)
    place.run("foundation").fine()
    place.start("a-1", "other")
    place.run("site").fine()
    options = ("teardown", "-e", "palette_confirm_teardown=all", "-e", "palette_agent_uninstall=true")
    # a host of a cluster that this run does not delete is refused, as it would be then
    place.lay_out({STORE: cluster("a-1")}, hosts)
    foretold = place.run(*options, "--check")
    assert foretold.failed == {"other": 1} and not foretold.writes
    assert f"in the cluster '{OTHER}'" in foretold.message("The host is in no cluster", "other")
    assert foretold.changed["a-1"] == 1
    place.lay_out({STORE: cluster("a-1"), OTHER: cluster("other")}, hosts)
    foretold = place.run(*options, "--check").fine()
    assert not foretold.writes
    assert place.run(*options).fine().changed == foretold.changed


# --- what is refused before anything is touched ---


@pytest.mark.parametrize(
    "clusters, hosts, limit, words",
    [
        ({STORE: cluster("a-1", "a-2")}, {"a-1": {}, "a-2": {}}, f"{STORE},a-1", ["a-2", "--limit"]),
        ({STORE: cluster("a-1"), OTHER: cluster("a-1")}, {"a-1": {}}, "all", [STORE, OTHER, "'a-1'"]),
        ({STORE: cluster("a-1", "a-1")}, {"a-1": {}}, "all", ["'a-1'", "workers"]),
        ({STORE: cluster("a-1")}, {"a-1": {}, "a-2": {}}, "all", ["'a-2'", "no cluster"]),
        (
            {STORE: cluster("a-1", OTHER), OTHER: cluster("b-1")},
            {"a-1": {}, "b-1": {}},
            "all",
            [f"'{OTHER}'", "palette_hosts"],
        ),
    ],
)
def test_hosts_that_are_out_of_place(
    place: Hosts, clusters: Values, hosts: Values, limit: str, words: list[str]
) -> None:
    place.lay_out(clusters, hosts)
    for playbook in ("site", "agent", "scale"):
        ran = place.run(playbook, "--limit", limit)
        assert ran.rc == 2
        (message,) = {
            str(result["msg"])
            for (task, _), result in ran.results.items()
            if task in (CHECK, PLACES) and result["failed"]
        }
        for word in words:
            assert word in message
        assert not place.ansible.requests(), "the plane was called"


def test_hosts_are_not_needed_for_an_upgrade_or_a_teardown(place: Hosts) -> None:
    place.lay_out({STORE: cluster("a-1")}, {"a-1": {}})
    place.run("foundation").fine()
    place.start("a-1")
    place.run("site").fine()
    place.run("upgrade", "--limit", STORE).fine()
    place.run("teardown", "--limit", STORE, "-e", f"palette_confirm_teardown={STORE}").fine()


def test_spare_hosts_alone(place: Hosts) -> None:
    place.lay_out({STORE: cluster("a")}, {"a": {}})
    place.run("foundation").fine()
    place.start("a")
    hosts = {"a": {"palette_mode": "agent", "palette_project": "stores", "palette_agent_install": False}}
    everywhere = {"palette_wait_interval": 1, "palette_host_wait_timeout": 30}
    place.inventory.write_text(json.dumps({"palette_hosts": {"hosts": hosts, "vars": everywhere}}), "utf-8")
    ran = place.run("agent").fine()
    assert looked_at(ran, REGISTERED) == {"a"}

    hosts["b"] = hosts["a"]
    everywhere["palette_host_wait_timeout"] = 1
    place.inventory.write_text(json.dumps({"palette_hosts": {"hosts": hosts, "vars": everywhere}}), "utf-8")
    ran = place.run("agent")
    assert ran.rc == 2 and ran.failed == {"b": 1}
    assert "'b' was not registered" in ran.message(READY, "b")


@pytest.mark.parametrize(
    ("given", "variable", "task"),
    [
        ({"palette_patch_tasks": "tasks/mine.yml"}, "palette_patch_tasks", "The file with tasks is there"),
        (
            {"palette_patch_tasks": "apt", "palette_patch_pending": "/nowhere/pending.yml"},
            "palette_patch_pending",
            "The file that looks for something to do is there",
        ),
    ],
)
def test_tasks_for_patching_that_are_not_there_stop_before_a_host_is_touched(
    place: Hosts, given: Values, variable: str, task: str
) -> None:
    place.lay_out({STORE: cluster("a")}, {"a": {}})
    ran = place.run("patch", "-e", json.dumps(given))
    assert ran.rc != 0
    said = ran.message(task, "a")
    assert variable in said and given[variable] in said and "whole path" in said
    assert looked_at(ran, "Put the hosts in order") == set()


def test_variables_of_hosts_are_checked_as_those_of_clusters_are(place: Hosts) -> None:
    place.lay_out({STORE: cluster("a-1")}, {"a-1": {"palette_agent_chekcsum": "0"}})
    ran = place.run("site")
    assert ran.rc == 2
    assert "palette_agent_checksum" in ran.message(CHECK, "a-1")
    assert not place.ansible.requests(), "the plane was called"


def test_a_pool_that_names_a_host_that_nobody_has_registered(place: Hosts) -> None:
    place.lay_out({STORE: cluster("a-1", "nobodys")}, {"a-1": {}})
    place.run("foundation").fine()
    place.start("a-1")
    ran = place.run("site")
    assert ran.failed == {STORE: 1}
    assert "nobodys" in ran.message(SUBMIT, STORE)
    assert not place.clusters("stores")


# --- the look at hosts ---

#: This machine plays the hosts, as the user that runs the test: the look only reads.
HERE: Values = {
    "palette_agent_install": True,
    "ansible_connection": "local",
    "ansible_become": False,
    "palette_agent_url": "https://files.example/agent",
}
#: What may be wrong with this machine, and is not what these tests are about.
BESIDE = [
    *("systemd", "python", "commands", "cgroups", "swap", "memory", "disk", "inotify", "ports", "name", "addresses"),
    *("time", "clock", "plane", "engines", "kubernetes", "agent", "record"),
]


def test_all_findings_of_all_hosts_are_listed_and_nothing_is_touched_in_their_clusters(place: Hosts) -> None:
    good = {**HERE, "palette_agent_checksum": "0" * 64, "palette_agent_ignore": [*BESIDE, "cpus"]}
    small = {**good, "palette_agent_ignore": BESIDE, "palette_agent_requirements": {"cpus": 9999}}
    unverified = {**good, "palette_agent_checksum": "none", "palette_agent_user_data": {"install": {"reboot": True}}}
    gone = {**good, "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    place.lay_out(
        {STORE: cluster("a-1", "a-2", "a-3", "a-4"), OTHER: cluster("b-1")},
        {"a-1": good, "a-2": small, "a-3": unverified, "a-4": gone, "b-1": {}},
    )
    place.run("foundation").fine()
    place.start("b-1")
    ran = place.run("site")
    assert ran.rc == 2
    assert "9999" in ran.message(LOOK, "a-2")
    assert "'none'" in ran.message(LOOK, "a-3") and "install.reboot" in ran.message(LOOK, "a-3")
    assert "reached" in ran.message(LOOK, "a-4")
    assert "a-2, a-3, a-4" in ran.message(LOOK, "a-1")
    assert not looked_at(ran, "A folder for what the role keeps on the host")
    assert not looked_at(ran, REGISTERED) - {"b-1"}
    assert "9999" in ran.message(MEMBERS, STORE)
    assert set(place.clusters("stores")) == {OTHER}
    assert ran.summary[OTHER].split()[3:5] == ["Running", "Healthy"]
    assert {name for name in ran.failed if name in ("a-1", "a-2", "a-3", "a-4", STORE)} == {
        "a-1",
        "a-2",
        "a-3",
        "a-4",
        STORE,
    }


def test_an_old_record_of_a_host_without_an_agent_is_a_finding(place: Hosts) -> None:
    machine = {
        **HERE,
        "palette_agent_checksum": "0" * 64,
        "palette_agent_ignore": [one for one in BESIDE if one != "record"] + ["cpus"],
    }
    place.lay_out({STORE: cluster("a-1")}, {"a-1": machine})
    place.run("foundation").fine()
    place.start("a-1")
    ran = place.run("site")
    assert "'a-1' already" in ran.message(LOOK, "a-1") and "state absent" in ran.message(LOOK, "a-1")


def test_check_mode_foretells_an_installation_and_the_cluster_of_it(place: Hosts) -> None:
    machine = {**HERE, "palette_agent_checksum": "0" * 64, "palette_agent_ignore": [*BESIDE, "cpus"]}
    place.lay_out({STORE: cluster("a-1", "a-2")}, {"a-1": machine, "a-2": machine})
    ran = place.run("site", "--check").fine()
    assert not ran.writes
    assert ran.changed["a-1"] == ran.changed["a-2"] == 1
    assert ran.changed[STORE] >= 4
    assert "foretold" in ran.summary[STORE]


def test_check_mode_names_a_token_that_there_is_not(place: Hosts) -> None:
    good = {**HERE, "palette_agent_checksum": "0" * 64, "palette_agent_ignore": [*BESIDE, "cpus"]}
    hosts = {"a-1": {**good, "palette_registration_token": "storse"}, "b-1": good}
    hosts["b-1"]["palette_registration_token"] = "stores"
    place.lay_out({STORE: cluster("a-1"), OTHER: cluster("b-1")}, hosts)
    ran = place.run("site", "--check")
    assert ran.failed == {STORE: 1, "a-1": 1} and not ran.writes, ran.text
    assert "no registration token named 'storse'" in ran.message(READY, "a-1")
    assert ran.changed["b-1"] == 1
    assert "foretold" in ran.summary[OTHER]


def test_no_token_is_shown(place: Hosts) -> None:
    place.lay_out({STORE: cluster("a-1")}, {"a-1": {}})
    founded = place.run("foundation", "-vvvv", "--diff").fine()
    place.start("a-1")
    ran = place.run("site", "-vvvv", "--diff").fine()
    token = place.token()
    assert token and token not in founded.text + ran.text
