# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets appear nowhere: not in output at any verbosity, diffs, results, files or process lists, nor in crashes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.hosts import make_token
from support.plane import RunningPlane
from support.project import Project, faults
from support.runs import Ansible, Step, Values, vary
from support.specs import AWS_ACCOUNT, AWS_CLUSTER, CLUSTER_NEEDS, EDGE_HOST, PROFILE, VSPHERE_ACCOUNT

WAYS = ("action", "module")
CANARY = "canary"

ACCOUNT = Step("cloud_account", AWS_ACCOUNT.named("one"))
GUARDED_ACCOUNT = Step("cloud_account", VSPHERE_ACCOUNT.named("two"))
VARIABLES = Step("cluster_profile", PROFILE.named("p"))
CLUSTER = Step("cluster", AWS_CLUSTER.named("c"))
HOST = Step("edge_host", EDGE_HOST.named("secret-host"))
TOKEN = Step("registration_token", {"name": "secret-token"})

#: Something of everything that has secrets: made, seen again, changed, with secrets sent anew.
GOOD = [
    *CLUSTER_NEEDS,
    ACCOUNT.checked(),
    ACCOUNT,
    Step("cloud_account", {**vary(ACCOUNT.args, "tags.team", "x"), "update_secrets": "always"}),
    GUARDED_ACCOUNT,
    VARIABLES.checked(),
    VARIABLES,
    Step("cluster_profile", vary(VARIABLES.args, "variables.token.default_value", "canary-new-default")),
    Step("cluster_profile", vary(VARIABLES.args, "variables.tier.display_name", "Class")),
    CLUSTER.checked(),
    CLUSTER,
    Step("cluster", {**CLUSTER.args, "update_secrets": "always", "wait": True, "wait_interval": 1}),
    Step("cluster", vary(CLUSTER.args, "profiles.base-aws.variables.tier", "lead")),
    HOST.checked(),
    HOST,
    Step("edge_host", vary(HOST.args, "tags.plant", "9")),
    Step("edge_host_info", {}),
    TOKEN.checked(),
    TOKEN,
    Step("registration_token", {**TOKEN.args, "description": "another"}),
    Step("cloud_account_info", {}),
    Step("cluster_profile_info", {}),
    Step("cluster_info", {}),
    Step("cloud_account", {"name": "one", "state": "absent"}),
]
#: The same refused, by the module or by the plane.
BAD = [
    Step("cloud_account", vary(AWS_ACCOUNT.named("other"), "credentials.access_key", "INVALID-1")),
    Step("cloud_account", {**GUARDED_ACCOUNT.args, "private_cloud_gateway": "none"}),
    Step("cloud_account", vary(AWS_ACCOUNT.named("wrong"), "credentials.nothing", "x")),
    Step("cluster_profile", {**VARIABLES.args, "cloud": "vsphere"}),
    Step("cluster", vary(CLUSTER.args, "profiles.base-aws.variables.port", "many")),
    Step("cluster", vary(CLUSTER.args, "profiles.base-aws.variables.nothing", "canary-nothing")),
    Step("edge_host", {**HOST.args, "architecture": "arm64"}),
    Step("registration_token", {**TOKEN.args, "expires_in": "1d", "default_project": "none"}),
    Step("cluster", {**CLUSTER.args, "project": "none"}),
    Step("cluster", {**CLUSTER.args, "cloud_acount": "x"}),
]


def in_files(folders: list[Path], words: list[str], own: Collection[str] = ()) -> list[str]:
    """``file: word`` for each of the words that a file below the folders holds.

    own  names of files which hold a secret because a test put it there
    """
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and path.name not in own:
                    content = path.read_bytes()
                    found += [f"{path}: {word}" for word in words if word.encode() in content]
    return found


