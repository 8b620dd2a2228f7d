# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of the user's: tokens that are renewed, hosts that come and go, and clusters that are made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.hosts import Fleet, Host, make_token, register, until
from support.plane import RunningPlane
from support.project import Project, fresh_project
from support.runs import Ansible, Api, Outcome, Step, Values
from support.specs import CLUSTER_NEEDS, EDGE_CLUSTER, EDGE_PACKS

WAYS = ("action", "module")

#: Quick looks, and an end to them.
WAIT = {"wait_timeout": 60, "wait_interval": 1}


def ends_of(outcome: Outcome) -> datetime:
    return datetime.fromisoformat(outcome.result["registration_token"]["expires_at"])


# --- registration tokens ---


@pytest.mark.parametrize("way", WAYS)
def test_a_token_is_read_by_its_name_alone(project: Project, way: str) -> None:
    name = project.name + "-token"
    made = project.ansible.one("registration_token", {"name": name, "expires_in": "30d"}, way=way)
    assert made.changed
    assert "token" not in made.result, "a task that writes shows no secret"
    uid = project.tenant.names("registration_tokens")[name]
    secret = project.tenant.get(f"/v1/edgehosts/tokens/{uid}")["spec"]["token"]
    assert secret not in str(made.result)
    (read,) = [project.ansible.module(Step("registration_token", {"name": name}))]
    assert not read.changed
    assert not read.writes
    assert read.result["token"] == secret
    assert read.result["registration_token"]["expires_at"] == made.result["registration_token"]["expires_at"]


def test_a_tokens_secret_can_be_registered_and_is_never_displayed(project: Project) -> None:
    name = project.name + "-token"
    secret = make_token(project.tenant, name)
    check = {"that": ["read.token == secret", "read is not changed"], "quiet": True}
    play = project.ansible.play(
        [
            Step("registration_token", {"name": name}, keywords={"register": "read"}),
            Step("ansible.builtin.assert", check, keywords={"vars": {"secret": secret}}),
        ],
        "-vvv",
    )
    assert play.rc == 0
    assert not play[1].failed
    shown = "\n".join(line for line in play.stdout.splitlines() if "assert" not in line)
    assert secret not in shown


@pytest.mark.parametrize("way", WAYS)
def test_a_token_that_there_is_not_is_not_read(ansible: Ansible, way: str) -> None:
    for check in (False, True):
        ansible.one("registration_token", {"name": "none-such"}, way=way, check=check).refused(
            "There is no registration token named 'none-such'", "expires_in"
        )


def test_check_mode_reads_a_token_that_an_earlier_task_would_make(project: Project) -> None:
    name = project.name + "-token"
    spec = {"name": name, "expires_in": "30d", "default_project": project.name}
    steps = [
        Step("registration_token", spec, check=True),
        Step("registration_token", {"name": name}, check=True, keywords={"register": "read"}),
        Step("ansible.builtin.assert", {"that": ["read.token == ''"]}),
    ]
    outcomes = project.ansible.play(steps).outcomes
    assert [outcome.failed for outcome in outcomes] == [False] * 3
    assert name not in project.tenant.names("registration_tokens")


def test_a_time_span_counts_anew_only_when_the_token_ends(project: Project) -> None:
    name, api = project.name + "-token", project.tenant

    def run(**more: Any) -> Outcome:
        return project.ansible.module(Step("registration_token", {"name": name, **more}))

    first = run(expires_in="2h")
    assert first.changed
    assert timedelta(minutes=119) < ends_of(first) - datetime.now(UTC) <= timedelta(hours=2)
    assert not run(expires_in="2h").changed
    assert not run(expires_in="90d").changed, "it holds at creation"
    assert not run(expires_in="90d", renew_before="1h").changed
    uid = api.names("registration_tokens")[name]
    secret = api.get(f"/v1/edgehosts/tokens/{uid}")["spec"]["token"]
    renewed = run(expires_in="90d", renew_before="3h")
    assert renewed.changed
    assert ends_of(renewed) - datetime.now(UTC) > timedelta(days=89)
    assert api.get(f"/v1/edgehosts/tokens/{uid}")["spec"]["token"] == secret


