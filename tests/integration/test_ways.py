# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a task runs, and how it reaches the plane: connection options, TLS, proxies, async, delegation, processes."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.plane import RunningPlane
from support.project import Project, faults, fresh_project
from support.proxy import proxy
from support.runs import Ansible, Api, Step, Values, at_once
from support.specs import AWS_ACCOUNT, EDGE_HOST, namespace

WAYS = ("action", "module")
SUPPORT = Path(__file__).resolve().parent.parent / "support"


# --- connection options ---


def test_options_come_from_the_environment_of_the_task(project: Project) -> None:
    """In the fast path, too, ``environment`` holds for the task, and for it alone."""
    keyword = {"environment": {"PALETTE_API_KEY": project.plane.key, "PALETTE_PROJECT": project.name}}
    step = Step("cloud_account", AWS_ACCOUNT.named("a"))
    without, inside, after = project.ansible.play(
        [step, Step(step.module, step.args, keywords=keyword), step],
        env={"PALETTE_API_KEY": None, "PALETTE_PROJECT": None},
    ).outcomes
    without.refused("No api_key is set")
    assert inside.changed
    after.refused("No api_key is set")
    assert "a" in project.api.names("cloudaccounts")


def test_options_come_from_module_defaults_of_the_action_group(project: Project) -> None:
    defaults = {
        "group/paletteops.modes.palette": {
            "api_url": project.plane.url,
            "api_key": project.plane.key,
            "project": project.name,
        }
    }
    play = project.ansible.play(
        [Step("cloud_account", AWS_ACCOUNT.named("a")), Step("cloud_account_info", {"query": "[].name"})],
        play={"module_defaults": defaults},
        env={"PALETTE_API_KEY": None, "PALETTE_PROJECT": None, "PALETTE_API_URL": None},
    )
    assert play[0].changed
    assert play[1].result["cloud_accounts"] == ["a"]


@pytest.mark.parametrize("way", WAYS)
def test_an_option_stands_above_the_environment(project: Project, way: str) -> None:
    outcome = project.ansible.steps(way, [Step("cloud_account_info", {"project": "no-such-project"})])[0]
    outcome.refused("no-such-project")


def test_a_time_limit_and_retries_come_from_the_environment(planes: Any, tmp_path: Path) -> None:
    plane: RunningPlane = planes()
    ansible = Ansible(plane, tmp_path / "runs")
    step = Step("project", {"name": "x"})
    with faults(plane, {"delay_seconds": 5, "times": 100}):
        ansible.module(step, env={"PALETTE_TIMEOUT": "1", "PALETTE_RETRIES": "0"}).refused("within 1 s")
    assert len(ansible.requests()) == 1


def test_without_a_project_the_scope_is_the_tenant(project: Project) -> None:
    name = project.name + "-tenant"
    steps = [
        Step("cloud_account", AWS_ACCOUNT.named(name)),
        Step("cloud_account", AWS_ACCOUNT.named(name)),
        Step("cloud_account", {"name": name, "state": "absent"}),
    ]
    made, again, gone = project.ansible.play(steps, env={"PALETTE_PROJECT": None}).outcomes
    assert made.changed
    assert {request["project_uid"] for request in made.requests} == {""}
    assert not again.changed
    assert gone.changed


