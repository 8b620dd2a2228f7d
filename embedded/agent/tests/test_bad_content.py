# SPDX-License-Identifier: GPL-3.0-or-later
"""Content that does not do, as a plane hears of it: the reason is reported, nothing stays, and good content mends it.

What is wrong with a bundle in itself has its tests in test_content.py.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import Keys, Maker, compress, entry
from stock import Contents, StockedEngine
from support import FakePlane, RunningAgent, desired, simulated, until, user_data

from paletteops_agent.config import Configuration, Trust
from paletteops_agent.engine import Surroundings

Change = Callable[[Maker], Any]


def other_key(maker: Maker) -> None:
    maker.keys = Keys(maker.folder / "other")


def changed(maker: Maker) -> None:
    maker.signature = maker.keys.sign(maker.bundle_json(), maker.folder)
    maker.serial = 99


def wrong_hash(maker: Maker) -> None:
    maker.listed["bin/kubelet"] = {"sha256": "0" * 64}


def way_out_of_the_folder(maker: Maker) -> None:
    maker.members["bin/../../../escaped"] = (b"x", "0755")


def link(maker: Maker) -> None:
    maker.entries = [entry("bin/kubelet", kind=tarfile.SYMTYPE, linkname="/etc/shadow")]


CASES: dict[str, tuple[Change, str, str]] = {
    "another key": (other_key, "SignatureWrong", "configured public key"),
    "changed after signing": (changed, "SignatureWrong", "its content was changed"),
    "unsigned": (lambda maker: setattr(maker, "signature", b""), "BundleUnsigned", "configuration does not allow"),
    "a checksum": (wrong_hash, "HashWrong", "bin/kubelet"),
    "another architecture": (lambda maker: setattr(maker, "arch", "riscv64"), "ArchitectureWrong", "is for riscv64"),
    "a path": (way_out_of_the_folder, "BundleRefused", "'bin/../../../escaped'"),
    "a link": (link, "BundleRefused", "'bin/kubelet' is a symbolic link"),
    "a bomb": (lambda maker: setattr(maker, "tail", b"\1" * (64 << 20)), "BundleRefused", "after the archive's end"),
}


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    (tmp_path / "made").mkdir()
    return Maker(tmp_path / "made", Keys(tmp_path / "keys"))


def agent(folder: Path, plane: FakePlane, keys: Keys) -> RunningAgent:
    options = simulated(folder).options
    engine = StockedEngine(Surroundings(folder / "host-1", options))
    return RunningAgent(
        folder / "host-1", user_data(plane.url), Configuration("simulated", Trust(keys.public), options), engine=engine
    )


def kept(folder: Path) -> list[str]:
    """What is left where content is downloaded and unpacked."""
    content = folder / "host-1/opt/spectrocloud/content"
    return [str(path.relative_to(content)) for path in content.rglob("*") if path.is_file()]


@pytest.mark.parametrize("case", CASES)
def test_bad_content_is_reported_and_leaves_nothing(case: str, tmp_path: Path, plane: FakePlane, maker: Maker) -> None:
    change, reason, words = CASES[case]
    keys, good = maker.keys, maker.archive()
    change(maker)
    contents = Contents(plane, maker.make())
    with agent(tmp_path, plane, keys):
        plane.say(desired("g1", "prepare"))
        error: Any = until(lambda: plane.observed.get("error"), what=case)
        assert (error["reason"], plane.observed["phase"]) == (reason, "failed")
        assert words in error["message"]
        until(lambda: kept(tmp_path) == [] or None, what=kept(tmp_path))
        assert plane.observed["content"] == []
        contents.data, contents.tag = compress(good), '"good"'
        until(lambda: plane.observed.get("phase") == "prepared")
    assert plane.observed["content"] == [{"pack": "edge-k8s", "version": "1.35.4"}]
    assert kept(tmp_path) == []
    assert not list(tmp_path.rglob("escaped"))


def test_content_older_than_that_in_use_is_refused(tmp_path: Path, plane: FakePlane, maker: Maker) -> None:
    maker.serial = 5
    contents = Contents(plane, maker.make())
    with agent(tmp_path, plane, maker.keys) as running:
        plane.say(desired("g1", "prepare"))
        until(lambda: plane.observed.get("phase") == "prepared")
        engine = running.agent.reconciler.engine
        assert isinstance(engine, StockedEngine)
        engine._stock.unlink()  # somebody cleared the images away
        maker.serial = 4
        contents.data, contents.tag = maker.make().read_bytes(), '"older"'
        plane.say(desired("g2", "prepare", uid="host-1", name="other"))
        error: Any = until(lambda: plane.observed.get("error"))
        assert error["reason"] == "BundleOlder"
        assert "serial 4, and 5 was already taken over; content.allow_older allows it" in error["message"]
        assert engine.versions() == []
    assert kept(tmp_path) == []
