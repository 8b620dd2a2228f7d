# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters over time: waiting, scaling, upgrades and repaves, deletion, kubeconfigs, faults of the infrastructure."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client as kubernetes
from kubernetes import config as kubeconfigs
from support.plane import RunningPlane
from support.project import Project, faults, fresh_project, infrastructure_faults
from support.runs import Outcome, Step, Values, at_once, vary
from support.specs import AWS_ACCOUNT, CLUSTER_NEEDS, namespace
from support.traffic import TEST_AGENT

WAYS = ("action", "module")


def base(version: str, kubernetes_version: str) -> Values:
    return {
        "name": "base",
        "version": version,
        "cloud": "aws",
        "variables": [
            {"name": "tier", "default_value": "silver"},
            {"name": "token", "is_sensitive": True, "default_value": "canary-default"},
        ],
        "packs": [
            {"name": "ubuntu-aws", "version": "22.04"},
            {"name": "kubernetes", "version": kubernetes_version},
            {"name": "cni-calico", "version": "3.29.3"},
            {"name": "csi-aws-ebs", "version": "1.43.0"},
        ],
    }


ADD_ON: Values = {
    "name": "platform",
    "type": "add-on",
    "packs": [{"name": "m", "type": "manifest", "manifests": [{"name": "m", "content": namespace("m")}]}],
}

#: Two versions of a profile that differ in Kubernetes, an add-on, and accounts.
NEEDS = [
    Step("cloud_account", AWS_ACCOUNT.named("aws")),
    Step("cloud_account", vary(AWS_ACCOUNT.named("denied"), "credentials.access_key", "DENIED-1")),
    Step("cluster_profile", base("1.0.0", "1.31.4")),
    Step("cluster_profile", ADD_ON),
]
NEWER = Step("cluster_profile", base("1.1.0", "1.32.4"))

SMALL: Values = {
    "name": "c",
    "cloud": "aws",
    "cloud_account": "aws",
    "cloud_config": {"region": "eu-central-1"},
    "profiles": [{"name": "base", "version": "1.0.x"}],
    "pools": [
        {"name": "control", "control_plane": True, "size": 1, "instance_type": "m6i.large"},
        {"name": "workers", "size": 2, "instance_type": "m6i.large"},
    ],
    "wait_interval": 1,
}


def run(project: Project, *steps: Step, **more: Any) -> list[Outcome]:
    """The steps after those which make what clusters need."""
    project.ansible.prepare(NEEDS)
    return project.ansible.play(steps, **more).outcomes


def change(**more: Any) -> Step:
    """A task that names these options of the cluster and nothing else."""
    return Step("cluster", {"name": "c", "cloud": "aws", "wait_interval": 1, **more})


READY = {"state": "Running", "health": "Healthy"}


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """A plane on which a small cluster takes some two seconds."""
    with RunningPlane(tmp_path_factory.mktemp("slow"), speed=150.0, limits=False) as running:
        yield running


@pytest.fixture
def unhurried(slow: RunningPlane, tmp_path: Path) -> Iterator[Project]:
    with fresh_project(slow, tmp_path / "runs") as made:
        yield made


# --- waiting ---


@pytest.mark.parametrize("way", WAYS)
def test_a_task_that_waits_ends_when_the_cluster_is_ready(unhurried: Project, way: str) -> None:
    unhurried.ansible.prepare(NEEDS)
    outcome = unhurried.ansible.one("cluster", {**SMALL, "wait": True}, way=way)
    assert outcome.changed
    assert outcome.result["status"] == {**READY, "nodes": 3, "healthy_nodes": 3}
    again = unhurried.ansible.one("cluster", {**SMALL, "wait": True}, way=way)
    assert not again.changed
    assert again.result["status"] == outcome.result["status"]


