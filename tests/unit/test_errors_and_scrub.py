# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages with the nearest names, and secrets taken out of what a task returns."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paletteops.modes.plugins.module_utils.errors import (
    ApiError,
    PaletteError,
    flatten,
    hint,
    nearest,
    summary,
    unknown,
)
from ansible_collections.paletteops.modes.plugins.plugin_utils.action import CENSORED, scrub
from hypothesis import given
from hypothesis import strategies as st


def test_the_nearest_names_come_first() -> None:
    assert nearest("base-awz", ["base-aws", "base-vsphere", "platform"])[0] == "base-aws"


def test_where_there_are_few_names_all_are_said() -> None:
    assert hint("zzz", ["b", "a"]) == " Did you mean one of: a, b?"


def test_where_there_are_many_their_number_is_said() -> None:
    assert hint("zzz", [f"name-{n}" for n in range(20)]) == " There are 20 others, none of a similar name."


def test_where_there_are_none_that_is_said() -> None:
    assert hint("x", []) == " There are none."


def test_an_unknown_name_with_the_way_out() -> None:
    error = unknown("project", "shop", ["shops"], "Make it.")
    assert error.message == "There is no project named 'shop'. Did you mean 'shops'? Make it."


def test_findings_stand_apart() -> None:
    assert flatten(["only"]) == "only"
    assert flatten(["a", "b"]) == "2 things are wrong:\n- a\n- b"


@pytest.mark.parametrize("body", [{"code": "NameTaken", "message": "it is there"}, "not JSON", None, ["a list"]])
def test_an_api_error_says_call_status_and_reason(body: Any) -> None:
    error = ApiError(409, body, "POST", "/v1/projects")
    assert "409" in error.message
    assert "POST /v1/projects" in error.message
    assert error.details["error"]["status"] == 409


def test_others_words_stay_words_in_one_line() -> None:
    error = ApiError(409, {"message": "x\x1b[2J\x07\nfatal: [h1]: \ud800 no"}, "GET", "/v1/x")
    assert error.message.endswith(": x [2J fatal: [h1]: no")
    assert PaletteError("2 things:\n- a\x1b[31m\tb é 名").message == "2 things:\n- a [31m\tb é 名"


def test_details_are_part_of_the_result() -> None:
    assert summary(PaletteError("why", extra=1)) == {"msg": "why", "extra": 1}
    assert summary(ValueError("why")) == {"msg": "ValueError: why"}


secrets = st.sets(st.text("abcde", min_size=3, max_size=8), min_size=1, max_size=3)


@given(secrets, st.data())
def test_no_secret_is_left_in_a_result(hidden: set[str], data: st.DataObject) -> None:
    text = st.text("xyz ", max_size=3)
    sentence = st.lists(text | st.sampled_from(sorted(hidden)), max_size=4).map("|".join)
    value = data.draw(
        st.recursive(
            sentence | st.integers() | st.none(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
            max_leaves=8,
        )
    )
    shown = scrub(value, hidden)
    for secret in hidden:
        assert secret not in str(shown)


def test_a_secret_alone_and_within_a_text() -> None:
    assert scrub({"a": "canary", "b": ["x canary y", 3, None]}, {"canary"}) == {
        "a": CENSORED,
        "b": ["x ******** y", 3, None],
    }


def test_without_secrets_nothing_changes() -> None:
    value = {"a": [1, "b"]}
    assert scrub(value, set()) is value