# --- TLS ---


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A plane behind TLS, with a certificate that nobody else trusts."""
    with RunningPlane(tmp_path_factory.mktemp("guarded"), limits=False, tls=True) as plane:
        yield plane


@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_must_be_trusted(guarded: RunningPlane, tmp_path: Path, way: str) -> None:
    ansible = Ansible(guarded, tmp_path / "runs", recorded=False)

    def one(env: dict[str, str | None], **args: Any) -> Any:
        step = Step("project_info", {"query": "[].name", **args})
        return ansible.play([step], env=env)[0] if way == "action" else ansible.module(step, env=env)

    unknown: dict[str, str | None] = {"PALETTE_CA_PATH": None}
    one(unknown).refused(guarded.url, "is not trusted", "ca_path", "PALETTE_CA_PATH")
    assert one({}).result["projects"] == ["Default"]
    assert one(unknown, ca_path=guarded.ca_file).result["projects"] == ["Default"]
    assert one({**unknown, "PALETTE_VALIDATE_CERTS": "false"}).result["projects"] == ["Default"]
    assert one(unknown, validate_certs=False).result["projects"] == ["Default"]


@pytest.mark.parametrize("way", WAYS)
def test_a_file_of_authorities_that_there_is_not_is_named(guarded: RunningPlane, tmp_path: Path, way: str) -> None:
    ansible = Ansible(guarded, tmp_path / "runs", recorded=False)
    outcome = ansible.one("project_info", {"ca_path": str(tmp_path / "none.pem")}, way=way)
    outcome.refused("none.pem")


# --- proxies ---


@pytest.mark.parametrize("way", WAYS)
def test_a_proxy_is_taken_from_the_environment(project: Project, way: str) -> None:
    with proxy() as through:
        env: dict[str, str | None] = {"HTTP_PROXY": through.url, "http_proxy": through.url, "NO_PROXY": None}
        step = Step("cloud_account", AWS_ACCOUNT.named("a"))
        outcome = project.ansible.play([step], env=env)[0] if way == "action" else project.ansible.module(step, env=env)
        assert outcome.changed
        assert f"POST {project.plane.url}/v1/cloudaccounts/aws" in through.seen


@pytest.mark.parametrize("way", WAYS)
def test_addresses_that_need_no_proxy_go_past_it(project: Project, way: str) -> None:
    with proxy() as through:
        env: dict[str, str | None] = {"http_proxy": through.url, "no_proxy": "127.0.0.1"}
        step = Step("project", {"name": project.name})
        outcome = project.ansible.play([step], env=env)[0] if way == "action" else project.ansible.module(step, env=env)
        assert not outcome.changed
        assert through.seen == []


def test_a_proxy_of_the_task_alone(project: Project) -> None:
    with proxy() as through:
        step = Step("project", {"name": project.name})
        inside = Step(step.module, step.args, keywords={"environment": {"http_proxy": through.url}})
        project.ansible.play([step])
        assert through.seen == []
        outcome = project.ansible.play([inside])[0]
        assert not outcome.changed
        assert through.seen


def test_a_proxy_carries_tls_unopened(guarded: RunningPlane, tmp_path: Path) -> None:
    ansible = Ansible(guarded, tmp_path / "runs", recorded=False)
    with proxy() as through:
        env: dict[str, str | None] = {"https_proxy": through.url}
        outcome = ansible.module(Step("project_info", {"query": "[].name"}), env=env)
        assert outcome.result["projects"] == ["Default"]
        assert set(through.seen) == {f"CONNECT {guarded.url.removeprefix('https://')}"}


# --- as an ordinary module ---


def test_an_asynchronous_task_runs_as_a_module(project: Project) -> None:
    keywords = {"async": 60, "poll": 1}
    made, again = project.ansible.play([Step("cloud_account", AWS_ACCOUNT.named("a"), keywords=keywords)] * 2).outcomes
    assert made.changed
    assert made.result["ansible_job_id"]
    assert not again.changed
    assert "canary" not in json.dumps(made.result)


def test_a_task_that_is_delegated_elsewhere_runs_there(project: Project, tmp_path: Path) -> None:
    record = tmp_path / "elsewhere"
    record.touch()
    env = {"ANSIBLE_CONNECTION_PLUGINS": str(SUPPORT / "connections"), "PALETTEOPS_TEST_ELSEWHERE": str(record)}
    # Another machine has an environment of its own: the options say what the task needs.
    options = {"api_url": project.plane.url, "api_key": project.plane.key, "project": project.name}
    step = Step("cloud_account", {**AWS_ACCOUNT.named("a"), **options})
    there = Step(
        step.module,
        step.args,
        keywords={"delegate_to": "other", "vars": {"ansible_connection": "elsewhere"}},
    )
    here = Step(step.module, step.args, keywords={"delegate_to": "other", "vars": {"ansible_connection": "local"}})
    made, again = project.ansible.play([there, here], env={**env}).outcomes
    assert made.changed
    assert not again.changed
    ran = record.read_text("utf-8")
    assert "AnsiballZ_cloud_account.py" in ran, "the module was not brought there"
    assert ran.count("put ") == 1, "the task that was delegated to this machine needed no module"
    assert "a" in project.api.names("cloudaccounts")


# --- a run ---


def test_forks_share_what_check_mode_foretells(project: Project) -> None:
    """What one host's task would make counts for the tasks of all others."""
    name = project.name + "-new"
    account = {**AWS_ACCOUNT.named("a"), "project": name}
    playbook = project.ansible.write_play(
        [
            Step("project", {"name": name}, keywords={"run_once": True}),
            Step("cloud_account", account, keywords={"run_once": True}),
            Step("cloud_account", account),
        ]
    )
    hosts: dict[str, Values] = {f"host-{number}": {} for number in range(4)}
    play = project.ansible.playbook(playbook, "--check", "-f", "4", inventory={"all": {"hosts": hosts}})
    assert [outcome.changed for outcome in play.outcomes] == [True, True, False, False, False, False]
    assert not [write for outcome in play.outcomes for write in outcome.writes]
    assert name not in project.tenant.names("projects")