def test_what_was_submitted_is_waited_for_together_by_one_poll(unhurried: Project) -> None:
    names = [f"c{number}" for number in range(6)]
    submitted = [Step("cluster", {**SMALL, "name": name}) for name in names]
    waits = [Step("cluster_wait", {"name": name, "wait_interval": 1, "wait_timeout": 120}) for name in names]
    started = time.monotonic()
    outcomes = run(unhurried, *submitted, *waits)
    assert all(outcome.changed for outcome in outcomes[:6])
    for name, outcome in zip(names, outcomes[6:], strict=True):
        assert not outcome.changed
        found = outcome.result["cluster"]
        assert {key: found[key] for key in ("name", *READY)} == {"name": name, **READY}
    polls = [r for outcome in outcomes for r in outcome.requests if r["path"].endswith("spectroclusters/search")]
    assert len(polls) <= time.monotonic() - started + 2, "polling grows with the clusters"


def test_forks_share_the_poll(unhurried: Project) -> None:
    ansible = unhurried.ansible
    ansible.prepare(NEEDS)
    spec = {**SMALL, "name": "{{ inventory_hostname }}"}
    playbook = ansible.write_play(
        [Step("cluster", spec), Step("cluster_wait", {"name": spec["name"], "wait_interval": 1})]
    )
    started = time.monotonic()
    hosts = {f"c{number}": {} for number in range(6)}  # type: ignore[var-annotated]
    play = ansible.playbook(playbook, "-f", "6", inventory={"all": {"hosts": hosts}})
    assert play.rc == 0, play.stdout
    requests = [request for outcome in play.outcomes for request in outcome.requests]
    polls = [request for request in requests if request["path"].endswith("spectroclusters/search")]
    assert len(polls) <= time.monotonic() - started + 2
    assert "Provisioning" in play.stdout or "Pending" in play.stdout, "no progress was shown"


def test_a_wait_that_runs_into_its_limit_says_where_it_stands(planes: Any, tmp_path: Path) -> None:
    plane: RunningPlane = planes(speed=1.0)
    with fresh_project(plane, tmp_path / "runs") as project:
        _, waited, also = run(
            project,
            Step("cluster", SMALL),
            Step("cluster_wait", {"name": "c", "wait_timeout": 2, "wait_interval": 1}),
            Step("cluster", {**SMALL, "wait": True, "wait_timeout": 2}),
        )
        for outcome in (waited, also):
            outcome.refused("'c'", "wait_timeout, 2 s", "raise wait_timeout")
            assert "Pending" in outcome.msg or "Provisioning" in outcome.msg
            assert outcome.result["cluster"]["name"] == "c"


def test_a_cluster_that_there_is_not_cannot_be_waited_for(unhurried: Project) -> None:
    _, outcome = run(unhurried, Step("cluster", SMALL), Step("cluster_wait", {"name": "d"}))
    outcome.refused("There is no cluster named 'd'", "c")