def test_a_token_that_has_expired_is_renewed(project: Project) -> None:
    name = project.name + "-token"
    spec = {"name": name, "expires_in": "2"}
    ends = ends_of(project.ansible.module(Step("registration_token", spec)))
    until(lambda: datetime.now(UTC) > ends)
    foretold = project.ansible.module(Step("registration_token", {**spec, "expires_in": "1h"}, check=True))
    assert foretold.changed
    renewed = project.ansible.module(Step("registration_token", {**spec, "expires_in": "1h"}))
    assert renewed.changed
    assert ends_of(renewed) > datetime.now(UTC)


TOKENS: tuple[tuple[str, Values, tuple[str, ...]], ...] = (
    ("no end", {"description": "x"}, ("expires_at or expires_in is missing", "Name one")),
    ("two ends", {"expires_at": "2031-01-01", "expires_in": "1d"}, ("expires_at and expires_in", "Keep one")),
    ("no moment", {"expires_at": "soon"}, ("expires_at is 'soon'", "2027-03-31")),
    ("a moment that has passed", {"expires_at": "2020-01-01"}, ("2020-01-01T00:00:00Z", "Name a moment to come")),
    ("no time span", {"expires_in": "a year"}, ("expires_in is 'a year'", "90d")),
    ("renewal without end", {"expires_at": "2031-01-01", "renew_before": "1d"}, ("renew_before", "expires_in")),
    ("renewal on every run", {"expires_in": "1d", "renew_before": "2d"}, ("'2d'", "'1d'", "Make renew_before shorter")),
    (
        "unknown project",
        {"expires_in": "1d", "default_project": "no-such-project"},
        ("There is no project named 'no-such-project'", "paletteops.modes.project"),
    ),
    ("misspelt option", {"expires": "1d"}, ("expires", "expires_in")),
)


def refused(project: Project, cases: Iterable[tuple[str, Step, tuple[str, ...]]]) -> None:
    """Each task is refused in check mode and without, with these words, and sends nothing; all in one play."""
    cases = list(cases)
    steps = [dataclasses.replace(step, check=check) for _, step, _ in cases for check in (True, False)]
    outcomes = project.ansible.play(steps).outcomes
    problems = []
    for number, (label, _, words) in enumerate(cases):
        for outcome in outcomes[2 * number : 2 * number + 2]:
            try:
                outcome.refused(*words)
            except AssertionError as error:
                problems.append(f"{label}: {error}")
    assert not problems, "\n".join(problems)


def test_bad_tokens_are_refused(project: Project) -> None:
    name = project.name
    refused(
        project, ((label, Step("registration_token", {"name": name, **spec}), words) for label, spec, words in TOKENS)
    )
    assert name not in project.tenant.names("registration_tokens")


# --- hosts ---


@pytest.fixture
def token(project: Project) -> str:
    return make_token(project.tenant, project.name, project.uid)


def arrive(project: Project, token: str, *uids: str, **more: Any) -> list[Host]:
    return [register(project.plane, token, f"{project.name}-{uid}", **more) for uid in uids]


@pytest.mark.parametrize("way", WAYS)
def test_a_host_that_has_registered_is_waited_for_and_read(project: Project, token: str, way: str) -> None:
    (host,) = arrive(project, token, "a", name="line-1", tags={"plant": "7"}, address="192.0.2.77")
    outcome = project.ansible.one("edge_host", {"uid": host.uid, "state": "registered", **WAIT}, way=way)
    assert not outcome.changed
    assert not outcome.writes
    found = outcome.result["edge_host"]
    expected = {
        "uid": host.uid,
        "name": "line-1",
        "tags": {"plant": "7"},
        "architecture": "amd64",
        "state": "ready",
        "health": "healthy",
        "message": None,
        "agent_version": "4.8.5",
        "host_type": "agent-mode",
        "address": "192.0.2.77",
        "os": "debian 13",
        "cluster": None,
    }
    assert found == expected
    (by_name,) = project.ansible.one("edge_host_info", {"name": "line-1"}, way=way).result["edge_hosts"]
    assert by_name == expected


