# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks of a run share: the index of names, predictions, submissions and the poll."""

from __future__ import annotations

import multiprocessing
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.paletteops.modes.plugins.module_utils import run as run_module
from ansible_collections.paletteops.modes.plugins.module_utils.run import Run


@pytest.fixture(params=["shared", "alone"])
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Run]:
    """Makes the record of one run: each call another task's view, where there is a folder to share."""
    if request.param == "shared":
        return lambda: Run(str(tmp_path / "run"))
    alone = Run()
    return lambda: alone


class Plane:
    """What a bulk listing answers, and how often it was asked for."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.asked = 0

    def listing(self) -> list[dict[str, Any]]:
        self.asked += 1
        return [{"name": name, "uid": f"uid-{name}"} for name in self.names]


def test_one_listing_serves_all_tasks(runs: Callable[[], Run]) -> None:
    plane = Plane("a", "b")
    for name in ("a", "b", "a"):
        found = runs().index("k", plane.listing).find(name=name)
        assert found is not None
        assert found["uid"] == f"uid-{name}"
    assert plane.asked == 1


def test_absence_is_asked_for_again_unless_one_is_patient(runs: Callable[[], Run]) -> None:
    plane = Plane("a")
    index = runs().index("k", plane.listing)
    assert index.find(name="a")
    assert index.find(patience=30.0, name="b") is None
    assert plane.asked == 1
    plane.names.append("b")
    assert index.find(name="b") is not None
    assert plane.asked == 2


def test_what_this_run_makes_and_removes_is_known_without_asking(runs: Callable[[], Run]) -> None:
    plane = Plane("a")
    index = runs().index("k", plane.listing)
    index.entries()
    index.add({"name": "b", "uid": "uid-b"})
    index.drop("uid-a")
    assert [item["name"] for item in runs().index("k", plane.listing).entries()] == ["b"]
    assert plane.asked == 1


def test_another_key_is_another_listing(runs: Callable[[], Run]) -> None:
    one, other = Plane("a"), Plane("b")
    assert runs().index("one", one.listing).find(name="a")
    assert runs().index("other", other.listing).find(patience=30, name="a") is None


def test_a_forgotten_listing_is_fetched_anew(runs: Callable[[], Run]) -> None:
    plane = Plane("a")
    index = runs().index("k", plane.listing)
    index.entries()
    index.forget()
    index.entries()
    assert plane.asked == 2


def test_predictions(runs: Callable[[], Run]) -> None:
    assert runs().predicted("k", "a") is None
    runs().predict("k", "a", {"name": "a", "size": 1})
    runs().predict("k", "b", {"name": "b"})
    runs().predict("k", "b", None)
    assert runs().predicted("k", "a") == {"spec": {"name": "a", "size": 1}}
    assert runs().predicted("k", "b") == {"spec": None}
    assert runs().predicted("other", "a") is None
    assert runs().predictions("k") == [{"name": "a", "size": 1}]


def test_an_answer_holds_for_the_run(runs: Callable[[], Run]) -> None:
    asked: list[int] = []

    def fetch() -> int:
        asked.append(1)
        return len(asked)

    assert [runs().cached("k", fetch) for _ in range(3)] == [1, 1, 1]
    runs().forget("k")
    assert runs().cached("k", fetch) == 2


def test_an_answer_that_failed_is_not_kept(runs: Callable[[], Run]) -> None:
    def fail() -> int:
        raise ValueError

    with pytest.raises(ValueError):
        runs().cached("k", fail)
    assert runs().cached("k", lambda: 1) == 1


def test_all_waiters_share_one_poll_an_interval(runs: Callable[[], Run], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(run_module.time, "time", lambda: now[0])
    asked: list[list[str]] = []

    def fetch(names: list[str]) -> dict[str, Any]:
        asked.append(names)
        return {f"uid-{name}": name for name in names}

    for name in ("a", "b"):
        runs().submit("k", f"uid-{name}", name)
    for _ in range(5):
        assert runs().poll("k", 10, 900.0, fetch) == {"uid-a": "a", "uid-b": "b"}
    assert asked == [["a", "b"]]
    now[0] += 10
    runs().finish("k", "uid-a")
    assert runs().poll("k", 10, 900.0, fetch) == {"uid-b": "b"}
    assert asked == [["a", "b"], ["b"]]


def test_an_answer_from_before_the_submission_is_fetched_anew(
    runs: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(run_module.time, "time", lambda: now[0])
    states = iter(["Running", "Provisioning"])
    runs().submit("k", "uid-a", "a")

    def fetch(names: list[str]) -> dict[str, Any]:
        return dict.fromkeys((f"uid-{name}" for name in names), next(states))

    assert runs().poll("k", 10, 900.0, fetch) == {"uid-a": "Running"}
    now[0] = 1002.0
    assert runs().poll("k", 10, 1000.0, fetch) == {"uid-a": "Running"}
    assert runs().poll("k", 10, 1001.0, fetch) == {"uid-a": "Provisioning"}


def test_the_time_limit_counts_from_the_submission(runs: Callable[[], Run], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(run_module.time, "time", lambda: now[0])
    runs().submit("k", "uid-a", "a")
    now[0] = 1500.0
    assert runs().submitted("k", "uid-a", "a") == 1000.0
    assert runs().submitted("k", "uid-b", "b") == 1500.0
    runs().submit("k", "uid-a", "a")
    assert runs().submitted("k", "uid-a", "a") == 1500.0


def test_a_half_written_record_is_no_record(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = Run(str(folder))
    run.predict("k", "a", {"name": "a"})
    (file,) = folder.iterdir()
    file.write_text(file.read_text("utf-8")[:-3], "utf-8")
    assert run.predicted("k", "a") is None
    run.predict("k", "a", {"name": "a"})
    assert run.predicted("k", "a") is not None


def test_the_record_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    Run(str(folder)).predict("k", "a", {})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()] == [0o600]


def _predict(folder: str, number: int) -> None:
    for step in range(25):
        Run(folder).predict("k", f"{number}-{step}", {"name": f"{number}-{step}"})


def test_processes_do_not_lose_what_others_note(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    Run(folder)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_predict, args=(folder, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(Run(folder).predictions("k")) == 100
