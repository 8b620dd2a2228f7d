# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection does when the plane or the way to it misbehaves, and when a play is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.plane import RunningPlane
from support.project import Project, faults, fresh_project
from support.runs import Api, Outcome, Step, Values
from support.specs import AWS_ACCOUNT, EDGE_HOST, PROFILE, namespace

RESOURCES: dict[str, tuple[str, Values]] = {
    "projects": ("project", {"tags": {"a": "1"}}),
    "cloudaccounts": ("cloud_account", AWS_ACCOUNT.base),
    "clusterprofiles": ("cluster_profile", PROFILE.base),
    "registration_tokens": ("registration_token", {"expires_at": "2031-01-01", "active": False}),
    "edge_hosts": ("edge_host", EDGE_HOST.base),
}
TENANTS = ("projects", "registration_tokens")
CREATION = {
    "registration_tokens": r"^/v1/edgehosts/tokens$",
    "edge_hosts": r"^/v1/edgehosts$",
    "projects": r"^/v1/projects$",
    "cloudaccounts": r"^/v1/cloudaccounts/aws$",
    "clusterprofiles": r"^/v1/clusterprofiles$",
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """A plane that this module's tests make misbehave, one after the other."""
    with RunningPlane(tmp_path_factory.mktemp("faulty"), speed=100_000.0, limits=False) as running:
        yield running


@pytest.fixture
def broken(faulty: RunningPlane, tmp_path: Path) -> Iterator[Project]:
    """A project on the plane that misbehaves."""
    with fresh_project(faulty, tmp_path / "runs") as made:
        yield made


def made(project: Project, kind: str, name: str) -> list[str]:
    """The objects of that name, as the plane lists them."""
    api = project.tenant if kind in TENANTS else project.api
    return [uid for known, uid in api.listed(kind) if known == name]


def calls(outcome: Outcome, method: str) -> int:
    return Counter(request["method"] for request in outcome.requests)[method]


# --- failures that pass ---

PASSING = {
    "429": {"status": 429, "headers": {"Retry-After": "0"}},
    "500": {"status": 500, "headers": {"Retry-After": "0"}},
    "502": {"status": 502},
    "503": {"status": 503, "headers": {"Retry-After": "0"}},
    "504": {"status": 504, "headers": {"Retry-After": "0"}},
    "reset": {"reset": True},
}


@pytest.mark.parametrize("fault", sorted(PASSING))
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_call_that_may_be_repeated_is_repeated(broken: Project, method: str, fault: str) -> None:
    name = broken.name + "-x"
    broken.ansible.one("project", {"name": name})
    spec = {"GET": {}, "PUT": {"description": "other"}, "DELETE": {"state": "absent"}}[method]
    with faults(broken.plane, {"method": method, "path": r"^/v1/(projects|dashboard)", "times": 1, **PASSING[fault]}):  # type: ignore[dict-item]
        outcome = broken.ansible.one("project", {"name": name, **spec})
    assert outcome.changed is (method != "GET")
    assert bool(made(broken, "projects", name)) is (method != "DELETE")


@pytest.mark.parametrize(("kind", "way"), [*((kind, "module") for kind in sorted(RESOURCES)), ("projects", "action")])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({**PASSING["429"], "times": 3}, id="429 three times"),  # type: ignore[dict-item]
        pytest.param({**PASSING["503"]}, id="503 before"),  # type: ignore[dict-item]
        pytest.param({**PASSING["503"], "when": "after"}, id="503 after"),  # type: ignore[dict-item]
        pytest.param({"reset": True}, id="reset before"),
        pytest.param({"reset": True, "when": "after"}, id="reset after"),
        pytest.param({"delay_seconds": 1.6, "status": 504, "when": "after"}, id="slow after"),
    ],
)
def test_a_creation_whose_answer_is_lost_is_not_made_twice(
    broken: Project, kind: str, fault: dict[str, Any], way: str
) -> None:
    module, spec = RESOURCES[kind]
    name, key = broken.name + "-x", "uid" if kind == "edge_hosts" else "name"
    with faults(broken.plane, {"method": "POST", "path": CREATION[kind], **fault}):
        outcome = broken.ansible.one(module, {**spec, key: name, "timeout": 1}, way=way)
    assert outcome.changed
    (uid,) = made(broken, kind, name)
    assert outcome.result[module]["uid"] == uid
    again = broken.ansible.one(module, {**spec, key: name})
    assert not again.changed


