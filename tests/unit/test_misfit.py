# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of a kind that an option cannot have are named before Ansible's own check makes something else of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.module_utils.fields import Field, merge, misfit

SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str"},
    "tags": {"type": "dict"},
    "pools": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str"}, "place": {"type": "dict", "options": {"zone": {"type": "str"}}}},
    },
    "zones": {"type": "list", "elements": "str"},
    "credentials": {"type": "dict", "options": {"key": {"type": "str", "no_log": True}}},
}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": "a", "tags": {"x": 1}, "zones": ["a"]},
        {"name": 7, "zones": "a,b"},
        {"pools": [{"name": "a", "place": {"zone": "b"}}, {"name": "b", "place": None}]},
        {"pools": {"name": "a"}, "tags": "a=b"},
        {"tags": '{"a": "b"}'},
    ],
)
def test_what_fits(values: dict[str, Any]) -> None:
    assert misfit(SPEC, values) is None


@pytest.mark.parametrize(
    "values, said",
    [
        ({"tags": False}, "tags is false, and wants a map"),
        ({"tags": "plain"}, "tags is plain, and wants a map"),
        ({"pools": [7]}, "pools is 7, and wants a map"),
        ({"pools": [{"name": "a", "place": 3}]}, "pools.place is 3, and wants a map"),
        ({"pools": [{"name": {"x": 1}}]}, 'pools.name is {"x": 1}, and wants a text'),
        ({"name": ["a"]}, 'name is ["a"], and wants a text'),
        ({"zones": [{"a": 1}]}, 'zones is {"a": 1}, and wants a text'),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], said: str) -> None:
    assert (misfit(SPEC, values) or "").startswith(said)


def test_a_secret_of_a_wrong_kind_is_not_shown() -> None:
    text = misfit(SPEC, {"credentials": {"key": ["hush"]}})
    assert text == "credentials.key is list, and wants a text."
    assert misfit(SPEC, {"credentials": ["hush"]}) == "credentials is list, and wants a map. Write it as name: value."


@pytest.mark.parametrize(
    "field, value, said",
    [
        (Field("size", type="int"), -4, "size is -4"),
        (Field("size", type="int"), 10**12, "size is 1000000000000"),
        (Field("tags", type="dict"), {"a": {"b": 1}}, 'tags.a is {"b": 1}'),
        (Field("values", type="yaml"), "- a", 'values is ["a"]'),
    ],
)
def test_values_that_no_object_can_have_are_refused(field: Field, value: Any, said: str) -> None:
    with pytest.raises(PaletteError) as refused:
        merge((field,), None, {field.name: value})
    assert refused.value.message.startswith(said)