def test_a_plane_that_is_restarted_in_the_middle_of_a_wait(planes: Any, tmp_path: Path) -> None:
    plane: RunningPlane = planes(speed=60.0)
    with fresh_project(plane, tmp_path / "runs") as project:
        project.ansible.prepare([*NEEDS, Step("cluster", SMALL)])
        waiting = subprocess.Popen(
            project.ansible.module_command("cluster_wait"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=project.ansible.environment(),
        )
        step = Step("cluster_wait", {"name": "c", "wait_interval": 1, "wait_timeout": 120})
        assert waiting.stdin is not None
        waiting.stdin.write(project.ansible.module_input(step))
        waiting.stdin.close()
        waiting.stdin = None
        deadline = time.monotonic() + 60
        while not any(request["path"].endswith("/search") for request in project.ansible.requests()):
            assert time.monotonic() < deadline
        plane.kill()
        plane.start()
        out, _ = waiting.communicate(timeout=120)
        result = json.loads(out)
        assert not result.get("failed"), result["msg"]
        assert result["cluster"]["state"] == "Running"


# --- faults of the infrastructure ---


@pytest.mark.parametrize(
    ("at", "value", "reason", "shown"),
    [
        ("pools.workers.instance_type", "m6i.enormous", "InstanceTypeNotFound", "m6i.enormous"),
        ("pools.workers.size", 120, "QuotaExceeded", "workers"),
        ("cloud_account", "denied", "CredentialsWithoutPermission", "DENIED-1"),
    ],
)
def test_a_fault_is_shown_with_its_reason(project: Project, at: str, value: Any, reason: str, shown: str) -> None:
    outcomes = run(project, Step("cluster", {**vary(SMALL, at, value), "wait": True, "wait_timeout": 2}))
    assert outcomes[0].failed
    for word in (reason, shown, "wait_timeout"):
        assert word in outcomes[0].msg
    assert "Running" not in outcomes[0].msg


def test_a_placement_that_there_is_not_on_vsphere(project: Project) -> None:
    spec = {
        "name": "c",
        "cloud": "vsphere",
        "cloud_account": "vsphere",
        "cloud_config": {"datacenter": "missing-7", "folder": "f"},
        "profiles": [{"name": "base-vsphere"}],
        "pools": [
            {
                "name": "control",
                "control_plane": True,
                "size": 1,
                "instance_type": {"num_cpus": 4, "memory_mib": 8192, "disk_gib": 60},
                "placements": [{"cluster": "c", "datastore": "d", "network": "n", "resource_pool": "r"}],
            }
        ],
        "wait": True,
        "wait_interval": 1,
        "wait_timeout": 2,
    }
    outcome = project.ansible.play([*CLUSTER_NEEDS, Step("cluster", spec)]).outcomes[-1]
    assert outcome.failed
    assert "PlacementNotFound" in outcome.msg
    assert "missing-7" in outcome.msg


def test_a_corrected_pool_goes_on(project: Project) -> None:
    wrong = {**vary(SMALL, "pools.workers.instance_type", "m6i.enormous"), "wait": True, "wait_timeout": 2}
    failed, mended = run(project, Step("cluster", wrong), Step("cluster", {**SMALL, "wait": True, "wait_timeout": 60}))
    assert failed.failed
    assert mended.changed
    assert mended.result["status"]["state"] == "Running"


def test_a_cluster_that_stays_unhealthy_is_not_waited_for_to_the_end(project: Project) -> None:
    _, outcome = run(
        project,
        Step("cluster", {**SMALL, "wait": True}),
        change(
            pools=[{"name": "more", "size": 1, "instance_type": "m6i.enormous"}],
            wait=True,
            wait_timeout=600,
            unhealthy_timeout=2,
        ),
    )
    assert outcome.failed
    assert "InstanceTypeNotFound" in outcome.msg
    assert "unhealthy_timeout" in outcome.msg


# --- scaling ---


def test_scaling(unhurried: Project) -> None:
    made, more, fewer, none = run(
        unhurried,
        Step("cluster", {**SMALL, "wait": True}),
        change(pools=[{"name": "workers", "size": 4}], wait=True),
        change(pools=[{"name": "workers", "size": 1}], wait=True),
        change(pools=[{"name": "workers", "size": 1}], wait=True),
    )
    assert [outcome.result["status"]["nodes"] for outcome in (made, more, fewer, none)] == [3, 5, 2, 2]
    assert [outcome.result["status"]["healthy_nodes"] for outcome in (made, more, fewer, none)] == [3, 5, 2, 2]
    assert more.changed
    assert fewer.changed
    assert not none.changed
    assert [write.rpartition("/")[2] for write in more.writes] == ["workers"], "only the pool that changes is sent"


def test_pools_come_and_go(project: Project) -> None:
    batch = {"name": "batch", "size": 1, "instance_type": "m6i.large"}
    _, added, still, foretold, removed, again, purged = run(
        project,
        Step("cluster", SMALL),
        change(pools=[batch]),
        change(pools=[batch]),
        Step("cluster", {"name": "c", "cloud": "aws", "pools": [{"name": "batch", "state": "absent"}]}, check=True),
        change(pools=[{"name": "batch", "state": "absent"}]),
        change(pools=[{"name": "batch", "state": "absent"}]),
        change(pools=[{"name": "control"}], purge=["pools"]),
    )
    assert added.changed
    assert not still.changed
    assert foretold.changed
    assert removed.changed
    assert foretold.diff == removed.diff
    assert not again.changed
    assert [pool["name"] for pool in purged.result["cluster"]["pools"]] == ["control"]


def test_the_autoscaler_is_not_fought(project: Project) -> None:
    scaled = {"name": "scaled", "size": 2, "min_size": 1, "max_size": 5, "instance_type": "m6i.large"}
    spec = {**SMALL, "pools": [*SMALL["pools"], scaled]}
    run(project, Step("cluster", spec))
    uid = project.api.names("spectroclusters")["c"]
    config = project.api.get(f"/v1/spectroclusters/{uid}")["spec"]["cloudConfigRef"]["uid"]
    path = f"/v1/cloudconfigs/aws/{config}"
    project.api.call(
        "PUT",
        f"{path}/machinePools/scaled",
        {
            "cloudConfig": {"instanceType": "m6i.large"},
            "poolConfig": {"name": "scaled", "size": 4, "minSize": 1, "maxSize": 5, "labels": ["worker"]},
        },
    )

    def size() -> int:
        pools = project.api.get(path)["spec"]["machinePoolConfig"]
        return next(int(pool["size"]) for pool in pools if pool["name"] == "scaled")

    assert size() == 4
    again, narrowed, off = project.ansible.play(
        [
            Step("cluster", spec),
            change(pools=[{"name": "scaled", "max_size": 3}]),
            change(pools=[{"name": "scaled", "size": 1, "max_size": 0}]),
        ]
    ).outcomes
    assert not again.changed
    assert narrowed.result["cluster"]["pools"][-1]["size"] == 3, "it is moved only as far as its bounds"
    assert off.changed
    assert size() == 1


# --- profiles and repaves ---


def test_a_range_moves_with_upgrade_and_the_repave_waits_for_approval(project: Project) -> None:
    made, kept, foretold, moved, blocked, unchanged, approved, done = run(
        project,
        Step("cluster", {**SMALL, "profiles": [{"name": "base", "version": "1.x"}], "wait": True}),
        NEWER,
        Step(
            "cluster",
            {"name": "c", "cloud": "aws", "profiles": [{"name": "base", "version": "1.x"}], "upgrade": True},
            check=True,
        ),
        change(profiles=[{"name": "base", "version": "1.x"}], upgrade=True),
        change(pools=[{"name": "workers", "size": 3}]),
        change(profiles=[{"name": "base", "version": "1.x"}], upgrade=True),
        change(profiles=[{"name": "base", "version": "1.x"}], upgrade=True, approve_repave=True, wait=True),
        change(profiles=[{"name": "base", "version": "1.x"}], upgrade=True, approve_repave=True, wait=True),
    )
    assert made.result["cluster"]["profiles"][0]["version"] == "1.0.0"
    assert kept.changed
    assert foretold.changed
    assert foretold.result["cluster"]["profiles"][0]["version"] == "1.1.0"
    assert moved.changed
    assert moved.result["repave"]["state"] == "Pending"
    assert moved.result["repave"]["reasons"]
    blocked.refused("approve_repave", moved.result["repave"]["reasons"][0])
    assert not unchanged.changed
    assert approved.changed
    assert approved.result["status"]["state"] == "Running"
    assert not done.changed


def test_a_new_version_is_kept_out_without_upgrade(project: Project) -> None:
    spec = {**SMALL, "profiles": [{"name": "base", "version": "1.x"}]}
    _, _, again, exact = run(
        project,
        Step("cluster", spec),
        NEWER,
        Step("cluster", spec),
        change(profiles=[{"name": "base", "version": "1.1.0"}], approve_repave=True),
    )
    assert not again.changed
    assert exact.changed
    assert exact.result["repave"]["state"] == "Approved"


def test_add_ons_are_attached_and_detached(project: Project) -> None:
    both = [{"name": "base"}, {"name": "platform"}]
    _, attached, still, foretold, detached, purged = run(
        project,
        Step("cluster", SMALL),
        change(profiles=[{"name": "platform"}]),
        change(profiles=both),
        Step(
            "cluster", {"name": "c", "cloud": "aws", "profiles": [{"name": "platform", "state": "absent"}]}, check=True
        ),
        change(profiles=[{"name": "platform", "state": "absent"}]),
        change(profiles=[{"name": "base"}], purge=["profiles"]),
    )
    assert attached.changed
    assert not still.changed
    assert foretold.diff == detached.diff
    assert detached.changed
    assert not purged.changed


def test_the_infrastructure_profile_is_swapped_and_never_detached(project: Project) -> None:
    other = {**base("1.0.0", "1.32.4"), "name": "other"}
    gone = {"name": "base", "state": "absent"}
    outcomes = run(
        project,
        Step("cluster_profile", other),
        Step("cluster", {**SMALL, "wait": True}),
        change(profiles=[gone]),
        change(profiles=[{"name": "other"}]),
        change(profiles=[gone, {"name": "other"}], approve_repave=True, wait=True),
        change(profiles=[gone, {"name": "other"}], approve_repave=True, wait=True),
    )
    _, _, detached, two, swapped, again = outcomes
    detached.refused("profiles.base", "cannot be detached")
    two.refused("'base'", "'other'", "state: absent")
    assert swapped.changed
    assert [item["name"] for item in swapped.result["cluster"]["profiles"]] == ["other"]
    assert not again.changed


def test_a_profile_that_a_task_changed_is_known_anew_to_the_next(project: Project) -> None:
    more = base("1.0.0", "1.31.4")
    more["variables"] = [*more["variables"], {"name": "zone", "default_value": "a"}]
    outcomes = run(
        project,
        Step("cluster", {**SMALL, "name": "first"}),
        Step("cluster_profile", more),
        Step("cluster", {**SMALL, "profiles": [{"name": "base", "variables": {"zone": "b"}}]}),
    )
    assert outcomes[-1].changed


def test_a_profile_that_was_changed_in_place_is_named_to_who_waits(project: Project) -> None:
    more = base("1.0.0", "1.32.9")
    waits = Step("cluster_wait", {"name": "c", "wait_interval": 1})
    words = "A profile of the cluster 'c' was changed since the cluster took it"
    before = project.ansible.play([*NEEDS, Step("cluster", SMALL), waits])
    after = project.ansible.play([Step("cluster_profile", more), waits])
    assert before.rc == after.rc == 0
    assert words not in " ".join((before.stdout + before.stderr).split())
    assert words in " ".join((after.stdout + after.stderr).split())


def test_sensitive_variables_are_sent_and_never_shown(project: Project) -> None:
    spec = vary(SMALL, "profiles.base.variables", {"tier": "gold", "token": "canary-token"})
    made, again, always, other = run(
        project,
        Step("cluster", spec),
        Step("cluster", spec),
        Step("cluster", {**spec, "update_secrets": "always"}),
        Step("cluster", vary(spec, "profiles.base.variables.tier", "lead")),
    )
    assert made.changed
    assert not again.changed
    assert always.changed
    assert [write.rpartition("/")[2] for write in always.writes] == ["variables"]
    assert other.changed
    for outcome in (made, again, always, other):
        assert "canary" not in json.dumps(outcome.result)


# --- deletion ---


def test_a_cluster_that_is_being_deleted(planes: Any, tmp_path: Path) -> None:
    plane: RunningPlane = planes()
    with fresh_project(plane, tmp_path / "runs") as project:
        gone = {"name": "c", "state": "absent"}
        run(project, Step("cluster", {**SMALL, "wait": True}))
        freeze(plane, True)  # a deletion that has begun stays where it is
        deleted, foretold, again, remade, changed, forced = project.ansible.play(
            [
                Step("cluster", gone),
                Step("cluster", gone, check=True),
                Step("cluster", gone),
                Step("cluster", SMALL),
                change(description="new"),
                Step("cluster", {**gone, "force_delete": True}),
            ]
        ).outcomes
        assert deleted.changed
        assert deleted.diff["after"] == ""
        assert not foretold.changed, "its deletion is under way"
        assert not again.changed
        assert not again.writes
        for outcome in (remade, changed):
            assert outcome.failed
            assert "is being deleted" in outcome.msg
        assert forced.failed, "the plane forces no deletion that is young"
        assert "forced" in forced.msg
        assert not project.ansible.one("cluster", gone, check=True).changed, "another run sees it, too"
        freeze(plane, False)
        ended = [Step("cluster", {**gone, "wait": True, "wait_interval": 1}), Step("cluster", gone)]
        waited, over = project.ansible.play(ended).outcomes
        assert not waited.failed, waited.msg
        assert not over.changed
        assert "c" not in project.api.names("spectroclusters")


def freeze(plane: RunningPlane, frozen: bool) -> None:
    """Stops the plane's clock, or lets it go on."""
    with plane.controls() as controls:
        controls.headers["User-Agent"] = TEST_AGENT
        controls.put("/clock", json={"frozen": frozen}).raise_for_status()


def test_a_deletion_that_does_not_end_is_forced_when_it_may_be(planes: Any, tmp_path: Path) -> None:
    plane: RunningPlane = planes(speed=500.0)
    with fresh_project(plane, tmp_path / "runs") as project:
        run(project, Step("cluster", {**SMALL, "wait": True, "wait_timeout": 120}))
        stuck = {
            "cluster": "^c$",
            "step": "delete",
            "reason": "DependencyViolation",
            "message": "vpc-1 is in use",
            "times": 100_000,
        }
        with infrastructure_faults(plane, stuck):
            gone = {"name": "c", "state": "absent", "wait": True, "wait_interval": 1}
            limited, forced = project.ansible.play(
                [
                    Step("cluster", {**gone, "wait_timeout": 2}),
                    Step("cluster", {**gone, "force_delete": True, "force_delete_after": 1, "wait_timeout": 30}),
                ]
            ).outcomes
        assert limited.failed
        assert "wait_timeout, 2 s" in limited.msg
        assert "DependencyViolation" in limited.msg
        assert not forced.failed, forced.msg
        assert "c" not in project.api.names("spectroclusters")


# --- interrupted ---


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"reset": True, "when": "after"}, id="reset after"),
        pytest.param({"status": 503, "headers": {"Retry-After": "0"}, "when": "after"}, id="503 after"),
        pytest.param({"reset": True}, id="reset before"),
    ],
)
def test_a_cluster_whose_creation_is_not_answered_is_made_once(planes: Any, tmp_path: Path, fault: Values) -> None:
    plane: RunningPlane = planes()
    with fresh_project(plane, tmp_path / "runs") as project:
        project.ansible.prepare(NEEDS)
        with faults(plane, {"method": "POST", "path": "^/v1/spectroclusters/aws$", **fault}):
            outcome = project.ansible.one("cluster", SMALL)
        assert outcome.changed
        listed = Counter(item["name"] for item in project.api.get("/v1/dashboard/spectroclusters/metadata")["items"])
        assert listed == {"c": 1}
        assert not project.ansible.one("cluster", SMALL).changed


