# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the API, from one table (``errors.yaml``)."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.api import UNSET, Api
from support.flows import Replay, fill
from support.plane import RunningPlane
from support.traffic import TEST_AGENT

TABLE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "errors.yaml").read_text("utf-8"))
CASES: dict[str, dict[str, Any]] = TABLE["cases"]

KEYS = {
    "status", "code", "given", "method", "path", "scope", "project", "query", "body", "text", "key", "token", "says",
    "headers",
}  # fmt: skip


class Credentials:
    """Keys and tokens that do not hold, made when they are first asked for."""

    def __init__(self, plane: RunningPlane, api: Api, controls: httpx.Client) -> None:
        self._plane, self._api, self._controls = plane, api, controls
        self._made: dict[str, str] = {}

    def headers(self, case: dict[str, Any]) -> dict[str, str]:
        headers = {"User-Agent": TEST_AGENT, "ApiKey": self._key(case.get("key", "good"))}
        if not headers["ApiKey"]:
            del headers["ApiKey"]
        if "token" in case:
            headers["Authorization"] = self._token(case["token"])
        return headers

    def _key(self, kind: str) -> str:
        fixed = {"good": self._plane.key, "none": "", "wrong": "x" * 43}
        if kind in fixed:
            return fixed[kind]
        if kind not in self._made:
            now = datetime.fromisoformat(self._controls.get("/clock").json()["now"])
            spec = (
                {"expiry": (now + timedelta(hours=1)).isoformat().replace("+00:00", "Z")} if kind == "expired" else {}
            )
            made = self._api.expect(
                201, "POST", "/v1/apiKeys", body={"metadata": {"name": f"key-{kind}"}, "spec": spec}
            )
            self._made[kind] = made["apiKey"]
            # It held before; otherwise the case would prove nothing.
            self._api.expect(200, "GET", "/v1/dashboard/projects/metadata", key=made["apiKey"])
            if kind == "expired":
                self._controls.put("/clock", json={"advance_seconds": 7200}).raise_for_status()
            else:
                self._api.expect(204, "PUT", f"/v1/apiKeys/{made['uid']}/state", body={"isActive": False})
        return self._made[kind]

    def _token(self, kind: str) -> str:
        if kind == "wrong":
            return "not.a.token"
        if kind not in self._made:
            sign_in = self._plane.sign_in()
            answer = self._api.expect(200, "POST", "/v1/auth/authenticate", key="", body=sign_in)
            self._made[kind] = answer["Authorization"]
            self._api.expect(
                200, "GET", "/v1/dashboard/projects/metadata", key="", headers={"Authorization": self._made[kind]}
            )
            self._controls.put("/clock", json={"advance_seconds": 16 * 60}).raise_for_status()
        return self._made[kind]


@pytest.mark.parametrize("name", CASES)
def test_error(name: str, plane: RunningPlane, api: Api) -> None:
    case = CASES[name]
    assert case.keys() <= KEYS
    with plane.controls() as controls:
        replay = Replay(api, controls)
        replay.prepare(case.get("given", []))
        names = replay.names
        headers = Credentials(plane, api, controls).headers(case) | fill(case.get("headers", {}), names)
        if case["scope"] == "project":
            headers["ProjectUid"] = fill(case.get("project", "${project_uid}"), names)
        content: dict[str, Any] = {"json": fill(case["body"], names)} if case.get("body", UNSET) is not UNSET else {}
        if "text" in case:
            content = {"content": case["text"].encode()}
            headers["Content-Type"] = "application/json"
        with httpx.Client(base_url=plane.url, trust_env=False, timeout=30.0) as client:
            response = client.request(
                case["method"],
                fill(case["path"], names),
                params=fill(case.get("query"), names),
                headers=headers,
                **content,
            )
        api.check(response)
        assert (response.status_code, response.json()["code"]) == (case["status"], case["code"]), response.text
        for text in fill(case.get("says", []), names):
            assert text in response.json()["message"], response.text


def test_the_table_covers_each_status(plane: RunningPlane) -> None:
    # 429 needs a plane with its limits on: test_limits.py. 408 takes a minute: the plane's own tests shorten it.
    assert {case["status"] for case in CASES.values()} | {408, 429} == set(TABLE["statuses"])
    with plane.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    for path, item in paths.items():
        for method, operation in item.items():
            declared = {int(status) for status in operation["responses"] if int(status) >= 400}
            assert declared == set(TABLE["statuses"]), f"{method} {path}"
