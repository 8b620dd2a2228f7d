# SPDX-License-Identifier: GPL-3.0-or-later
"""Moments and time spans of registration tokens."""

from __future__ import annotations

from datetime import timedelta

import pytest
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.module_utils.registration_token import as_api, duration


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2027-03-31", "2027-03-31T00:00:00Z"),
        ("2027-03-31 18:00:00", "2027-03-31T18:00:00Z"),
        ("2027-03-31T18:00:00Z", "2027-03-31T18:00:00Z"),
        ("2027-03-31T18:00:00.123Z", "2027-03-31T18:00:00Z"),
        ("2027-03-31T18:00:00+02:00", "2027-03-31T16:00:00Z"),
        ("2027-03-31T18:00:00+0200", "2027-03-31T16:00:00Z"),
        ("2027-03-31T18:00", "2027-03-31T18:00:00Z"),
        ("0001-01-01T00:00:00.000Z", None),
    ],
)
def test_moments_are_read_in_utc(said: str, meant: str | None) -> None:
    assert as_api(said) == meant


@pytest.mark.parametrize("said", ["tomorrow", "31.3.2027", "2027-02-30", ""])
def test_what_is_no_moment_is_refused(said: str) -> None:
    with pytest.raises(PaletteError, match=f"expires_at is '{said}', which is no moment"):
        as_api(said)


@pytest.mark.parametrize(
    ("said", "meant"),
    [("90d", 90 * 86400), ("12h", 43200), ("30m", 1800), ("45", 45), ("45s", 45), ("2W", 14 * 86400), ("0", 0)],
)
def test_time_spans(said: str, meant: int) -> None:
    assert duration(said, "expires_in") == timedelta(seconds=meant)


@pytest.mark.parametrize("said", ["1y", "-5", "", "1.5h", "a day", "9999999999d", "99999999w"])
def test_what_is_no_time_span_is_refused(said: str) -> None:
    with pytest.raises(PaletteError, match=f"expires_in is '{said}', which is no time span"):
        duration(said, "expires_in")
