# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host has done and is doing, on the disk before and after each action.

An action that begins is written down before anything is touched, and its outcome once it is known. So a process that
was killed at any point finds, when it starts again, either an outcome or an action that must be finished or undone.
The file holds no secret, and nothing about who asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import files

VERSION = 1

#: actions after which the host is in a cluster, or out of it
ENTERING = ("bootstrap", "join")


@dataclass
class Action:
    """Something that was begun. ``tries`` counts how often it was begun without an outcome."""

    kind: str
    cluster_uid: str | None = None
    begun_at: float = 0.0
    tries: int = 1


@dataclass
class State:
    """What is known for certain.

    cluster_uid    the cluster that the host belongs to, from ``prepare`` on
    member         whether it is a member of it: bootstrap or join came to their end
    version        the Kubernetes version that runs, while it is a member
    tasks          id: {state, message}
    unfinished     the action that was begun and has no outcome
    """

    cluster_uid: str | None = None
    cluster_name: str = ""
    member: bool = False
    control_plane: bool = False
    node_name: str = ""
    version: str = ""
    tasks: dict[str, dict[str, str]] = field(default_factory=dict)
    unfinished: Action | None = None
    reset_done: str | None = None
    logs_done: str | None = None
    serials: dict[str, int] = field(default_factory=dict)  # "pack version": of the newest bundle taken over


class Journal:
    """The state of one host. Every change is on the disk when the call returns.

    ``checkpoint`` is called with a word before and after each write; tests end the process there.
    """

    def __init__(self, path: Path, durable: bool = True, checkpoint: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._durable = durable
        self._checkpoint = checkpoint or (lambda word: None)
        self._lock = threading.RLock()
        self.state = _read(path)

    def _write(self, word: str) -> None:
        self._checkpoint(f"before {word}")
        files.write_json(self._path, {"format": VERSION, **asdict(self.state)}, files.SECRET, self._durable)
        self._checkpoint(f"after {word}")

    def begin(self, kind: str, cluster_uid: str | None) -> None:
        """Note an action before it touches anything."""
        with self._lock:
            before = self.state.unfinished
            again = before is not None and (before.kind, before.cluster_uid) == (kind, cluster_uid)
            tries = before.tries + 1 if again and before is not None else 1
            self.state.unfinished = Action(kind, cluster_uid, time.time(), tries)
            self._write(f"begin {kind}")

    def end(self, **facts: Any) -> None:
        """Note that the action came to its end, and what is so since."""
        with self._lock:
            kind = self.state.unfinished.kind if self.state.unfinished else "change"
            self.state.unfinished = None
            self._set(facts)
            self._write(f"end {kind}")

    def note(self, **facts: Any) -> None:
        """Note facts beside the action that runs."""
        with self._lock:
            if any(getattr(self.state, name) != value for name, value in facts.items()):
                self._set(facts)
                self._write("note")

    def task(self, task_id: str, state: str, message: str = "") -> None:
        with self._lock:
            entry = {"state": state, "message": message}
            if self.state.tasks.get(task_id) != entry:
                self.state.tasks = {**self.state.tasks, task_id: entry}
                self._write(f"task {state}")

    def keep_tasks(self, task_ids: set[str]) -> None:
        """Forget the tasks that nobody asks about any more."""
        with self._lock:
            kept = {name: entry for name, entry in self.state.tasks.items() if name in task_ids}
            if kept != self.state.tasks:
                self.state.tasks = kept
                self._write("note")

    def _set(self, facts: Mapping[str, Any]) -> None:
        for name, value in facts.items():
            if name not in State.__dataclass_fields__:
                raise AttributeError(f"no fact {name}")
            setattr(self.state, name, value)


def _read(path: Path) -> State:
    content = files.read_json(path)
    if content is None:
        return State()
    if not isinstance(content, dict) or content.get("format") != VERSION:
        raise ValueError(f"{path} is of another version of the agent; uninstall and install the agent again")
    known = {name: content[name] for name in State.__dataclass_fields__ if name in content}
    if known.get("unfinished"):
        known["unfinished"] = Action(**known["unfinished"])
    return State(**known)