@pytest.mark.parametrize(
    ("method", "lost"),
    [("POST", "machinePools$"), ("PUT", "machinePools/workers$"), ("PATCH", "/profiles$"), ("PATCH", "/metadata$")],
)
def test_an_update_whose_answer_is_lost_is_carried_out_once(
    planes: Any, tmp_path: Path, method: str, lost: str
) -> None:
    plane: RunningPlane = planes()
    wanted = {
        **vary(SMALL, "pools.workers.size", 3),
        "description": "new",
        "profiles": [{"name": "base"}, {"name": "platform"}],
    }
    wanted["pools"] = [*wanted["pools"], {"name": "batch", "size": 1, "instance_type": "m6i.large"}]
    with fresh_project(plane, tmp_path / "runs") as project:
        run(project, Step("cluster", SMALL))
        with faults(plane, {"path": lost, "method": method, "reset": True, "when": "after"}):
            first = project.ansible.one("cluster", wanted)
        second = project.ansible.one("cluster", wanted)
        third = project.ansible.one("cluster", wanted)
    assert first.failed or first.changed
    assert not second.failed, second.msg
    assert not third.changed


def test_twenty_processes_ensure_the_same_cluster(project: Project) -> None:
    project.ansible.prepare(NEEDS)
    results = at_once(project.ansible, Step("cluster", SMALL), 20)
    assert not [result["msg"] for result in results if result.get("failed")]
    assert len({result["cluster"]["uid"] for result in results}) == 1
    assert Counter(i["name"] for i in project.api.get("/v1/dashboard/spectroclusters/metadata")["items"]) == {"c": 1}


