# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection options, pauses between tries, and plain values."""

from __future__ import annotations

import ansible
import pytest
from ansible_collections.paletteops.modes.plugins.module_utils.client import (
    ENVIRONMENT,
    LONGEST_PAUSE,
    Client,
    Connection,
    parse,
)
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.module_utils.operation import CONNECTION_SPEC, plain, shape
from hypothesis import given
from hypothesis import strategies as st

GOOD = {"api_url": "https://plane.example/", "api_key": "canary"}


def test_a_key_is_never_part_of_what_is_printed() -> None:
    assert "canary" not in repr(Connection.of(GOOD))


@pytest.mark.parametrize("option", ["api_url", "api_key"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_option_is_named_with_its_variable(option: str, value: str | None) -> None:
    with pytest.raises(PaletteError, match=rf"No {option} is set.*{ENVIRONMENT[option]}"):
        Connection.of({**GOOD, option: value})


@pytest.mark.parametrize("url", ["plane.example", "ftp://plane.example", "https://", "/v1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(PaletteError, match="not the address of a management plane"):
        Connection.of({**GOOD, "api_url": url})


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(PaletteError, match="carries a user or a password") as caught:
        Connection.of({**GOOD, "api_url": "https://user:canary@plane.example"})
    assert "canary" not in caught.value.message


def test_every_connection_option_has_its_variable() -> None:
    assert set(ENVIRONMENT) == set(CONNECTION_SPEC)
    assert all(not name.startswith("ANSIBLE_") for name in ENVIRONMENT.values())


@given(
    st.integers(0, 40), st.none() | st.floats(0, 120).map(str) | st.sampled_from(["", "Wed, 21 Oct 2026 07:28:00 GMT"])
)
def test_pauses_are_bounded_and_never_shorter_than_asked_for(attempt: int, retry_after: str | None) -> None:
    pause = Client.pause(attempt, retry_after)
    assert 0 <= pause <= LONGEST_PAUSE * 1.25
    try:
        asked = float(retry_after or "")
    except ValueError:
        asked = 0.5
    assert pause >= min(asked, LONGEST_PAUSE)


def test_answers_that_are_no_json_are_text() -> None:
    assert parse(b"") is None
    assert parse(b'{"a": 1}') == {"a": 1}
    assert parse(b"<html>") == "<html>"
    assert parse(b"\xff") == "�"


def test_tagged_values_become_plain_ones() -> None:
    if tuple(int(part) for part in ansible.__version__.split(".")[:2]) < (2, 19):
        pytest.skip("this ansible-core has no data tagging")
    from ansible.template import trust_as_template

    value = plain({trust_as_template("a"): [trust_as_template("b"), 1, True, None, 1.5]})
    assert value == {"a": ["b", 1, True, None, 1.5]}
    assert {type(value["a"][0]), *map(type, value)} == {str}


def test_a_query_shapes_a_list_and_a_wrong_one_is_refused() -> None:
    items = [{"name": "a"}, {"name": "b"}]
    assert shape("[].name")(items) == ["a", "b"]
    assert shape(None)(items) == items
    with pytest.raises(PaletteError, match=r"(?s)not a valid JMESPath expression.*Correct '\[\?'"):
        shape("[?")