@contextlib.contextmanager
def watched(folders: list[Path], words: list[str], own: set[str]) -> Iterator[list[str]]:
    """Looks at all files below the folders and at all command lines until the block ends; what it finds is listed."""
    found: set[str] = set()
    done = threading.Event()

    def look() -> None:
        found.update(in_files(folders, words, own))
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = process.read_bytes()
                found.update(f"command line: {word}" for word in words if word.encode() in line)

    def go_on() -> None:
        while not done.wait(0.02):
            look()

    thread = threading.Thread(target=go_on)
    thread.start()
    result: list[str] = []
    try:
        yield result
    finally:
        done.set()
        thread.join()
        look()
        result.extend(sorted(found))


def assert_clean(text: str, words: list[str]) -> None:
    for word in words:
        position = text.find(word)
        assert position < 0, f"{word} in: …{text[max(0, position - 200) : position + 60]}…"


def test_no_secret_in_output_results_files_or_process_lists(project: Project) -> None:
    ansible = project.ansible
    words = [CANARY, project.plane.key, make_token(project.tenant, str(TOKEN.args["name"]))]
    files = {f"play-{ansible.runs + 1}.yml"}
    with watched([ansible.folder, ansible.home, ansible.temporary], words, files) as found:
        play = ansible.play([*GOOD, *BAD], "-vvvv", "--diff")
    assert [outcome.failed for outcome in play.outcomes] == [False] * len(GOOD) + [True] * len(BAD)
    assert_clean(play.stdout + play.stderr, words)
    assert_clean(json.dumps([outcome.result for outcome in play.outcomes]), words)
    assert found == []


def test_no_secret_in_what_modules_print(project: Project) -> None:
    for step in [*GOOD, *BAD]:
        outcome = project.ansible.module(step)
        assert_clean(json.dumps(outcome.result) + outcome.stderr, [CANARY, project.plane.key])


def test_a_module_on_a_target_leaves_nothing_behind(project: Project) -> None:
    """Ansible brings the options of an ordinary module to its target in a file of its own, and removes it."""
    ansible = project.ansible
    step = Step(ACCOUNT.module, ACCOUNT.args, keywords={"async": 30, "poll": 1})
    play = ansible.play([step], "-vvvv", "--diff")
    assert play[0].changed
    assert_clean(play.stdout + play.stderr + json.dumps(play[0].result), [CANARY, project.plane.key])
    # The wrapper of an asynchronous task outlives the play a little; then all is gone.
    deadline = time.monotonic() + 20
    while found := in_files([ansible.home, ansible.temporary], [CANARY, project.plane.key]):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [ACCOUNT, GUARDED_ACCOUNT, VARIABLES, CLUSTER], ids=lambda step: step.args["name"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 401}, id="401"),
        pytest.param({"status": 500, "headers": {"Retry-After": "0"}, "times": 9}, id="500"),
        pytest.param({"method": "POST", "status": 422}, id="422 of a write"),
        pytest.param({"reset": True, "times": 9}, id="reset"),
    ],
)
def test_no_secret_in_a_failure(
    planes: Any, broken: RunningPlane, tmp_path: Path, step: Step, fault: Any, way: str
) -> None:
    """Also where a task fails before it knows which of its options are secret."""
    ansible = Ansible(broken, tmp_path / "runs", project="Default")
    with faults(broken, {"path": "^/v1/", **fault}):
        outcome = ansible.steps(way, [Step(step.module, {**step.args, "retries": 1})])[0]
    assert outcome.failed
    assert_clean(json.dumps(outcome.result) + outcome.stderr, [CANARY, broken.key])


def test_no_secret_in_the_log_of_a_target(project: Project, tmp_path: Path) -> None:
    """An ordinary module notes its options in the system's log."""
    log = tmp_path / "log"
    (tmp_path / "sitecustomize.py").write_text(
        f"import syslog\ndef note(*args): open({str(log)!r}, 'a').write(repr(args))\nsyslog.syslog = note\n",
        "utf-8",
    )
    path = f"{tmp_path}{os.pathsep}{project.ansible.environment()['PYTHONPATH']}"
    for step in [*GOOD, *BAD]:
        project.ansible.module(step, env={"PYTHONPATH": path})
    assert_clean(log.read_text("utf-8") if log.exists() else "", [CANARY, project.plane.key])


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    with RunningPlane(tmp_path_factory.mktemp("broken"), limits=False) as plane:
        yield plane


