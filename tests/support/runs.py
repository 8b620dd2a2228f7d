# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the collection's modules against a plane, as users would: in a play, and as module processes."""

from __future__ import annotations

import atexit
import copy
import dataclasses
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from support.collection import NAME, tree
from support.forked import MODULES, PLAYBOOK, Forked
from support.plane import RunningPlane
from support.traffic import TEST_AGENT, beyond_the_contract, forget, of_others, recorded

Values = dict[str, Any]

CALLBACKS = Path(__file__).resolve().parent / "callbacks"
PLAY_SECONDS = 300.0

#: A plane without limits is called as fast as it answers; what the limit does is tested with the real one.
NO_RATE = 100_000.0

#: What the recorder calls the results of tasks that failed.
FAILURES = ("failed", "unreachable")

#: A POST that only reads.
READING_POST = re.compile(r"/search$|/validate$")


@dataclasses.dataclass(frozen=True)
class Step:
    """One task. ``keywords`` are further keywords of the task, such as ``environment`` or ``async``."""

    module: str
    args: Mapping[str, Any]
    check: bool = False
    diff: bool = True
    keywords: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def checked(self) -> Step:
        return dataclasses.replace(self, check=True)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a step came to, and the requests that were made for it."""

    result: Values
    requests: Sequence[Mapping[str, Any]]
    step: Step | None = None
    stderr: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed"))

    @property
    def changed(self) -> bool:
        assert not self.failed, f"failed: {self.msg}"
        return bool(self.result["changed"])

    @property
    def msg(self) -> str:
        return str(self.result.get("msg", ""))

    @property
    def diff(self) -> Values:
        """The diff as data; tasks give it as YAML, to be read."""
        shown: Values = self.result["diff"]
        return {key: yaml.safe_load(text) or "" if key in ("before", "after") else text for key, text in shown.items()}

    @property
    def writes(self) -> list[str]:
        """``METHOD path`` of the requests that could change something."""
        return [
            f"{request['method']} {request['path']}"
            for request in self.requests
            if request["method"] != "GET" and not (request["method"] == "POST" and READING_POST.search(request["path"]))
        ]

    def refused(self, *words: str) -> str:
        """The message of a failure that changed nothing; ``words`` must be in it."""
        assert self.failed, f"it did not fail: {self.result}"
        for word in words:
            assert word in self.msg, f"{word!r} is not in: {self.msg}"
        assert not self.writes, f"something was written: {self.writes}"
        return self.msg


@dataclasses.dataclass(frozen=True)
class Play:
    """One run of ansible-playbook; ``outcomes`` in the order in which tasks ended."""

    rc: int
    stdout: str
    stderr: str
    outcomes: list[Outcome]
    names: list[str]

    def __getitem__(self, number: int) -> Outcome:
        return self.outcomes[number]


class Ansible:
    """Runs steps against one plane, in one project's scope, with a HOME and a TMPDIR of its own.

    rate      what the client takes for the limit of the plane; None for its own
    recorded  whether the plane has test controls, so that requests are known
    """

    def __init__(
        self,
        plane: RunningPlane,
        folder: Path,
        project: str = "",
        rate: float | None = NO_RATE,
        recorded: bool = True,
    ) -> None:
        self.plane = plane
        self.folder = folder
        self.project = project
        self.rate = rate
        self.recorded = recorded
        self.runs = 0
        # Ansible makes sockets below these, and the path of a socket must be short.
        short = Path(tempfile.mkdtemp(prefix="po-"))
        atexit.register(shutil.rmtree, short, ignore_errors=True)
        self.home, self.temporary = short / "home", short / "tmp"
        for path in (self.home, self.temporary, folder):
            path.mkdir(parents=True, exist_ok=True)
        (folder / "ansible.cfg").touch()

    def environment(self, more: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """The environment of a run; a None in ``more`` takes a variable away."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PALETTE", "ANSIBLE_")) and not key.lower().endswith("_proxy")
        }
        own: dict[str, str | None] = {
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(tree()),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(tree()),
            # Ansible takes a user's folder from the system's list of users here, whatever HOME says.
            "ANSIBLE_REMOTE_TEMP": str(self.home / ".ansible" / "tmp"),
            "ANSIBLE_ASYNC_DIR": str(self.home / ".ansible_async"),
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "PALETTE_API_URL": self.plane.url,
            "PALETTE_API_KEY": self.plane.key,
            "PALETTE_PROJECT": self.project or None,
            "PALETTE_CA_PATH": self.plane.ca_file,
        }
        return {key: value for key, value in {**inherited, **own, **(more or {})}.items() if value is not None}

    # --- in a play ---

    def write_play(self, steps: Sequence[Step], more: Mapping[str, Any] | None = None) -> Path:
        """A playbook of these steps, which go on after a failure."""
        tasks = [
            {
                "name": f"step {number}",
                f"{NAME}.{step.module}" if "." not in step.module else step.module: copy.deepcopy(dict(step.args)),
                **({"check_mode": True} if step.check else {}),
                "diff": step.diff,
                "ignore_errors": True,
                **step.keywords,
            }
            for number, step in enumerate(steps)
        ]
        play = {"hosts": "all", "gather_facts": False, "tasks": tasks, **(more or {})}
        path = self.folder / f"play-{self.runs}.yml"
        path.write_text(json.dumps([play], indent=1), "utf-8")
        return path

    def command(self, playbook: Path | str, *options: str, inventory: Mapping[str, Any] | None = None) -> list[str]:
        """A command line."""
        return [sys.executable, "-m", PLAYBOOK, *self.arguments(playbook, *options, inventory=inventory)]

    def arguments(self, playbook: Path | str, *options: str, inventory: Mapping[str, Any] | None = None) -> list[str]:
        """Those of a command line; without an inventory of its own it is for this machine alone."""
        path = self.folder / f"inventory-{self.runs}.json"
        hosts = {"all": {"hosts": {"localhost": {}}}} if inventory is None else copy.deepcopy(dict(inventory))
        own = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        hosts["all"]["vars"] = {**own, **hosts["all"].get("vars", {})}
        path.write_text(json.dumps(hosts), "utf-8")
        return ["-i", str(path), str(playbook), *options]

    def recording(self) -> tuple[Path, dict[str, str | None]]:
        """A file for the recorder, and the environment that switches it on."""
        record = self.folder / f"record-{self.runs}.jsonl"
        return record, {
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "recorder",
            "PALETTEOPS_TEST_RECORD": str(record),
            "PALETTEOPS_TEST_CONTROLS": f"{self.plane.url}/embedded/v1/requests" if self.recorded else None,
            "PALETTEOPS_TEST_RATE": str(self.rate) if self.rate else None,
        }

    def play(
        self,
        steps: Sequence[Step],
        *options: str,
        env: Mapping[str, str | None] | None = None,
        play: Mapping[str, Any] | None = None,
        timeout: float = PLAY_SECONDS,
    ) -> Play:
        """Runs the steps in one play, one after the other. ``play`` holds further keywords of the play."""
        self.runs += 1
        playbook = self.write_play(steps, play)
        done = self.playbook(playbook, *options, env=env, timeout=timeout)
        by_name = dict(zip(done.names, done.outcomes, strict=True))
        missing = [number for number in range(len(steps)) if f"step {number}" not in by_name]
        assert not missing, f"steps {missing} have no result:\n{done.stdout}\n{done.stderr}"
        ordered = [dataclasses.replace(by_name[f"step {n}"], step=step) for n, step in enumerate(steps)]
        return dataclasses.replace(done, outcomes=ordered)

    def playbook(
        self,
        playbook: Path | str,
        *options: str,
        env: Mapping[str, str | None] | None = None,
        inventory: Mapping[str, Any] | None = None,
        timeout: float = PLAY_SECONDS,
    ) -> Play:
        """Runs a playbook, by path or by FQCN, and reads what the recorder wrote of it."""
        record, recording = self.recording()
        record.unlink(missing_ok=True)
        if self.recorded:
            self.forget_requests()
        arguments = self.arguments(playbook, *options, inventory=inventory)
        environment = self.environment({**recording, **(env or {})})
        done = Forked(PLAYBOOK, arguments, "", environment, self.folder, timeout).run()
        lines = record.read_text("utf-8").splitlines() if record.exists() else []
        records = [json.loads(line) for line in lines]
        outcomes = [
            self.outcome({**item["result"], "failed": item["kind"] in FAILURES}, item["requests"]) for item in records
        ]
        return Play(done.returncode, done.stdout, done.stderr, outcomes, [item["task"] for item in records])

    # --- as a module process ---

    def module_command(self, module: str) -> list[str]:
        return [sys.executable, "-m", f"{MODULES}.{module}"]

    @staticmethod
    def module_input(step: Step) -> str:
        internal = {
            "_ansible_check_mode": step.check,
            "_ansible_diff": step.diff,
        }
        return json.dumps({"ANSIBLE_MODULE_ARGS": {**step.args, **internal}})

    def forked(self, step: Step, env: Mapping[str, str | None] | None = None, timeout: float = PLAY_SECONDS) -> Forked:
        """The step as a module process, which is still to begin."""
        name, text = f"{MODULES}.{step.module}", self.module_input(step)
        return Forked(name, (), text, self.environment(env), self.folder, timeout)

    def module(self, step: Step, env: Mapping[str, str | None] | None = None, timeout: float = PLAY_SECONDS) -> Outcome:
        """Runs the step as a module process, as Ansible does on a target."""
        if self.recorded:
            self.forget_requests()
        done = self.forked(step, env, timeout).run()
        try:
            result = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"no result, exit {done.returncode}:\n{done.stdout}\n{done.stderr}") from None
        return self.outcome(result, self.requests(), step, done.stderr)

    def steps(self, way: str, steps: Sequence[Step]) -> list[Outcome]:
        """The steps one after the other: in one play (``action``), or as processes (``module``)."""
        return self.play(steps).outcomes if way == "action" else [self.module(step) for step in steps]

    def prepare(self, steps: Sequence[Step]) -> None:
        """Makes what a test needs, whichever way is the quickest."""
        for step in steps:
            outcome = self.module(step)
            assert not outcome.failed, f"{step.module} {step.args}: {outcome.msg}"

    def one(self, module: str, args: Mapping[str, Any], *, check: bool = False, way: str = "module") -> Outcome:
        return self.steps(way, [Step(module, args, check=check)])[0]

    # --- what the plane saw ---

    def outcome(
        self, result: Values, requests: Iterable[Mapping[str, Any]], step: Step | None = None, stderr: str = ""
    ) -> Outcome:
        requests = of_others(requests)
        strays = beyond_the_contract(requests)
        assert not strays, f"only the embedded plane can answer these requests: {strays}"
        return Outcome(result, requests, step, stderr)

    def requests(self) -> list[Mapping[str, Any]]:
        """The requests of others since they were last forgotten."""
        if not self.recorded:
            return []
        with self.plane.controls() as controls:
            return of_others(recorded(controls))

    def forget_requests(self) -> None:
        with self.plane.controls() as controls:
            forget(controls)