# --- kubeconfigs ---


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("admin", [False, True])
def test_a_kubeconfig_in_four_steps(project: Project, tmp_path: Path, way: str, admin: bool) -> None:
    run(project, Step("cluster", {**SMALL, "wait": True}))
    dest = tmp_path / "new" / "folder" / "config"
    spec = {"name": "c", "dest": str(dest), "admin": admin}
    steps = [Step("cluster_kubeconfig", spec, check=check) for check in (True, False, True, False)]
    steps += [
        Step("cluster_kubeconfig", {**spec, "state": "absent"}, check=check) for check in (True, False, True, False)
    ]
    made = project.ansible.steps(way, steps[:4])
    assert [outcome.changed for outcome in made] == [True, True, False, False]
    assert not [write for outcome in made for write in outcome.writes]
    assert stat.S_IMODE(dest.stat().st_mode) == 0o600
    assert stat.S_IMODE(dest.parent.stat().st_mode) == 0o700
    content = yaml.safe_load(dest.read_text("utf-8"))
    token = content["users"][0]["user"]["token"]
    for outcome in made:
        assert token not in json.dumps(outcome.result)
    kubeconfigs.load_kube_config(str(dest))
    nodes = kubernetes.CoreV1Api().list_node().items
    assert len(nodes) == 3
    removed = project.ansible.steps(way, steps[4:])
    assert [outcome.changed for outcome in removed] == [True, True, False, False]
    assert not dest.exists()
    assert os.listdir(dest.parent) == []


