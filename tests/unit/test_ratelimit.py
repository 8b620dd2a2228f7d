# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of the shared rate limit."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path

import pytest
from ansible_collections.paletteops.modes.plugins.module_utils import ratelimit
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.module_utils.ratelimit import RateLimit, prefix, private_folder, rate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

URL = "https://plane.example"


class Time:
    """The clock of a simulated machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: float = 1000.0) -> None:
        self.now = now
        monkeypatch.setattr(ratelimit.time, "monotonic", lambda: self.now)


def test_the_prefix_is_the_part_after_the_version() -> None:
    assert prefix("/v1/cloudconfigs/aws/uid/machinePools") == "cloudconfigs"
    assert prefix("/v1/projects") == "projects"


def test_rates() -> None:
    assert rate("clusterprofiles") == 50.0
    assert rate("cloudconfigs") == 50.0
    assert rate("spectroclusters") == 10.0


def test_a_burst_is_free_and_then_the_rate_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Time(monkeypatch)
    limit = RateLimit(URL, str(tmp_path / "limits"))
    waits = [limit.reserve("/v1/projects") for _ in range(100)]
    assert waits[:45] == [0.0] * 45
    # Beyond the burst each call waits a step longer than the one before.
    steps = [after - before for before, after in itertools.pairwise(waits[49:])]
    assert all(step == pytest.approx(1 / 9.7, abs=1e-4) for step in steps)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pauses=st.lists(st.floats(0, 3), min_size=60, max_size=150))
def test_no_window_ever_holds_more_than_the_plane_allows(
    tmp_path_factory: pytest.TempPathFactory, pauses: list[float]
) -> None:
    """Whatever the rhythm of the callers, the plane's own bucket never runs dry."""
    with pytest.MonkeyPatch.context() as patch:
        time = Time(patch)
        limit = RateLimit(URL, str(tmp_path_factory.mktemp("limits") / "own"))
        departures = []
        for pause in pauses:
            time.now += pause if pause > 2 else 0.0
            departures.append(time.now + limit.reserve("/v1/projects"))
        tokens, since = 50.0, departures[0]
        for moment in sorted(departures):
            tokens = min(50.0, tokens + (moment - since) * 10.0) - 1.0
            since = moment
            assert tokens >= -1e-6


def test_two_processes_share_one_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Time(monkeypatch)
    one, other = (RateLimit(URL, str(tmp_path / "limits")) for _ in range(2))
    waits = [limit.reserve("/v1/projects") for _ in range(40) for limit in (one, other)]
    assert sum(wait > 0 for wait in waits) >= 30


def test_another_prefix_and_another_plane_have_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Time(monkeypatch)
    limit = RateLimit(URL, str(tmp_path / "limits"))
    for _ in range(60):
        limit.reserve("/v1/projects")
    assert limit.reserve("/v1/projects") > 0
    assert limit.reserve("/v1/packs") == 0
    assert RateLimit(URL + ".org", str(tmp_path / "limits")).reserve("/v1/projects") == 0


def test_when_the_plane_asks_to_stay_away_everybody_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Time(monkeypatch)
    one, other = (RateLimit(URL, str(tmp_path / "limits")) for _ in range(2))
    assert one.reserve("/v1/projects", 7.0) == pytest.approx(7.0, abs=0.2)
    assert other.reserve("/v1/projects") >= 7.0


def test_a_figure_from_before_the_machine_was_started_anew_is_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time(monkeypatch, 900_000.0)
    limit = RateLimit(URL, str(tmp_path / "limits"))
    limit.reserve("/v1/projects")
    time.now = 5.0
    assert limit.reserve("/v1/projects") == 0


def test_a_damaged_file_is_an_empty_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Time(monkeypatch)
    limit = RateLimit(URL, str(tmp_path / "limits"))
    limit.reserve("/v1/projects")
    for file in (tmp_path / "limits").iterdir():
        file.write_bytes(b"\xff garbage")
    assert limit.reserve("/v1/projects") == 0


def test_folder_and_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "limits"
    RateLimit(URL, str(folder)).reserve("/v1/projects")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()] == [0o600]


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "limits"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PaletteError, match="not a folder of this user alone"):
        private_folder(str(folder))


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    os.symlink(tmp_path / "real", tmp_path / "limits")
    with pytest.raises(PaletteError, match="cannot be trusted"):
        private_folder(str(tmp_path / "limits"))
