# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows as data (``tests/contract/flows/README.md`` says what they mean), and their replay against a plane."""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jmespath
import yaml

from support.api import UNSET, Api

FLOWS = Path(__file__).resolve().parents[1] / "contract" / "flows"

Step = dict[str, Any]

STEP_KEYS = {
    "method", "path", "with", "scope", "query", "body", "status", "error", "reads", "absent", "save", "set", "expect",
    "poll", "download", "kubeconfig", "after_seconds", "lacking", "later", "credentials", "inferred", "source",
    "unsent", "note", "headers",
}  # fmt: skip
FLOW_KEYS = {"operation", "client", "source", "given", "clock", "calls"}

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


@cache
def flows() -> Mapping[str, dict[str, Any]]:
    """All flows by their full name, ``resource.flow``."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(FLOWS.glob("*.yaml")):
        data = yaml.safe_load(file.read_text("utf-8"))
        assert data["resource"] == file.stem, file
        for name, flow in data["flows"].items():
            found[f"{file.stem}.{name}"] = flow
    return found


def steps(calls: list[Step]) -> Iterator[Step]:
    """The calls that stand in a list, those of repetitions included, those of other flows not."""
    for step in calls:
        if "repeat" in step:
            yield from steps(step["repeat"]["calls"])
        elif "flow" not in step:
            yield step


def fill(value: Any, names: Mapping[str, Any]) -> Any:
    """The value with its placeholders filled in; one that is the whole text keeps its type."""
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        if whole:
            return names[whole[1]]
        return _PLACEHOLDER.sub(lambda match: str(names[match[1]]), value)
    if isinstance(value, dict):
        return {fill(key, names): fill(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, names) for item in value]
    return value


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def read_field(answer: Any, field: str) -> tuple[list[Any], list[str]]:
    """What a dotted path leads to: the values found, and the places where the way ends too early."""
    return _read(answer, field, "")


def _read(value: Any, field: str, where: str) -> tuple[list[Any], list[str]]:
    if value is None:
        return [], [where or "answer"]
    if not field:
        return [value], []
    if field.startswith("[]"):
        if not isinstance(value, list) or not value:
            return [], [f"{where}[] has no elements"]
        found: list[Any] = []
        missing: list[str] = []
        for index, item in enumerate(value):
            got, lacking = _read(item, field[2:].lstrip("."), f"{where}[{index}]")
            found += got
            missing += lacking
        return found, missing
    head, rest = re.match(r"([^.\[]+)\.?(.*)", field).groups()  # type: ignore[union-attr]
    if not isinstance(value, dict):
        return [], [f"{where} is no object"]
    return _read(value.get(head), rest, f"{where}.{head}".lstrip("."))


class Replay:
    """One run of a flow, and of those that it builds on, with names of its own."""

    #: How long a wait of a client may last here; the plane is fast.
    WAIT_SECONDS = 30.0

    def __init__(self, api: Api, controls: httpx.Client) -> None:
        self._api = api
        self._controls = controls
        self.names: dict[str, Any] = {"unique": secrets.token_hex(4), **api.sign_in}
        self._done: set[str] = set()
        self._where = ""

    def run(self, name: str) -> None:
        flow = flows()[name]
        if flow.get("clock") == "frozen":
            self._clock(frozen=True)
        try:
            self.prepare(flow.get("given", []))
            self._calls(flow["calls"], name)
        finally:
            if flow.get("clock") == "frozen":
                self._clock(frozen=False)

    def run_until(self, name: str, index: int) -> None:
        """What comes before a call of a flow."""
        self.prepare(flows()[name].get("given", []))
        self._calls(flows()[name]["calls"][:index], name)

    def _clock(self, **change: Any) -> None:
        self._controls.put("/clock", json=change).raise_for_status()

    def prepare(self, given: list[str]) -> None:
        """Run flows, and what they build on, each once; what they save stays in ``names``."""
        for name in given:
            if name not in self._done:
                self._done.add(name)
                self.prepare(flows()[name].get("given", []))
                self._calls(flows()[name]["calls"], name)

    def _calls(self, calls: list[Step], where: str) -> None:
        for index, step in enumerate(calls):
            if "flow" in step:
                self._calls(flows()[step["flow"]]["calls"], f"{where} > {step['flow']}")
            elif "repeat" in step:
                self._repeat(step["repeat"], where)
            else:
                self._where = f"{where}[{index}] {step['method']} {step['path']}"
                self._call(step)

    def _repeat(self, repeat: dict[str, Any], where: str) -> None:
        items = fill(repeat["over"], self.names)
        assert isinstance(items, list), f"{where}: nothing to repeat over: {items!r}"
        for item in items:
            self.names.update({repeat["as"]: item} if "as" in repeat else item)
            self._calls(repeat["calls"], where)

    def _call(self, step: Step) -> None:
        self.names.update(fill(step.get("set", {}), self.names))
        if "after_seconds" in step:
            self._clock(advance_seconds=step["after_seconds"])
        response = self._send(step)
        if step.get("lacking") or (step.get("later") and response.status_code == 501):
            assert response.status_code == 501, self._say(f"is not described, yet answered with {response.status_code}")
            return
        answer = self._accept(step, response)
        if "poll" in step:
            response, answer = self._poll(step, response, answer)
        if response.status_code >= 400:
            return
        self._read(step, answer)
        for name, expression in fill(step.get("save", {}), self.names).items():
            self.names[name] = jmespath.search(expression, answer)
            assert self.names[name] is not None, self._say(f"{expression} gives nothing in {str(answer)[:1500]}")
        for name, value in fill(step.get("expect", {}), self.names).items():
            assert self.names[name] == value, self._say(f"{name} is {self.names[name]!r} instead of {value!r}")

    def _send(self, step: Step) -> httpx.Response:
        path = step["path"]
        for name, value in fill(step.get("with", {}), self.names).items():
            path = path.replace("{" + name + "}", str(value))
        credentials = fill(step.get("credentials", ""), self.names)
        return self._api.call(
            step["method"],
            path,
            project=self.names["project_uid"] if step["scope"] == "project" else "",
            query=fill(step.get("query", {}), self.names),
            body=fill(step["body"], self.names) if "body" in step else UNSET,
            key="" if credentials else None,
            headers=fill(step.get("headers", {}), self.names)
            | ({"Authorization": credentials} if credentials not in ("", "none") else {}),
        )

    def _accept(self, step: Step, response: httpx.Response) -> Any:
        statuses = as_list(step["status"])
        assert response.status_code in statuses, self._say(
            f"answered {response.status_code} instead of {statuses}: {response.text[:1500]}"
        )
        if response.status_code >= 400:
            code = response.json()["code"]
            assert code in as_list(step["error"]), self._say(f"code {code}, the client looks for {step['error']}")
            return {}
        if step.get("download"):
            kind = response.headers["content-type"]
            assert kind.startswith("application/octet-stream"), self._say(f"a file came as {kind}")
            assert response.content, self._say("an empty file")
            if step.get("kubeconfig"):
                self._check_kubeconfig(response.text)
            return {}
        return response.json() if response.content else {}

    def _check_kubeconfig(self, text: str) -> None:
        if re.fullmatch(r"[A-Za-z0-9+/=\s]+", text):
            text = base64.b64decode(text).decode()
        config = yaml.safe_load(text)
        assert config["kind"] == "Config", self._say("no kubeconfig")
        assert config["clusters"][0]["cluster"]["server"], self._say("a kubeconfig without a server")
        assert config["users"][0]["user"], self._say("a kubeconfig without credentials")

    def _poll(self, step: Step, response: httpx.Response, answer: Any) -> tuple[httpx.Response, Any]:
        deadline = time.monotonic() + self.WAIT_SECONDS
        while not self._arrived(step["poll"], response.status_code, answer):
            assert time.monotonic() < deadline, self._say(f"{step['poll']}: still not so in {str(answer)[:1500]}")
            time.sleep(0.05)
            response = self._send(step)
            answer = self._accept(step, response)
        return response, answer

    def _arrived(self, poll: dict[str, Any], status: int, answer: Any) -> bool:
        if status >= 400:
            return bool(status == poll.get("or_status"))
        if poll.get("unless") and jmespath.search(poll["unless"], answer):
            return True
        if "all" in poll:
            found, missing = read_field(answer, poll["all"])
            return not missing and all(value in poll["target"] for value in found)
        value = jmespath.search(fill(poll.get("expression") or poll["field"], self.names), answer)
        if poll.get("present"):
            return value is not None
        if value in poll["target"]:
            return True
        assert value in poll["pending"], self._say(f"{value!r} is none of {poll['pending']}: the client would give up")
        return False

    def _read(self, step: Step, answer: Any) -> None:
        for item in as_list(step.get("reads", [])):
            read = {"field": item} if isinstance(item, str) else item
            need = read.get("need", "must")
            found, missing = read_field(answer, read["field"])
            if need == "must":
                assert not missing, self._say(f"{read['field']} is not there: {missing[:3]} in {str(answer)[:1500]}")
            elif need == "each":
                leaf = read["field"].rsplit(".", 1)[-1]
                lost = [place for place in missing if place.endswith((f".{leaf}", f"]{leaf}"))]
                assert not lost, self._say(f"{read['field']} lacks at {lost[:3]}")
            if "values" in read:
                values = fill(read["values"], self.names)
                odd = [value for value in found if value not in values]
                assert not odd, self._say(f"{read['field']} is {odd[:3]!r}, expected of {values}")
        for field in step.get("absent", []):
            found, _ = read_field(answer, field)
            assert not found, self._say(f"{field} is there: {found[:3]!r}")

    def _say(self, text: str) -> str:
        return f"{self._where}: {text}"