def test_a_kubeconfig_that_others_can_read_or_changed_is_written_anew(project: Project, tmp_path: Path) -> None:
    run(project, Step("cluster", {**SMALL, "wait": True}))
    dest = tmp_path / "config"
    step = Step("cluster_kubeconfig", {"name": "c", "dest": str(dest)})
    assert project.ansible.module(step).changed
    written = dest.read_text("utf-8")
    dest.chmod(0o644)
    assert project.ansible.module(step).changed
    assert stat.S_IMODE(dest.stat().st_mode) == 0o600
    dest.write_text("other", "utf-8")
    assert project.ansible.module(step).changed
    assert dest.read_text("utf-8") == written


def test_a_kubeconfig_that_there_is_not_yet(planes: Any, tmp_path: Path) -> None:
    plane: RunningPlane = planes(speed=1.0)
    with fresh_project(plane, tmp_path / "runs") as project:
        dest = tmp_path / "config"
        _, early, nowhere = run(
            project,
            Step("cluster", SMALL),
            Step("cluster_kubeconfig", {"name": "c", "dest": str(dest)}),
            Step("cluster_kubeconfig", {"name": "none", "dest": str(dest)}),
        )
        early.refused("'c' has no kubeconfig yet", "paletteops.modes.cluster_wait")
        nowhere.refused("There is no cluster named 'none'")
        assert not dest.exists()


