# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes down each task's result, and the requests that a plane with test controls got meanwhile."""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorder
type: aggregate
short_description: Records results and requests for tests
description: One JSON object a line in the file that PALETTEOPS_TEST_RECORD names.
"""

AGENT = {"User-Agent": "paletteops-tests"}


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "recorder"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.path = os.environ["PALETTEOPS_TEST_RECORD"]
        self.controls = os.environ.get("PALETTEOPS_TEST_CONTROLS")
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        if os.environ.get("PALETTEOPS_TEST_RATE"):
            self.unlimited()

    @staticmethod
    def unlimited() -> None:
        """Lets the client call a plane without limits as fast as it can: in this process and the forks it makes."""
        from ansible_collections.paletteops.modes.plugins.module_utils import ratelimit

        ratelimit.DEFAULT_RATE = float(os.environ["PALETTEOPS_TEST_RATE"])
        ratelimit.RATES = {}

    def requests(self) -> list[dict[str, Any]]:
        if not self.controls:
            return []
        with self.opener.open(urllib.request.Request(self.controls, headers=AGENT)) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        with self.opener.open(urllib.request.Request(self.controls, headers=AGENT, method="DELETE")):
            pass
        return found

    def note(self, result: Any, kind: str) -> None:
        content = result.result if hasattr(type(result), "result") else result._result
        task = result.task if hasattr(type(result), "task") else result._task
        host = result.host if hasattr(type(result), "host") else result._host
        record = {
            "kind": kind,
            "task": task.get_name(include_role_fqcn=False),
            "host": host.get_name(),
            "result": content,
            "requests": self.requests(),
        }
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self.note(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self.note(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self.note(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self.note(result, "skipped")