def test_what_the_plane_asks_for_is_waited_for(broken: Project) -> None:
    started = time.monotonic()
    with faults(broken.plane, {"path": "^/v1/projects", "status": 429, "headers": {"Retry-After": "2"}}):
        outcome = broken.ansible.one("project", {"name": broken.name + "-x"})
    assert outcome.changed
    assert time.monotonic() - started >= 2


def test_a_slow_answer_is_asked_for_again(broken: Project) -> None:
    with faults(broken.plane, {"method": "GET", "path": "^/v1/dashboard/projects", "delay_seconds": 3}):
        outcome = broken.ansible.one("project", {"name": broken.name, "timeout": 1})
    assert not outcome.changed
    assert len([request for request in outcome.requests if "dashboard" in request["path"]]) == 2


def test_an_object_that_went_between_listing_and_reading_is_made(broken: Project) -> None:
    """Somebody deletes it after it was listed: the listing is fetched anew, and the object is made."""
    name = broken.name + "-x"
    uid = broken.ansible.one("project", {"name": name}).result["project"]["uid"]
    steps = [
        Step("project_info", {"name": name}),
        Step(
            "ansible.builtin.uri",
            {
                "url": f"{broken.plane.url}/v1/projects/{uid}",
                "method": "DELETE",
                "status_code": 204,
                "headers": {"ApiKey": "{{ lookup('env', 'PALETTE_API_KEY') }}", "User-Agent": "paletteops-tests"},
            },
            diff=False,
        ),
        Step("project", {"name": name}),
    ]
    _, gone, outcome = broken.ansible.play(steps).outcomes
    assert not gone.failed, gone.msg
    assert outcome.changed
    assert made(broken, "projects", name) == [outcome.result["project"]["uid"]]


# --- failures that stay ---


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 500, "headers": {"Retry-After": "0"}}, ("500", "GET /v1/dashboard/projects/metadata")),
        ({"status": 429, "headers": {"Retry-After": "0"}}, ("429", "GET /v1/dashboard/projects/metadata")),
        ({"reset": True}, ("cannot be reached",)),
        ({"delay_seconds": 3}, ("did not answer within 1 s", "PALETTE_TIMEOUT")),
    ],
    ids=["500", "429", "reset", "slow"],
)
def test_a_failure_that_stays_ends_the_task_with_the_reason(
    broken: Project, fault: dict[str, Any], words: tuple[str, ...]
) -> None:
    with faults(broken.plane, {"times": 100, **fault}):
        outcome = broken.ansible.one("project", {"name": broken.name + "-x", "retries": 1, "timeout": 1})
    outcome.refused(*words)
    assert len(outcome.requests) == 2, "as often as retries say"


def test_a_creation_that_stays_uncertain_says_so_and_the_next_run_settles_it(broken: Project) -> None:
    name = broken.name + "-x"
    with faults(broken.plane, {"method": "POST", "path": "^/v1/projects$", "times": 100, "reset": True}):
        outcome = broken.ansible.one("project", {"name": name, "retries": 1})
    assert outcome.failed
    assert "cannot be reached" in outcome.msg
    assert made(broken, "projects", name) == []
    assert broken.ansible.one("project", {"name": name}).changed
    assert len(made(broken, "projects", name)) == 1


def test_an_error_of_the_plane_is_shown_whole(broken: Project) -> None:
    with faults(broken.plane, {"path": "^/v1/dashboard", "status": 422}):
        outcome = broken.ansible.one("project", {"name": "x"})
    outcome.refused("422", "InjectedFault", "a fault that a test asked for")
    error = outcome.result["error"]
    assert error["status"] == 422
    assert error["code"] == "InjectedFault"
    assert error["ref"]


# --- interrupted ---