class _Nonsense(BaseHTTPRequestHandler):
    """A server that is no management plane: it says back what it was asked with."""

    def do_GET(self) -> None:
        body = json.dumps({"items": [{"key": self.headers["ApiKey"]}, 5]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("verbosity", ["-v", "-vvvv"])
def test_no_secret_in_a_crash(project: Project, verbosity: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Nonsense)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.closing(server.socket):
        url = f"http://127.0.0.1:{server.server_address[1]}"
        steps = [Step(step.module, {**step.args, "api_url": url}) for step in (ACCOUNT, VARIABLES, CLUSTER)]
        play = project.ansible.play(steps, verbosity, env={"ANSIBLE_SHOW_TRACEBACK": "always"})
        processes = [project.ansible.module_command(step.module) for step in steps]
        crashes = [
            subprocess.run(
                command,
                input=project.ansible.module_input(step),
                env=project.ansible.environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            for command, step in zip(processes, steps, strict=True)
        ]
        server.shutdown()
    assert [outcome.failed for outcome in play.outcomes] == [True, True, True]
    words = [CANARY, project.plane.key]
    assert_clean(play.stdout + play.stderr + json.dumps([outcome.result for outcome in play.outcomes]), words)
    for crash in crashes:
        assert crash.returncode != 0
        assert_clean(crash.stdout + crash.stderr, words)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "args",
    [
        {"cloud": "aws", "credentials": "secret_key=canary-text"},
        {"cloud": "aws", "credentials": ["canary-list"]},
        {"cloud": "aws", "credentials": {"secret_key": {"nested": "canary-nested"}}},
        {"cloud": "gcp", "credentials": {"secret_key": "canary-key"}},
        {"cloud": "aws", "api_key": "canary-api-key", "credentials": {}},
        {"cloud": "vsphere", "credentials": {"secret_key": "canary-key", "password": "canary-password"}},
    ],
    ids=["text", "list", "nested", "cloud", "key", "other cloud"],
)
def test_no_secret_in_a_refusal_of_options(project: Project, args: Values, way: str) -> None:
    if isinstance(args["credentials"], list):
        way = "action"  # Ansible's own module code shows options that it cannot read as they came
    outcome = project.ansible.one("cloud_account", {"name": "x", **args}, way=way)
    assert outcome.failed
    assert_clean(json.dumps(outcome.result) + outcome.stderr, [CANARY])


def test_the_folder_of_a_run_is_private_and_goes_with_it(project: Project) -> None:
    ansible = project.ansible
    seen: dict[str, int] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            for path in ansible.home.rglob("paletteops*"):
                with contextlib.suppress(OSError):
                    for inner in (path, *path.iterdir()):
                        seen[str(inner.relative_to(ansible.home))] = inner.stat().st_mode & 0o077

    thread = threading.Thread(target=look)
    thread.start()
    ansible.play([ACCOUNT] * 3)
    done.set()
    thread.join()
    assert seen, "the folder was never there"
    assert set(seen.values()) == {0}
    assert list(ansible.home.rglob("paletteops*")) == []
    limits = ansible.temporary / f"paletteops-{os.getuid()}"
    assert limits.stat().st_mode & 0o077 == 0


def test_a_plane_that_shows_a_key_is_not_repeated(broken: RunningPlane, tmp_path: Path) -> None:
    """An answer that holds a secret of the task is scrubbed, whoever put it there."""
    ansible = Ansible(broken, tmp_path / "runs", project="Default")
    started = time.monotonic()
    outcome = ansible.one("project_info", {"query": f"[].join('', ['{broken.key}', name])"}, way="action")
    assert time.monotonic() - started < 60
    assert_clean(json.dumps(outcome.result), [broken.key])
