# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command and the API refuse before it does harm, each in a line that names it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Api

from paletteops_plane.app import LARGEST_BODY
from paletteops_plane.cli import main
from paletteops_plane.metadata import LONGEST_NAME
from paletteops_plane.plane import Plane, Settings


@pytest.mark.parametrize("speed", ["nan", "inf", "0", "-1"])
def test_a_speed_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], speed: str) -> None:
    assert main(["--data", str(tmp_path / "p.sqlite"), f"--speed={speed}"]) == 2
    assert f"--speed is {float(speed)}" in capsys.readouterr().err
    assert not (tmp_path / "p.sqlite").exists()


def test_a_ready_file_in_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ready = tmp_path / "none" / "ready"
    assert main(["--data", str(tmp_path / "p.sqlite"), "--ready-file", str(ready)]) == 2
    assert str(ready) in capsys.readouterr().err
    assert not (tmp_path / "p.sqlite").exists()


def test_a_damaged_data_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "p.sqlite"
    Plane.open(Settings(data=data)).close()
    with data.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * 40_000)
    assert main(["--data", str(data), "--listen", "127.0.0.1:0"]) == 2
    said = capsys.readouterr().err
    assert str(data) in said
    assert "backup" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("foreign", ["text", "database"])
def test_a_file_of_something_else_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], foreign: str
) -> None:
    data = tmp_path / "other"
    if foreign == "text":
        data.write_text("not a database\n" * 100)
    else:
        with closing(sqlite3.connect(data)) as connection:
            connection.execute("CREATE TABLE a (b)")
    data.chmod(0o644)
    before = data.read_bytes()
    assert main(["--data", str(data), "--listen", "127.0.0.1:0"]) == 2
    assert f"{data} cannot be used as a data file" in capsys.readouterr().err
    assert data.read_bytes() == before
    assert data.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [data]


def test_a_backup_is_not_written_over_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, other = tmp_path / "p.sqlite", tmp_path / "other"
    Plane.open(Settings(data=data)).close()
    other.write_text("mine")
    assert main(["--data", str(data), "backup", str(other)]) == 2
    assert str(other) in capsys.readouterr().err
    assert other.read_text() == "mine"
    assert main(["--data", str(data), "backup", str(other), "--replace"]) == 0
    assert other.read_bytes().startswith(b"SQLite format 3")


def test_folders_that_it_makes_are_for_their_owner(tmp_path: Path) -> None:
    data = tmp_path / "folder" / "p.sqlite"
    Plane.open(Settings(data=data)).close()
    assert data.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["a" * (LONGEST_NAME + 1), "a\x00b", "a\nb"])
def test_a_name_that_is_none(tenant: Api, name: str) -> None:
    answer = tenant.call("POST", "/v1/projects", {"metadata": {"name": name}})
    assert answer.status_code == 422
    assert answer.json()["details"]["field"] == "body.metadata.name"


def test_a_body_that_is_too_large(tenant: Api) -> None:
    answer = tenant.call("POST", "/v1/projects", {"metadata": {"name": "x" * LARGEST_BODY}})
    assert answer.status_code == 400
    assert str(LARGEST_BODY) in answer.json()["message"]