def specs_of_a_run(prefix: str) -> list[Step]:
    """A run with something of everything: each step depends on none but its project."""
    add_on = {
        "type": "add-on",
        "packs": [{"name": "m", "type": "manifest", "manifests": [{"name": "m", "content": namespace("m")}]}],
    }
    return [
        Step("project", {"name": f"{prefix}-p", "tags": {"a": "1"}}),
        *(Step("cloud_account", {**AWS_ACCOUNT.named(f"a{number}"), "project": f"{prefix}-p"}) for number in range(3)),
        *(Step("cluster_profile", {**add_on, "name": f"p{number}", "project": f"{prefix}-p"}) for number in range(3)),
    ]


@pytest.mark.parametrize("killed_after", [1, 3, 6, 8, 11])
def test_a_killed_play_is_completed_by_the_next_one(broken: Project, killed_after: int) -> None:
    ansible, steps = broken.ansible, specs_of_a_run(broken.name)
    ansible.runs += 1
    playbook = ansible.write_play(steps)
    with faults(broken.plane, {"delay_seconds": 0.05, "times": 1000}):
        ansible.forget_requests()
        run = subprocess.Popen(
            ansible.command(playbook),
            env=ansible.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while len(ansible.requests()) < killed_after:
            assert run.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    completed = ansible.play(steps).outcomes
    assert not [outcome.msg for outcome in completed if outcome.failed]
    again = ansible.play(steps).outcomes
    assert not [outcome.diff for outcome in again if outcome.changed]
    with closing(Api(broken.plane, broken.tenant.names("projects")[f"{broken.name}-p"])) as inside:
        assert Counter(
            item["metadata"]["name"] for item in inside.get("/v1/dashboard/cloudaccounts/metadata")["items"]
        ) == {
            "a0": 1,
            "a1": 1,
            "a2": 1,
        }
        assert Counter(
            item["metadata"]["name"] for item in inside.get("/v1/dashboard/clusterprofiles/metadata")["items"]
        ) == {"p0": 1, "p1": 1, "p2": 1}


def test_a_plane_that_is_killed_in_the_middle_of_a_play_and_comes_back(faulty: RunningPlane, tmp_path: Path) -> None:
    """The play fails with the reason; run again it completes, with nothing made twice."""
    with (
        RunningPlane(tmp_path / "plane", speed=100_000.0, limits=False) as plane,
        fresh_project(plane, tmp_path / "r") as own,
    ):
        steps = specs_of_a_run("k")
        crash = Step(
            "ansible.builtin.command",
            {"argv": ["kill", "-9", str(plane.pid)]},
            diff=False,
            keywords={"changed_when": False},
        )
        env = {"PALETTE_RETRIES": "1", "PALETTE_TIMEOUT": "2", "PALETTEOPS_TEST_CONTROLS": None}
        interrupted = own.ansible.play([*steps[:3], crash, *steps[3:]], env=env).outcomes
        assert [outcome.failed for outcome in interrupted] == [False] * 4 + [True] * 4
        assert "cannot be reached" in interrupted[-1].msg
        plane.kill()
        plane.start()
        completed = own.ansible.play(steps).outcomes
        assert [outcome.changed for outcome in completed] == [False] * 3 + [True] * 4
        assert not [outcome for outcome in own.ansible.play(steps).outcomes if outcome.changed]


def test_a_plane_that_comes_back_in_time_is_not_noticed(tmp_path: Path) -> None:
    """Refused connections are tried again, so a restart of the plane within the retries fails nothing."""
    with (
        RunningPlane(tmp_path / "plane", speed=100_000.0, limits=False) as plane,
        fresh_project(plane, tmp_path / "r") as own,
    ):
        ansible = own.ansible
        plane.stop()
        run = subprocess.Popen(
            ansible.module_command("project"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ansible.environment(),
        )
        assert run.stdin is not None
        run.stdin.write(ansible.module_input(Step("project", {"name": "x"})))
        run.stdin.close()
        plane.start()
        assert run.stdout is not None
        assert '"changed": true' in run.stdout.read()
        run.wait()