def test_ansible_has_nothing_to_warn_of(project: Project) -> None:
    steps = [Step("cloud_account", AWS_ACCOUNT.named("a")), Step("cloud_account_info", {"query": "[].name"})]
    play = project.ansible.play([*steps, Step("cloud_account", {"name": "a", "state": "absent"})], "-v")
    assert not [outcome.msg for outcome in play.outcomes if outcome.failed]
    for word in ("WARNING", "DEPRECATION"):
        assert word not in play.stdout + play.stderr


# --- many at once ---


ADD_ON: Values = {
    "type": "add-on",
    "packs": [{"name": "m", "type": "manifest", "manifests": [{"name": "m", "content": namespace("m")}]}],
}
SHARED = [
    pytest.param("project", {"tags": {"a": "1"}}, "projects", id="project"),
    pytest.param("cloud_account", AWS_ACCOUNT.base, "cloudaccounts", id="cloud account"),
    pytest.param("cluster_profile", ADD_ON, "clusterprofiles", id="cluster profile"),
    pytest.param("registration_token", {"expires_at": "2031-01-01"}, "registration_tokens", id="registration token"),
    pytest.param("edge_host", EDGE_HOST.base, "edge_hosts", id="edge host"),
]


@pytest.mark.parametrize(("module", "spec", "kind"), SHARED)
def test_twenty_processes_ensure_the_same_object(project: Project, module: str, spec: Values, kind: str) -> None:
    name, key = project.name + "-shared", "uid" if kind == "edge_hosts" else "name"
    results = at_once(project.ansible, Step(module, {**spec, key: name}), 20)
    assert not [result["msg"] for result in results if result.get("failed")]
    api: Api = project.tenant if kind in ("projects", "registration_tokens") else project.api
    assert Counter(known for known, _ in api.listed(kind))[name] == 1
    assert len({result[module]["uid"] for result in results}) == 1
    assert sum(result["changed"] for result in results) >= 1
    assert not project.ansible.one(module, {**spec, key: name}).changed


def test_twenty_processes_that_want_different_things_of_one_object(project: Project) -> None:
    """None fails, and what is there in the end is what one of them wanted, whole."""
    name = project.name + "-shared"
    content = ADD_ON
    results = at_once(project.ansible, Step("cluster_profile", {**content, "name": name, "tags": {"a": "1"}}), 10)
    assert not [result["msg"] for result in results if result.get("failed")]
    changed = project.ansible.one("cluster_profile", {**content, "name": name, "tags": {"a": "2"}})
    assert changed.diff["before"]["tags"] == {"a": "1"}


# --- the rate limit ---


def test_all_forks_of_a_run_stay_below_the_limit_together(planes: Any, tmp_path: Path) -> None:
    """A hundred tasks on twenty forks: more than the burst, and the plane refuses none of their calls."""
    plane: RunningPlane = planes(limits=True)
    with fresh_project(plane, tmp_path / "runs") as own:
        ansible = Ansible(plane, tmp_path / "limited", project=own.name, rate=None)
        hosts = {f"host-{number}": {} for number in range(20)}  # type: ignore[var-annotated]
        playbook = ansible.write_play([Step("project_info", {"name": "Default"})] * 5)
        ansible.forget_requests()
        command = ansible.command(playbook, "-f", "20", inventory={"all": {"hosts": hosts}})
        done = subprocess.run(command, env=ansible.environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        requests = ansible.requests()
        statuses = Counter(request["status"] for request in requests)
        assert len(requests) >= 200, "too few calls to meet the limit"
        assert set(statuses) == {200}, statuses


def test_processes_without_a_common_run_share_the_limit_too(planes: Any, tmp_path: Path) -> None:
    plane: RunningPlane = planes(limits=True)
    with fresh_project(plane, tmp_path / "runs") as own:
        ansible = Ansible(plane, tmp_path / "limited", project=own.name, rate=None)
        ansible.forget_requests()
        results = [result for _ in range(4) for result in at_once(ansible, Step("project", {"name": "shared"}), 20)]
        assert not [result["msg"] for result in results if result.get("failed")]
        assert 429 not in Counter(request["status"] for request in ansible.requests())
