# Copyright: (c) 2026, the paletteops.modes contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what a playbook ran as JSON to the file that BENCH_TASKS names.

``{"ok": {HOST: TASKS}, "tasks": [{"name", "action", "become", "included", "ok", "skipped", "seconds"}]}``: tasks in
their order, with the number of hosts of each, and the seconds until the next one began.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: bench_tasks
type: aggregate
short_description: What a playbook ran, as JSON
description: For the benchmark of the role.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "bench_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[str, dict[str, Any]] = {}
        self._last: dict[str, Any] | None = None
        self._at = time.monotonic()

    def _pass(self) -> None:
        """What went by belongs to the task that was begun last."""
        now = time.monotonic()
        if self._last is not None:
            self._last["seconds"] += now - self._at
        self._at = now

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._pass()
        known = {"name": task.get_name(), "action": task.resolved_action or task.action, "become": bool(task.become)}
        self._last = self._tasks.setdefault(task._uuid, {**known, "ok": 0, "skipped": 0, "seconds": 0.0})

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._pass()
        self._last = None

    def _count(self, result: Any, kind: str) -> None:
        task = self._tasks.get(result._task._uuid)
        if task is not None:
            task[kind] += 1

    def v2_runner_on_ok(self, result: Any) -> None:
        self._count(result, "ok")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._count(result, "skipped")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._pass()
        report = {"ok": dict(stats.ok), "tasks": list(self._tasks.values())}
        Path(os.environ["BENCH_TASKS"]).write_text(json.dumps(report), "utf-8")