def test_a_place_that_cannot_be_written_is_named(project: Project, tmp_path: Path) -> None:
    run(project, Step("cluster", {**SMALL, "wait": True}))
    (tmp_path / "file").touch()
    outcome = project.ansible.one("cluster_kubeconfig", {"name": "c", "dest": str(tmp_path / "file" / "config")})
    outcome.refused(str(tmp_path / "file"), "Choose another dest")


# --- what is foretold, and what it costs ---


def test_check_mode_foretells_a_run_from_nothing(project: Project, tmp_path: Path) -> None:
    steps = [
        *NEEDS,
        Step("cluster", SMALL),
        Step("cluster_wait", {"name": "c"}),
        Step("cluster_kubeconfig", {"name": "c", "dest": str(tmp_path / "config")}),
        change(pools=[{"name": "workers", "size": 5}]),
        change(pools=[{"name": "workers", "size": 5}]),
    ]
    foretold = project.ansible.play(steps, "--check").outcomes
    assert not [outcome.msg for outcome in foretold if outcome.failed]
    assert not [write for outcome in foretold for write in outcome.writes]
    done = project.ansible.play([*steps[:5], change(wait=True), *steps[6:]]).outcomes
    done[5] = foretold[5]
    assert [outcome.changed for outcome in foretold] == [outcome.changed for outcome in done]
    for before, after in zip(foretold, done, strict=True):
        assert changed_lines(before) == changed_lines(after)


