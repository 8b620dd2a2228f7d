# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields: argument specs, requests and answers, merging and comparison."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.paletteops.modes.plugins.module_utils import clouds
from ansible_collections.paletteops.modes.plugins.module_utils.cluster import Cluster
from ansible_collections.paletteops.modes.plugins.module_utils.cluster_profile import ClusterProfile
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.module_utils.fields import (
    Field,
    argument_spec,
    camel,
    changed_fields,
    decode,
    dig,
    documentation,
    encode,
    merge,
    missing,
    plant,
    public,
    same,
    yaml_meaning,
    yaml_text,
)
from hypothesis import given
from hypothesis import strategies as st

ITEM = (Field("name"), Field("count", type="int", assumed=1), Field("note"), Field("password", secret=True))
TABLE = (
    Field("name", api="metadata.name"),
    Field("size", type="int", needed=True),
    Field("mode", choices=("a", "b"), assumed="a"),
    Field("zone", immutable="Make another."),
    Field("tags", api="metadata.labels", type="dict"),
    Field("items", type="list", elements="dict", fields=ITEM, key="name"),
    Field("keys", type="list", elements="str"),
    Field("steps", type="list", elements="str", ordered=True),
    Field("inner", type="dict", fields=(Field("depth", type="int"), Field("token", secret=True))),
    Field("values", type="yaml"),
    Field("enabled", type="bool"),
)
EMPTY = decode(TABLE, {})


def test_camel_dig_and_plant() -> None:
    assert camel("instance_type") == "instanceType"
    data: dict[str, Any] = {}
    plant(data, "a.b.c", 1)
    assert data == {"a": {"b": {"c": 1}}}
    assert dig(data, "a.b.c") == 1
    assert dig(data, "a.x.c") is None
    assert dig({"a": "text"}, "a.b") is None


def test_an_absent_value_counts_as_the_api_assumes_it() -> None:
    assert EMPTY["mode"] == "a"
    assert EMPTY["enabled"] is False
    assert EMPTY["tags"] == {}
    assert EMPTY["items"] == []
    assert EMPTY["size"] is None
    assert EMPTY["inner"] == {"depth": None}


def test_a_request_holds_what_was_named_and_no_more() -> None:
    assert encode(TABLE, {"name": "x", "mode": None, "tags": {"a": 1, "b": True}}) == {
        "metadata": {"name": "x", "labels": {"a": "1", "b": "true"}}
    }