def test_hosts_are_chosen_by_tags_and_state(project: Project, token: str) -> None:
    arrive(project, token, "a", tags={"plant": "7", "line": "1"})
    arrive(project, token, "b", tags={"plant": "8"})
    assert project.ansible.one("edge_host", {"uid": project.name + "-c", "tags": {"plant": "7"}}).changed
    for chosen, uids in (
        ({}, ["a", "b", "c"]),
        ({"tags": {"plant": 7}}, ["a", "c"]),
        ({"tags": {"plant": "7", "line": "1"}}, ["a"]),
        ({"state": "unpaired"}, ["c"]),
        ({"state": "in-use"}, []),
        ({"uid": project.name + "-b"}, ["b"]),
    ):
        found = project.ansible.one("edge_host_info", {**chosen, "query": "[].uid"}).result["edge_hosts"]
        assert found == [f"{project.name}-{uid}" for uid in uids], chosen


def test_a_host_that_was_registered_ahead_pairs_with_its_record(project: Project, token: str) -> None:
    uid = project.name + "-a"
    spec = {"uid": uid, "name": "line-1", "tags": {"plant": "7"}, "pairing_key": "canary-pairing"}
    assert project.ansible.one("edge_host", spec).changed
    waiting = project.ansible.one("edge_host", {"uid": uid, "state": "registered", **WAIT, "wait_timeout": 1})
    waiting.refused("was not registered and healthy within wait_timeout, 1 s", "not paired yet", "registration token")
    register(project.plane, token, uid, name="line-1", pairing_key="canary-pairing")
    found = project.ansible.one("edge_host", {"uid": uid, "state": "registered", **WAIT}).result["edge_host"]
    assert (found["state"], found["tags"]) == ("ready", {"plant": "7"})
    assert not project.ansible.one("edge_host", spec).changed


def test_a_host_that_is_installed_anew_registers_after_its_record_was_removed(project: Project, token: str) -> None:
    (host,) = arrive(project, token, "a")
    with pytest.raises(AssertionError, match="409"):
        register(project.plane, token, host.uid)
    assert project.ansible.one("edge_host", {"uid": host.uid, "state": "absent"}).changed
    assert not project.ansible.one("edge_host", {"uid": host.uid, "state": "absent"}).changed
    register(project.plane, token, host.uid)
    assert not project.ansible.one("edge_host", {"uid": host.uid, "state": "registered", **WAIT}).changed


def test_a_host_of_another_project_is_refused(project: Project, stocked: Project, token: str) -> None:
    (host,) = arrive(project, token, "a")
    outcome = stocked.ansible.one("edge_host", {"uid": host.uid})
    assert outcome.failed
    for word in (host.uid, "has a record in another project", "Name that project"):
        assert word in outcome.msg
    assert not stocked.ansible.one("edge_host", {"uid": host.uid, "state": "absent"}).changed
    assert project.ansible.one("edge_host_info", {"query": "[].uid"}).result["edge_hosts"] == [host.uid]


@pytest.mark.parametrize("way", WAYS)
def test_an_unhealthy_host_is_given_up_with_what_it_says(project: Project, token: str, way: str) -> None:
    (host,) = arrive(project, token, "a")
    host.heartbeat("unhealthy", "the disk is full")
    outcome = project.ansible.one(
        "edge_host", {"uid": host.uid, "state": "registered", "wait_timeout": 1, "wait_interval": 1}, way=way
    )
    outcome.refused("was not registered and healthy", "unhealthy", "the disk is full")


def test_waiters_of_a_run_share_their_looks(project: Project, token: str) -> None:
    uids = [f"{project.name}-{number}" for number in range(4)]
    arrive(project, token, *(str(number) for number in range(4)))
    inventory: Values = {"all": {"hosts": {uid: {} for uid in uids}}}
    steps = [
        Step("edge_host", {"uid": "{{ inventory_hostname }}", "state": "registered", **WAIT, "wait_interval": 30}),
    ]
    project.ansible.runs += 1
    play = project.ansible.playbook(project.ansible.write_play(steps), "-f", "1", inventory=inventory)
    assert play.rc == 0, play.stdout
    searches = [r for outcome in play.outcomes for r in outcome.requests if r["path"].endswith("/edgehosts/search")]
    assert len(searches) == 1