def changed_lines(outcome: Outcome) -> tuple[list[str], list[str]]:
    """What a diff takes away and what it adds. What was foretold does not name what the plane assumes by itself."""
    found = outcome.result.get("diff") or {"before": "", "after": ""}
    before, after = (Counter(found[side].splitlines()) for side in ("before", "after"))
    return sorted((before - after).elements()), sorted((after - before).elements())


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"cloud_account": "none"}, ("There is no cloud account named 'none'", "paletteops.modes.cloud_account")),
        (
            {"profiles": [{"name": "none"}]},
            ("There is no cluster profile named 'none'", "paletteops.modes.cluster_profile"),
        ),
    ],
)
def test_check_mode_refuses_what_nobody_defines(project: Project, reference: Values, words: tuple[str, ...]) -> None:
    outcome = project.ansible.play([*NEEDS, Step("cluster", {**SMALL, **reference})], "--check").outcomes[-1]
    outcome.refused(*words)


def test_an_unchanged_cluster_costs_two_calls_and_one_for_each_more_aspect(project: Project) -> None:
    variables = vary(SMALL, "profiles.base.variables", {"tier": "gold"})
    _, _, again, with_variables = run(
        project,
        Step("cluster", variables),
        Step("cluster_info", {}),
        Step("cluster", SMALL),
        Step("cluster", variables),
    )
    assert len(again.requests) == 2, [request["path"] for request in again.requests]
    assert len(with_variables.requests) == 3, [request["path"] for request in with_variables.requests]


def test_info_says_how_a_cluster_is(project: Project) -> None:
    spec = vary(SMALL, "profiles.base.variables", {"token": "canary-token"})
    _, all_of_them, none, shaped = run(
        project,
        Step("cluster", {**spec, "wait": True}),
        Step("cluster_info", {"name": "c"}),
        Step("cluster_info", {"name": "d"}),
        Step("cluster_info", {"query": "[].{name: name, state: status.state, pools: pools[].name}"}),
    )
    (found,) = all_of_them.result["clusters"]
    assert found["status"]["state"] == "Running"
    assert found["status"]["health"] == "Healthy"
    assert found["status"]["nodes"] == found["status"]["healthy_nodes"] == 3
    assert found["cloud_config"]["region"] == "eu-central-1"
    assert [pool["size"] for pool in found["pools"]] == [1, 2]
    assert {pack["layer"] for pack in found["profiles"][0]["packs"]} == {"os", "k8s", "cni", "csi"}
    assert "canary" not in json.dumps(all_of_them.result)
    assert none.result["clusters"] == []
    assert shaped.result["clusters"] == [{"name": "c", "state": "Running", "pools": ["control", "workers"]}]