names = st.sampled_from(["one", "two", "three"])
texts = st.text("abc: -#'\"\n", min_size=1, max_size=12)
items = st.lists(
    st.fixed_dictionaries({"name": names}, optional={"count": st.integers(0, 9), "note": texts}),
    max_size=3,
    unique_by=lambda item: item["name"],
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
specs = st.fixed_dictionaries(
    {"name": st.just("x"), "size": st.integers(0, 9)},
    optional={
        "mode": st.sampled_from(["a", "b"]),
        "zone": st.just("z"),
        "tags": st.dictionaries(names, texts, max_size=3),
        "items": items,
        "keys": st.lists(names, max_size=3),
        "steps": st.lists(names, max_size=3),
        "inner": st.fixed_dictionaries({}, optional={"depth": st.integers(0, 9)}),
        "values": st.dictionaries(texts, documents, max_size=3),
        "enabled": st.booleans(),
    },
)


def stored(after: dict[str, Any]) -> dict[str, Any]:
    """What a plane answers after such a request."""
    return encode(TABLE, after)


@given(specs)
def test_a_second_run_finds_nothing_to_do(wanted: dict[str, Any]) -> None:
    made = merge(TABLE, None, wanted)
    before = decode(TABLE, stored(made))
    assert changed_fields(TABLE, before, merge(TABLE, before, wanted)) == []


@given(specs, specs)
def test_a_change_is_carried_out_once(one: dict[str, Any], other: dict[str, Any]) -> None:
    before = decode(TABLE, stored(merge(TABLE, None, one)))
    if before["zone"] is None:
        other = {key: value for key, value in other.items() if key != "zone"}
    after = merge(TABLE, before, other)
    again = decode(TABLE, stored(after))
    assert changed_fields(TABLE, again, merge(TABLE, again, other)) == []


@given(specs, specs)
def test_what_is_not_named_stays(one: dict[str, Any], other: dict[str, Any]) -> None:
    before = decode(TABLE, stored(merge(TABLE, None, one)))
    other.pop("zone", None)
    after = merge(TABLE, before, other)
    for field in TABLE:
        if field.name not in other:
            assert after[field.name] == before[field.name]
    assert {item["name"] for item in after["items"]} >= {item["name"] for item in before["items"]}
    assert set(after["tags"]) >= set(before["tags"])


@given(specs, specs)
def test_purge_leaves_what_is_named(one: dict[str, Any], other: dict[str, Any]) -> None:
    before = decode(TABLE, stored(merge(TABLE, None, one)))
    other.pop("zone", None)
    after = merge(TABLE, before, other, purge=["tags", "items"])
    if "items" in other:
        assert [item["name"] for item in sorted(after["items"], key=lambda item: item["name"])] == sorted(
            item["name"] for item in other["items"]
        )
    if "tags" in other:
        assert set(after["tags"]) == set(other["tags"])


def test_items_merge_by_name_and_go_when_absent() -> None:
    before = decode(TABLE, {"items": [{"name": "one", "count": 2, "note": "n"}, {"name": "two"}]})
    wanted = {"items": [{"name": "one", "count": 3}, {"name": "two", "state": "absent"}, {"name": "new"}]}
    assert merge(TABLE, before, wanted)["items"] == [
        {"name": "one", "count": 3, "note": "n"},
        {"name": "new", "count": 1, "note": None, "password": None},
    ]


def test_an_absent_item_that_is_not_there_changes_nothing() -> None:
    before = decode(TABLE, {"items": [{"name": "one"}]})
    assert merge(TABLE, before, {"items": [{"name": "gone", "state": "absent"}]}) == before


def test_an_item_named_twice_is_refused() -> None:
    with pytest.raises(PaletteError, match=r"items names 'one' 2 times\. Name each item once"):
        merge(TABLE, None, {"items": [{"name": "one"}, {"name": "one"}]})


def test_an_immutable_value_is_refused_and_the_way_out_named() -> None:
    before = decode(TABLE, {"zone": "north"})
    with pytest.raises(PaletteError, match=r"zone is 'north' and cannot be changed to 'south': Make another\."):
        merge(TABLE, before, {"zone": "south"})
    assert merge(TABLE, before, {"zone": "north"}) == before


def test_the_order_of_a_list_counts_only_where_it_means_something() -> None:
    before = decode(TABLE, {"keys": ["a", "b"], "steps": ["a", "b"]})
    after = merge(TABLE, before, {"keys": ["b", "a"], "steps": ["b", "a"]})
    assert changed_fields(TABLE, before, after) == ["steps"]


def test_a_text_can_be_emptied() -> None:
    before = decode(TABLE, {"zone": None, "items": [{"name": "one", "note": "n"}]})
    after = merge(TABLE, before, {"items": [{"name": "one", "note": ""}]})
    assert after["items"][0]["note"] is None


# --- YAML documents ---


@given(documents)
def test_yaml_is_compared_by_meaning(document: Any) -> None:
    field = Field("values", type="yaml")
    text = yaml.safe_dump(document, default_flow_style=True)
    assert same(field, text, yaml_text(document) if not isinstance(document, str) else yaml.safe_dump(document))
    assert same(field, text + "# a comment\n", text)


def test_several_documents_in_one_text_are_told_apart() -> None:
    field = Field("values", type="yaml")
    assert same(field, "---\na: 1\n---\nb: 2\n", "a: 1\n---\nb: 2")
    assert not same(field, "a: 1\n---\nb: 2\n", "a: 1\n")


def test_malformed_yaml_is_refused_with_the_place() -> None:
    with pytest.raises(
        PaletteError, match=r"packs\.x\.values is not valid YAML \(line 2, column \d+\).*Correct the text"
    ):
        yaml_meaning("a: 1\n b: [", "packs.x.values")


def test_text_is_sent_as_the_user_wrote_it() -> None:
    written = "# why\na:   1   # so\n"
    assert encode(TABLE, {"values": written}) == {"values": written}


# --- secrets ---


def test_secrets_are_sent_and_neither_read_nor_shown() -> None:
    after = merge(TABLE, None, {"inner": {"token": "canary"}, "items": [{"name": "one", "password": "canary"}]})
    assert "canary" in str(encode(TABLE, after))
    assert "canary" not in str(public(TABLE, after))
    assert "token" not in decode(TABLE, encode(TABLE, after))["inner"]


@given(specs)
def test_nothing_secret_is_public(wanted: dict[str, Any]) -> None:
    after = merge(TABLE, None, dict(wanted, inner={"token": "canary"}))
    assert "canary" not in str(public(TABLE, after))


def test_what_a_new_object_needs_is_named() -> None:
    table = (*TABLE, Field("pools", type="list", fields=(Field("name"), Field("size", needed=True)), key="name"))
    assert missing(table, merge(table, None, {"pools": [{"name": "w"}]})) == ["size", "pools.w.size"]


# --- the tables of the collection ---


def tables() -> dict[str, tuple[Field, ...]]:
    found = {
        f"{cloud} {aspect}": clouds.table(cloud, aspect) for cloud in clouds.NAMES for aspect in clouds.ASPECTS.values()
    }
    return {**found, "profile": ClusterProfile.fields, "cluster": Cluster.fields}


@pytest.mark.parametrize("name", sorted(tables()))
def test_an_argument_spec_follows_that_ansible_takes(name: str) -> None:
    assert not ArgumentSpecValidator(argument_spec(tables()[name])).validate({}).error_messages


@pytest.mark.parametrize("name", sorted(name for name in tables() if " " in name))
def test_documentation_and_argument_spec_agree(name: str) -> None:
    def compare(spec: dict[str, Any], doc: dict[str, Any]) -> None:
        assert set(spec) == set(doc)
        for option, entry in spec.items():
            for key in ("type", "elements", "choices", "default", "required"):
                assert entry.get(key) == doc[option].get(key), (option, key)
            assert all(doc[option]["description"]), option
            if "options" in entry:
                compare(entry["options"], doc[option]["suboptions"])

    compare(argument_spec(tables()[name]), documentation(tables()[name]))


@pytest.mark.parametrize("name", sorted(tables()))
def test_what_looks_like_a_secret_says_whether_it_is_one(name: str) -> None:
    secret = {"secret_key", "secret_token", "external_id", "password"}

    def walk(fields: tuple[Field, ...]) -> None:
        for field in fields:
            assert field.secret == (field.name in secret), field.name
            walk(field.fields)

    walk(tables()[name])
