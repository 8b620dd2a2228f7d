# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions and version ranges."""

from __future__ import annotations

import pytest
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.module_utils.versions import (
    choose,
    is_range,
    newest,
    order,
    resolve,
    satisfies,
)
from hypothesis import given
from hypothesis import strategies as st

numbers = st.integers(0, 120)
plain = st.tuples(numbers, numbers, numbers).map(lambda parts: ".".join(map(str, parts)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.2.x", True), ("1.x", True), ("x", True), ("v1.x", True), ("1.2.*", True), ("1.2.3", False), ("1.2", False)],
)
def test_what_is_a_range(text: str, expected: bool) -> None:
    assert is_range(text) is expected


@pytest.mark.parametrize(
    ("version", "wanted", "expected"),
    [
        ("1.2.3", "1.2.x", True),
        ("1.20.3", "1.2.x", False),
        ("1.2.3", "1.x", True),
        ("10.2.3", "1.x", False),
        ("1.2.3", "x", True),
        ("1.2.3", "1.2.3", True),
        ("1.2.30", "1.2.3", False),
        ("1.2.3-rc1", "1.2.3", False),
    ],
)
def test_what_satisfies_a_range(version: str, wanted: str, expected: bool) -> None:
    assert satisfies(version, wanted) is expected


@pytest.mark.parametrize(
    "ascending",
    [
        ["1.2.9", "1.2.10", "1.10.0", "2.0.0"],
        ["1.2.3-rc1", "1.2.3"],
        ["1.2.3-alpha", "1.2.3-beta", "1.2.3"],
        ["v1.2.3", "v1.3.0"],
        ["20.04", "22.04", "24.04"],
    ],
)
def test_order(ascending: list[str]) -> None:
    mixed = ascending[::-1]
    mixed.sort(key=order)
    assert mixed == ascending


@given(st.lists(plain, min_size=1))
def test_the_newest_is_the_greatest_by_its_numbers(versions: list[str]) -> None:
    assert newest(versions) == max(versions, key=lambda text: tuple(map(int, text.split("."))))


@given(st.lists(plain, min_size=1), st.sampled_from(["x", "1.x", "1.2.x"]))
def test_a_range_resolves_to_the_newest_inside_of_it(versions: list[str], wanted: str) -> None:
    inside = [version for version in versions if satisfies(version, wanted)]
    if inside:
        assert resolve(wanted, versions, "it") == newest(inside)
    else:
        with pytest.raises(PaletteError, match="There is no version"):
            resolve(wanted, versions, "it")


def test_a_version_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(PaletteError, match=r"There is no version 1\.31\.5 of the pack 'k'.*1\.31\.4"):
        resolve("1.31.5", ["1.31.4", "1.30.1"], "the pack 'k'")


@pytest.mark.parametrize(
    ("wanted", "current", "upgrade", "expected"),
    [
        (None, None, False, None),
        (None, "1.2.0", False, "1.2.0"),
        (None, "1.2.0", True, "1.2.0"),
        ("1.2.x", "1.2.0", False, "1.2.0"),
        ("1.2.x", "1.2.0", True, None),
        ("1.3.x", "1.2.0", False, None),
        ("1.2.0", "1.2.0", True, "1.2.0"),
        ("1.2.1", "1.2.0", False, None),
    ],
)
def test_what_is_kept(wanted: str | None, current: str | None, upgrade: bool, expected: str | None) -> None:
    assert choose(wanted, current, upgrade) == expected