def test_a_reset_reaches_the_host_and_is_refused_where_a_cluster_uses_it(stocked: Project, fleet: Fleet) -> None:
    free, used = "free-1", "used-1"
    take(stocked, fleet, free, used)
    for check in (True, False):
        outcome = stocked.ansible.module(Step("edge_host", {"uid": free, "state": "reset", **WAIT}, check=check))
        assert outcome.changed
        assert bool(outcome.writes) != check
    until(lambda: any(host.uid == free and host.observed.get("reset_done") for host in fleet.hosts))
    assert stocked.ansible.one("cluster", cluster("resetting", [used])).changed
    for state, words in (("reset", "resets it"), ("absent", "delete the cluster, first")):
        stocked.ansible.one("edge_host", {"uid": used, "state": state}).refused(
            f"'{used}' is in use by the cluster 'resetting'", words
        )
    assert stocked.ansible.one("cluster", {"name": "resetting", "state": "absent", "wait": True, **WAIT}).changed
    assert stocked.ansible.one("edge_host", {"uid": used, "state": "absent"}).changed


def test_bad_hosts_are_refused(project: Project, token: str) -> None:
    arrive(project, token, "a", "b", name="twin")
    cases: tuple[tuple[Values, tuple[str, ...]], ...] = (
        ({}, ("uid", "name")),
        ({"name": "nobody"}, ("uid", "Name them")),
        ({"name": "twin"}, ("2 edge hosts are named 'twin'", "Say which by uid")),
        ({"uid": "x", "wait_timeout": 0}, ("wait_timeout is 0", "Use 1 or more")),
        ({"uid": "x", "architecture": "riscv"}, ("riscv", "amd64, arm64")),
        (
            {"uid": project.name + "-a", "architecture": "arm64"},
            ("architecture is 'amd64'", "Delete the host's record"),
        ),
        ({"uid": "nobody", "state": "reset"}, ("no edge host named 'nobody'", "Register it")),
        ({"uid": "x", "tag": {}}, ("tag", "tags")),
    )
    refused(project, ((str(spec), Step("edge_host", spec), words) for spec, words in cases))


# --- clusters of hosts ---


