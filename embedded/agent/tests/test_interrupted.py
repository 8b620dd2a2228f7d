# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent that is killed at each write of its journal, for real, and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bundles import Keys, Maker
from stock import Contents, StockedEngine
from support import FakePlane, desired, until, user_data

from paletteops_agent.engine import Surroundings
from paletteops_agent.hostinfo import architecture

WORKER = Path(__file__).with_name("worker.py")
TASK = {"id": "t1", "kind": "admit", "member_uid": "host-2", "control_plane": False}
#: what a host goes through, and the writes of its journal on the way
LIFE = [
    desired("g1", "prepare"),
    desired("g2", "bootstrap"),
    desired("g3", "run", lead=True, tasks=[TASK]),
    desired("g4", "run", lead=True, version="1.36.3"),
    desired("g5", "leave"),
]
#: of a host that gets the content of its next version while it runs
OLD, NEW = "1.35.4", "1.36.3"
AHEAD = desired("g3", "run", lead=True)
AHEAD["cluster"]["kubernetes"]["next_version"] = NEW
LIFE_WITH_CONTENT = [LIFE[1], AHEAD, LIFE[3], LIFE[4]]


def start(folder: Path, plane: FakePlane, kill_at: str = "") -> subprocess.Popen[bytes]:
    (folder / "userdata").write_text(user_data(plane.url))
    command = [sys.executable, str(WORKER), str(folder), kill_at]
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def journal(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "host/opt/spectrocloud/state/journal.json").read_text())
    return found


def live(folder: Path, plane: FakePlane, kill_at: str, life: list[dict[str, Any]] = LIFE) -> list[str]:
    """Go through the life; where the worker is killed, start another one. Returns what ended the workers."""
    ended = []
    worker = start(folder, plane, kill_at)
    try:
        for state in life:
            plane.say(state)

            def look(generation: str = state["generation"]) -> bool:
                nonlocal worker
                if worker.poll() is not None:
                    ended.append(signal.Signals(-worker.returncode).name if worker.returncode < 0 else "ended")
                    worker = start(folder, plane)
                return bool(plane.observed.get("generation") == generation)

            until(look, 30, f"{state['generation']}; reported: {plane.observed}")
    finally:
        worker.send_signal(signal.SIGTERM)
        code = worker.wait(15)
    assert code == 0, (folder / "log").read_text()
    return ended


POINTS = [
    f"{when} {what}"
    for what in (
        "note",
        "begin bootstrap",
        "end bootstrap",
        "task running",
        "task done",
        "begin upgrade",
        "end upgrade",
        "begin leave",
        "end leave",
    )
    for when in ("before", "after")
]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, tmp_path: Path, plane: FakePlane) -> None:
    ended = live(tmp_path, plane, point)
    assert ended == ["SIGKILL"]
    report = plane.observed
    assert (report["phase"], report["cluster_uid"], report["error"]) == ("idle", None, None)
    assert journal(tmp_path)["unfinished"] is None
    assert plane.registrations == 1
    assert "host-2" in plane.handed_over
    assert not list((tmp_path / "world").glob("*.json")), "the cluster is gone"


WITH_CONTENT = [
    f"downloading edge-k8s-{NEW}-{architecture()}.tar.zst: 100 %",
    f"unpacking edge-k8s {NEW} (1 of 2)",
    f"unpacking edge-k8s {NEW} (2 of 2)",
    "before begin prefetch",
    "after begin prefetch",
    f"taking over edge-k8s {NEW}",
    f"importing {NEW}",
    "before end prefetch",
    "after end prefetch",
    "before begin upgrade",
    "after begin upgrade",
]


@pytest.mark.parametrize("point", WITH_CONTENT)
def test_killed_while_content_comes(point: str, tmp_path: Path, plane: FakePlane) -> None:
    keys = Keys(tmp_path / "keys")
    (tmp_path / "public.pem").write_text(keys.public, "ascii")
    Contents(plane, Maker(tmp_path / "made", keys, NEW).make())
    engine = StockedEngine(Surroundings(tmp_path / "host"))
    engine.put(OLD)
    assert live(tmp_path, plane, point, LIFE_WITH_CONTENT) == ["SIGKILL"]
    assert engine.versions() == [OLD, NEW]
    assert (plane.observed["phase"], plane.observed["error"]) == ("idle", None)
    assert journal(tmp_path)["unfinished"] is None
    upgraded = [body for method, path, _, body in plane.requests if path.endswith("/observed") and body["node"]]
    assert upgraded[-1]["node"]["kubernetes_version"] == NEW
    left = [path for path in (tmp_path / "host/opt/spectrocloud/content").rglob("*") if path.is_file()]
    assert left == [], "nothing half done stays"


def test_a_life_without_a_kill(tmp_path: Path, plane: FakePlane) -> None:
    assert live(tmp_path, plane, "") == []


def test_a_request_that_breaks_off_says_nothing(plane: FakePlane) -> None:
    with socket.create_connection(("127.0.0.1", plane.port), timeout=10) as connection:
        connection.sendall(b"PUT /embedded/v1/hosts/host-1/observed HTTP/1.1\r\nContent-Length: 20\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert (plane.requests, plane.observed) == ([], {})


def test_a_half_written_file_is_never_seen(tmp_path: Path) -> None:
    from paletteops_agent import files

    path = tmp_path / "x.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        files.write_json(path, {"a": object()})
    assert files.read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_damaged_file_says_which_it_is(tmp_path: Path) -> None:
    from paletteops_agent.journal import Journal

    (tmp_path / "journal.json").write_text('{"format": 1')
    with pytest.raises(ValueError, match=r"journal\.json is damaged"):
        Journal(tmp_path / "journal.json")
