# SPDX-License-Identifier: GPL-3.0-or-later
"""How the environments find their Python, and what is said where none fits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.collection import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))

import bootstrap
import environments


class Interpreters:
    """Programs that answer as an interpreter of a version would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, name: str, version: str, missing: tuple[str, ...] = (), plain: bool = True) -> str:
        answer = {"version": [int(part) for part in version.split(".")], "plain": plain, "missing": missing}
        path = self.folder / name
        path.write_text(f"#!/bin/sh\necho '{json.dumps({**answer, 'home': str(self.folder)})}'\n", "utf-8")
        path.chmod(0o755)
        return str(path)

    def broken(self, name: str) -> str:
        path = self.folder / name
        path.write_text("#!/bin/sh\nexit 127\n", "utf-8")
        path.chmod(0o755)
        return str(path)


@pytest.fixture
def interpreters(tmp_path: Path) -> Interpreters:
    return Interpreters(tmp_path)


def test_the_newest_that_fits_is_taken(interpreters: Interpreters) -> None:
    newest = interpreters.make("b", "3.13.2")
    others = [interpreters.make("a", "3.11.7"), interpreters.make("c", "3.9.18"), interpreters.make("d", "3.99.0")]
    assert bootstrap.choose_interpreter("venv", [*others, newest])["path"] == newest


def test_what_does_not_run_or_is_not_whole_is_passed_over(interpreters: Interpreters) -> None:
    whole = interpreters.make("a", "3.11.7")
    others = [
        interpreters.broken("shim"),
        interpreters.make("b", "3.13.2", missing=("ensurepip",)),
        interpreters.make("c", "3.13.2", plain=False),
    ]
    assert bootstrap.choose_interpreter("venv", [*others, whole])["path"] == whole


def test_the_matrix_sees_the_oldest_too(interpreters: Interpreters) -> None:
    both = [interpreters.make("a", "3.11.7"), interpreters.make("b", "3.13.2")]
    assert bootstrap.choose_interpreter("core-2.19", both)["version"] == [3, 11, 7]


def test_a_python_that_is_too_old_is_named_with_the_way_out(interpreters: Interpreters) -> None:
    old = interpreters.make("python3", "3.9.2")
    with pytest.raises(bootstrap.CannotMake) as refusal:
        bootstrap.choose_interpreter("venv", [old])
    text = str(refusal.value)
    assert "\n" not in text
    assert "3.11 to 3.14" in text and f"3.9.2 at {old}" in text and "apt install python3.11 python3.11-venv" in text


def test_a_missing_venv_module_is_named_with_the_way_out(interpreters: Interpreters) -> None:
    bare = interpreters.make("python3.12", "3.12.1", missing=("venv", "ensurepip"))
    with pytest.raises(bootstrap.CannotMake) as refusal:
        bootstrap.choose_interpreter("venv", [bare])
    text = str(refusal.value)
    assert "\n" not in text
    assert bare in text and "module venv" in text and "apt install python3.12-venv" in text


def test_each_environment_has_its_lock() -> None:
    for name in environments.ENVIRONMENTS:
        lock = Path(environments.lock(name)).read_text("utf-8")
        named = [line for line in lock.splitlines() if "==" in line]
        assert named and all(line.endswith("\\") for line in named), f"{name} has a line without a hash"
        assert lock.count("--hash=sha256:") >= len(named)