@pytest.fixture(scope="module")
def stocked(plane: RunningPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with profiles for clusters of hosts."""
    with fresh_project(plane, tmp_path_factory.mktemp("hosts")) as project:
        older = {"name": "edge", "cloud": "edge-native", "type": "cluster", "packs": EDGE_PACKS}
        newer = [dict(pack, version="1.36.3") if pack["name"] == "edge-k8s" else pack for pack in EDGE_PACKS]
        steps = [
            *CLUSTER_NEEDS,
            Step("cluster_profile", {**older, "version": "1.0.0"}),
            Step("cluster_profile", {**older, "version": "1.0.1", "packs": newer}),
        ]
        project.ansible.prepare(steps)
        yield project


@pytest.fixture(scope="module")
def fleet(stocked: Project) -> Iterator[Fleet]:
    with Fleet() as running:
        yield running


_numbers = iter(range(1, 200))


def take(project: Project, fleet: Fleet, *uids: str, **more: Any) -> list[Host]:
    """Registers hosts, and lets the fleet run them."""
    secret = make_token(project.tenant, f"{project.name}-{uids[0]}", project.uid)
    made = [register(project.plane, secret, uid, **{"address": f"192.0.2.{next(_numbers)}", **more}) for uid in uids]
    fleet.hosts += made
    return made


def cluster(name: str, control: list[Any], workers: list[Any] | None = None, **more: Any) -> Values:
    pools: list[Values] = [{"name": "control", "control_plane": True, "hosts": control}]
    if workers is not None:
        pools.append({"name": "workers", "hosts": workers})
    return {
        "name": name,
        "cloud": "edge-native",
        "cloud_config": {"vip": "192.0.2.254"},
        "profiles": [{"name": "edge", "version": "1.0.0"}],
        "pools": pools,
        "wait": True,
        **WAIT,
        **more,
    }


def pools_of(project: Project, name: str) -> dict[str, list[str]]:
    """The hosts of each pool, as the plane has them."""
    api: Api = project.api
    found = api.get(f"/v1/spectroclusters/{api.names('spectroclusters')[name]}")
    config = api.get(f"/v1/cloudconfigs/edge-native/{found['spec']['cloudConfigRef']['uid']}")
    return {
        pool["name"]: sorted(host["hostUid"] for host in pool["hosts"]) for pool in config["spec"]["machinePoolConfig"]
    }


def gone(project: Project, name: str) -> None:
    outcome = project.ansible.one("cluster", {"name": name, "state": "absent", "wait": True, **WAIT})
    assert outcome.changed


@pytest.mark.parametrize("way", WAYS)
def test_hosts_come_into_a_cluster_and_leave_it(stocked: Project, fleet: Fleet, way: str) -> None:
    name = f"scale-{way}"
    uids = [f"{name}-{number}" for number in range(5)]
    take(stocked, fleet, *uids)
    ansible = stocked.ansible
    made = ansible.one("cluster", cluster(name, [uids[0]], [uids[1]]), way=way)
    assert made.changed
    assert (made.result["status"]["nodes"], made.result["status"]["healthy_nodes"]) == (2, 2)
    more = ansible.one("cluster", cluster(name, [uids[0]], [uids[2], uids[3]]), way=way)
    assert more.changed
    assert pools_of(stocked, name)["workers"] == uids[1:4], "who is not named stays"
    assert not ansible.one("cluster", cluster(name, [uids[0]], [uids[2]]), way=way).changed

    fewer = cluster(name, [uids[0]], [{"host": uids[1], "state": "absent"}])
    foretold = ansible.one("cluster", fewer, way=way, check=True)
    assert foretold.changed
    assert not foretold.writes
    left = ansible.one("cluster", fewer, way=way)
    assert left.changed
    assert left.diff == foretold.diff
    deleted = [write for write in left.writes if write.startswith("DELETE")]
    assert len(deleted) == 1 and "/machines/" in deleted[0], "its machine is deleted first"
    assert pools_of(stocked, name)["workers"] == uids[2:4]
    assert not ansible.one("cluster", fewer, way=way).changed

    owned = cluster(name, [uids[0]], [uids[4]], purge=["hosts"])
    assert ansible.one("cluster", owned, way=way).changed
    assert pools_of(stocked, name)["workers"] == [uids[4]]
    free = ansible.one("edge_host_info", {"state": "ready", "query": "[].uid"}).result["edge_hosts"]
    assert set(uids[1:4]) <= set(free)

    grown = cluster(name, [uids[0], uids[1], uids[2]])
    assert ansible.one("cluster", grown, way=way).changed
    assert ansible.one("cluster", cluster(name, [uids[1]], purge=["hosts"]), way=way).changed
    assert pools_of(stocked, name) == {"control": [uids[1]], "workers": [uids[4]]}
    gone(stocked, name)


def test_hosts_are_chosen_by_their_tags(stocked: Project, fleet: Fleet) -> None:
    take(stocked, fleet, "tags-c", tags={"for": "control"})
    take(stocked, fleet, "tags-1", "tags-2", tags={"for": "tags"})
    spec = cluster("tags", [])
    spec["pools"] = [
        {"name": "control", "control_plane": True, "host_tags": {"for": "control"}},
        {"name": "workers", "host_tags": {"for": "tags"}},
    ]
    assert stocked.ansible.one("cluster", spec).changed
    assert pools_of(stocked, "tags") == {"control": ["tags-c"], "workers": ["tags-1", "tags-2"]}
    assert not stocked.ansible.one("cluster", spec).changed
    take(stocked, fleet, "tags-3", tags={"for": "tags"})
    assert stocked.ansible.one("cluster", spec).changed
    assert pools_of(stocked, "tags")["workers"] == ["tags-1", "tags-2", "tags-3"]
    assert stocked.ansible.one("edge_host", {"uid": "tags-1", "tags": {"for": "nobody"}}).changed
    assert not stocked.ansible.one("cluster", spec).changed, "who is in stays"
    assert stocked.ansible.one("cluster", {**spec, "purge": ["hosts"]}).changed
    assert pools_of(stocked, "tags")["workers"] == ["tags-2", "tags-3"]
    gone(stocked, "tags")


def test_an_upgrade_moves_the_version_of_kubernetes(stocked: Project, fleet: Fleet) -> None:
    take(stocked, fleet, "up-c", "up-w")
    spec = cluster("up", ["up-c"], ["up-w"])
    assert stocked.ansible.one("cluster", spec).changed
    newer = {**spec, "profiles": [{"name": "edge", "version": "1.0.1"}], "approve_repave": True}
    assert stocked.ansible.one("cluster", newer).changed
    versions = {
        host.uid: host.observed["node"]["kubernetes_version"] for host in fleet.hosts if host.uid in ("up-c", "up-w")
    }
    assert versions == {"up-c": "1.36.3", "up-w": "1.36.3"}
    assert not stocked.ansible.one("cluster", newer).changed
    older = stocked.ansible.one("cluster", spec)
    assert older.failed
    assert "1.36" in older.msg
    gone(stocked, "up")


def test_an_external_endpoint(stocked: Project, fleet: Fleet) -> None:
    take(stocked, fleet, "ext-c")
    spec = cluster("ext", ["ext-c"], cloud_config={"endpoint": {"host": "lb.example"}})
    foretold, made, again = stocked.ansible.play(
        [Step("cluster", spec, check=True), Step("cluster", spec), Step("cluster", spec)]
    ).outcomes
    assert foretold.changed and made.changed and not again.changed
    assert foretold.diff == made.diff
    assert made.result["cluster"]["cloud_config"]["endpoint"]["host"] == "lb.example"
    for config, words in (
        ({"endpoint": {"host": "other.example"}}, ("cloud_config.endpoint.host is 'lb.example'", "Make a new cluster")),
        ({"endpoint": {"type": "IP"}}, ("cloud_config.endpoint.type is 'External'", "Make a new cluster")),
        ({"vip": "192.0.2.9"}, ("cloud_config.vip", "Make a new cluster")),
    ):
        stocked.ansible.one("cluster", {**spec, "cloud_config": config}).refused(*words)
    gone(stocked, "ext")


def test_a_cluster_is_read_in_its_options(stocked: Project, fleet: Fleet) -> None:
    take(stocked, fleet, "info-c")
    assert stocked.ansible.one("cluster", cluster("info", ["info-c"])).changed
    (found,) = stocked.ansible.one("cluster_info", {"name": "info"}).result["clusters"]
    assert found["cloud_config"]["vip"] == "192.0.2.254"
    assert found["pools"][0]["hosts"][0]["host"] == "info-c"
    assert found["status"]["state"] == "Running"
    gone(stocked, "info")


def test_check_mode_makes_clusters_of_hosts_that_the_run_would_register(stocked: Project) -> None:
    steps = [
        Step("edge_host", {"uid": "to-come-1", "state": "registered"}, check=True),
        Step("edge_host", {"uid": "to-come-2"}, check=True),
        Step("cluster", cluster("to-come", ["to-come-1"], ["to-come-2"]), check=True),
        Step("cluster", cluster("to-come-too", ["to-come-2"]), check=True),
        Step("cluster", cluster("never", ["to-come-3"]), check=True),
    ]
    registered, ahead, made, twice, never = stocked.ansible.play(steps).outcomes
    assert not registered.changed
    assert ahead.changed
    assert made.changed
    twice.refused("'to-come-2' is in use by the cluster 'to-come'", "name another")
    never.refused("There is no edge host named 'to-come-3'", "Register it")


def test_a_host_that_goes_from_one_cluster_to_another_in_check_mode(stocked: Project, fleet: Fleet) -> None:
    take(stocked, fleet, "moving-c")
    assert stocked.ansible.one("cluster", cluster("moving-1", ["moving-c"])).changed
    steps = [
        Step("cluster", {"name": "moving-1", "state": "absent"}, check=True),
        Step("cluster", cluster("moving-2", ["moving-c"]), check=True),
    ]
    assert [outcome.changed for outcome in stocked.ansible.play(steps).outcomes] == [True, True]
    gone(stocked, "moving-1")
    assert stocked.ansible.one("cluster", cluster("moving-2", ["moving-c"])).changed
    gone(stocked, "moving-2")


IMAGE = "registry.example/edge:k3s-1.36.1"


@pytest.mark.parametrize("two_node", [False, True])
@pytest.mark.parametrize("uri", ["NA", IMAGE])
@pytest.mark.parametrize(("mode", "host_type"), [("agent", "agent-mode"), ("appliance", "appliance")])
def test_the_plane_and_the_table_of_modes_agree(
    stocked: Project, fleet: Fleet, mode: str, host_type: str, uri: str, two_node: bool
) -> None:
    """The operating system's pack says what hosts boot; two nodes are for appliance mode."""
    from ansible_collections.paletteops.modes.plugins.module_utils.modes import MODES

    row = MODES[mode]
    label = f"{mode}-{'two' if two_node else 'one'}-{'na' if uri == 'NA' else 'image'}"
    packs = [
        {**pack, "values": f'options:\n  system.uri: "{uri}"\n'} if pack["name"] == row.os_pack else pack
        for pack in EDGE_PACKS
    ]
    assert packs != EDGE_PACKS, "the pack of the table is that of the catalogue"
    profile = {"name": label, "cloud": row.cloud, "type": "cluster", "packs": packs}
    assert stocked.ansible.one("cluster_profile", profile).changed
    uids = [f"{label}-1", f"{label}-2"]
    take(stocked, fleet, *uids, host_type=host_type)
    hosts = [{"host": uids[0], "two_node_priority": "primary"}, {"host": uids[1], "two_node_priority": "secondary"}]
    spec = cluster(label, hosts if two_node else [uids[0]], profiles=[{"name": label}], wait=False)
    spec["cloud_config"]["two_node"] = two_node
    outcome = stocked.ansible.one("cluster", spec)
    fits = (uri == "NA") == (mode == "agent")
    if fits and (not two_node or "central" in row.two_node):
        assert outcome.changed
        gone(stocked, label)
    else:
        assert outcome.failed
        assert label not in stocked.api.names("spectroclusters")
        assert (uids[0] in outcome.msg) or (mode in outcome.msg), outcome.msg


@pytest.fixture(scope="module")
def inhabited(stocked: Project, fleet: Fleet) -> Project:
    """A cluster of one host, and hosts that cannot be had."""
    take(stocked, fleet, "here-c", "here-w")
    take(stocked, fleet, "here-arm", architecture="arm64")
    (ill,) = take(stocked, fleet, "here-ill")
    ill.heartbeat("unhealthy", "the disk is full")
    fleet.silent.add("here-ill")
    take(stocked, fleet, "here-free-1", "here-free-2")
    for outcome in stocked.ansible.play(
        [Step("cluster", cluster("here", ["here-c"], ["here-w"])), Step("edge_host", {"uid": "here-ahead"})]
    ).outcomes:
        assert outcome.changed
    return stocked


FREE = "here-free-1"
NEW: tuple[tuple[str, Values, tuple[str, ...]], ...] = (
    ("no hosts", {"pools": [{"name": "control", "control_plane": True}]}, ("pools.control.hosts", "Name them")),
    ("no address", {"cloud_config": {}}, ("cloud_config.vip is missing", "Name vip")),
    ("bad address", {"cloud_config": {"vip": "192.0.2.300"}}, ("'192.0.2.300'", "no IP address")),
    ("cloud account", {"cloud_account": "aws"}, ("cloud_account is 'aws'", "Take it out")),
    ("even control plane", cluster("", [FREE, "here-free-2"]), ("pools.control has 2 hosts", "1, 3, 5 or 7")),
    ("unknown host", cluster("", ["here-fre-1"]), ("no edge host named 'here-fre-1'", "here-free-1", "Register it")),
    ("host in use", cluster("", ["here-c"]), ("'here-c' is in use by the cluster 'here'", "name another")),
    ("unhealthy host", cluster("", ["here-ill"]), ("'here-ill'", "unhealthy", "the disk is full", "Mend it")),
    ("host to come", cluster("", ["here-ahead"]), ("'here-ahead' is registered ahead", "Install its agent")),
    ("architecture", cluster("", ["here-arm"]), ("'here-arm' is arm64, and the pool is amd64", "arch_type")),
    ("host twice", cluster("", [FREE], [FREE]), (f"'{FREE}' is in the pools control and workers", "Take it out")),
    ("host named twice", cluster("", [FREE, FREE]), (f"names '{FREE}' 2 times", "Name each item once")),
    ("misspelt key", cluster("", [{"host": FREE, "nik": {}}]), ("nik does not exist", "nic")),
    ("not a host", cluster("", [["x"]]), ("hosts holds", "Correct it")),
    (
        "tags that nobody has",
        {"pools": [{"name": "control", "control_plane": True, "host_tags": {"no": "body"}}]},
        ("pools.control.host_tags", "no host has them all"),
    ),
    (
        "overlay",
        {"cloud_config": {"vip": "192.0.2.254", "overlay_network": {"enabled": True, "cidr": "x"}}},
        ("cloud_config.overlay_network.cidr is 'x'", "192.168.200.0/24"),
    ),
    ("two nodes", {"cloud_config": {"vip": "192.0.2.254", "two_node": True}}, ("has 1 hosts", "exactly 2")),
    (
        "profile of another cloud",
        {"profiles": [{"name": "base-aws", "version": "1.0.0"}]},
        ("is for aws", "the cluster is on edge-native"),
    ),
)

THERE: tuple[tuple[str, Values, tuple[str, ...]], ...] = (
    ("another address", {"cloud_config": {"vip": "192.0.2.253"}}, ("cloud_config.vip is '192.0.2.254'", "new cluster")),
    (
        "last host of the control plane",
        cluster("", [FREE], purge=["hosts"]),
        ("(here-c) none would stay", "Leave one in"),
    ),
    ("even control plane", cluster("", [FREE]), ("pools.control has 2 hosts", "1, 3, 5 or 7")),
    (
        "no worker left",
        {"pools": [{"name": "workers", "hosts": [{"host": "here-w", "state": "absent"}]}]},
        ("pools.workers has 0 hosts", "take the pool away with state: absent"),
    ),
    (
        "address of a host that is in",
        {"pools": [{"name": "workers", "hosts": [{"host": "here-w", "nic": {"ip": "192.0.2.199"}}]}]},
        ("nic.ip", "Take the host out of its pool first"),
    ),
    (
        "the control plane removed",
        {"pools": [{"name": "control", "state": "absent"}]},
        ("the control plane 'control' cannot be removed", "Delete the cluster instead"),
    ),
)


def test_a_new_cluster_that_cannot_be_is_refused(inhabited: Project) -> None:
    new = cluster("new", [FREE])
    refused(inhabited, ((label, Step("cluster", {**new, **spec, "name": "new"}), words) for label, spec, words in NEW))
    assert "new" not in inhabited.api.names("spectroclusters")


def test_a_change_that_cannot_be_is_refused(inhabited: Project) -> None:
    before = EDGE_CLUSTER.snapshot(inhabited.api, "here")
    there = {"cloud": "edge-native"}
    refused(
        inhabited, ((label, Step("cluster", {**there, **spec, "name": "here"}), words) for label, spec, words in THERE)
    )
    assert EDGE_CLUSTER.snapshot(inhabited.api, "here") == before


def test_a_host_that_does_not_leave_ends_the_task_and_the_next_run_goes_on(stocked: Project, fleet: Fleet) -> None:
    take(stocked, fleet, "stay-c", "stay-w", "stay-x")
    assert stocked.ansible.one("cluster", cluster("stay", ["stay-c"], ["stay-w", "stay-x"])).changed
    fleet.silent.add("stay-w")
    spec = cluster("stay", ["stay-c"], [{"host": "stay-w", "state": "absent"}], wait_timeout=2)
    outcome = stocked.ansible.one("cluster", spec)
    assert outcome.failed
    assert "'stay-w' has not left the cluster 'stay' within wait_timeout, 2 s" in outcome.msg
    assert "run again" in outcome.msg
    assert outcome.result["changed"]
    fleet.silent.discard("stay-w")
    again = stocked.ansible.one("cluster", {**spec, **WAIT})
    assert not again.failed, again.msg
    until(lambda: "stay-w" not in pools_of(stocked, "stay")["workers"])
    assert pools_of(stocked, "stay")["workers"] == ["stay-x"]
    gone(stocked, "stay")