def assert_quartet(quartet: Sequence[Outcome]) -> None:
    """Check mode says changed, the run is changed, then neither is; check mode foretold what the run did."""
    foretold, done, *again = quartet
    assert foretold.changed, "check mode does not see the difference"
    assert not foretold.writes, f"check mode wrote: {foretold.writes}"
    assert done.changed
    assert done.writes, "it is reported as changed, and nothing was sent"
    assert foretold.diff == done.diff
    assert done.diff["before"] != done.diff["after"]
    for outcome in again:
        assert not outcome.changed, f"the second run differs: {outcome.diff}"
        assert not outcome.writes, f"nothing was to do, and this was sent: {outcome.writes}"


def at_once(ansible: Ansible, step: Step, count: int) -> list[Values]:
    """The step in so many processes at the same time."""
    runs = [ansible.forked(step, timeout=120.0) for _ in range(count)]
    for run in runs:
        run.begin()
    ended = [run.end() for run in runs]
    return [json.loads(each.stdout) if each.stdout else {"failed": True, "msg": each.stderr} for each in ended]


class Api:
    """The plane itself, past the collection: to prepare, to change behind its back, to look at what came of it."""

    def __init__(self, plane: RunningPlane, project_uid: str = "") -> None:
        self.client: httpx.Client = plane.client(project_uid, {"User-Agent": TEST_AGENT})

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = self.client.request(method, path, json=body, params=query or None)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else answer.text

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, **query)

    def listed(self, kind: str) -> list[tuple[str, str]]:
        """Name and uid of each object of a kind in scope, from its bulk listing: projects, cloudaccounts, …

        Edge hosts are known by their uid.
        """
        if kind == "edge_hosts":
            return [(item["uid"], item["uid"]) for item in self.get("/v1/edgehosts/metadata")["edgeHosts"]]
        path = "/v1/edgehosts/tokens" if kind == "registration_tokens" else f"/v1/dashboard/{kind}/metadata"
        objects = [item.get("metadata", item) for item in self.get(path)["items"]]
        return [(metadata["name"], metadata["uid"]) for metadata in objects]

    def names(self, kind: str) -> dict[str, str]:
        """Names to uids of a kind in scope."""
        return dict(self.listed(kind))

    def close(self) -> None:
        self.client.close()


def vary(spec: Mapping[str, Any], at: str, value: Any) -> Values:
    """A copy of the spec with another value at a path such as ``pools.workers.size`` or ``packs.nginx.values``.

    Parts of the path are keys; in a list they are the name of an item, or its number. ``...`` as value takes it away.
    """
    changed = copy.deepcopy(dict(spec))
    *parents, last = at.split(".")
    place: Any = changed
    for part in parents:
        place = place[_position(place, part)]
    if value is ...:
        del place[_position(place, last)]
    elif isinstance(place, list) and not last.isdigit():
        place[_position(place, last)] = value
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return changed


def _position(place: Any, part: str) -> Any:
    if not isinstance(place, list):
        return part
    if part.isdigit():
        return int(part)
    return next(number for number, item in enumerate(place) if item["name"] == part)
