# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter language: what each condition means, and laws that hold for every filter."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paletteops_plane.errors import ApiError
from paletteops_plane.search import Language, Property

LANGUAGE = Language(
    (
        Property("clusterName", "string", "Name"),
        Property("tags", "string", "Tags"),
        Property("nodes", "int", "Nodes"),
        Property("cost", "float", "Cost"),
        Property("isDeleted", "bool", "Deleted"),
        Property("creationTimestamp", "date", "Created"),
        Property("labels", "keyValue", "Labels"),
        Property("clusterState", "string", "State", ("Running", "Pending")),
    ),
    ("clusterName", "creationTimestamp", "clusterState"),
)

ROWS: list[dict[str, Any]] = [
    {
        "clusterName": "store-1",
        "tags": ["site:berlin", "edge"],
        "nodes": 3,
        "cost": 1.5,
        "isDeleted": False,
        "creationTimestamp": "2026-01-01T00:00:00.000Z",
        "labels": {"site": "berlin"},
        "clusterState": "Running",
    },
    {
        "clusterName": "Store-2",
        "tags": [],
        "nodes": 5,
        "cost": 2.5,
        "isDeleted": True,
        "creationTimestamp": "2026-01-02T00:00:00.000Z",
        "labels": {"site": "Bern"},
        "clusterState": "Pending",
    },
    {"clusterName": "lab", "isDeleted": False, "creationTimestamp": "2026-01-03T00:00:00.000Z", "labels": {}},
]

KINDS = {known.name: known.type for known in LANGUAGE.properties}


def item(name: str, **condition: Any) -> dict[str, Any]:
    """A filter; ``values`` and ``conjunction`` go into the match."""
    match = {key: condition.pop(key) for key in ("values", "conjunction") if key in condition}
    if match:
        condition["match"] = match
    return {"property": name, "type": KINDS[name], "condition": {KINDS[name]: condition}}


def one_group(*items: dict[str, Any], conjunction: str = "and") -> dict[str, Any]:
    return {"filter": {"conjunction": "and", "filterGroups": [{"conjunction": conjunction, "filters": list(items)}]}}


def names(spec: dict[str, Any]) -> list[str]:
    return [row["clusterName"] for row in LANGUAGE.find(ROWS, spec)]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (item("clusterName", operator="eq", values=["lab", "store-1"]), ["store-1", "lab"]),
        (item("clusterName", values=["STORE-1"]), []),
        (item("clusterName", values=["STORE-1"], ignoreCase=True), ["store-1"]),
        (item("clusterName", operator="beginsWith", values=["store"]), ["store-1"]),
        (item("clusterName", operator="beginsWith", values=["store"], ignoreCase=True), ["store-1", "Store-2"]),
        (item("clusterName", operator="contains", values=["tore", "1"], conjunction="and"), ["store-1"]),
        (item("clusterName", operator="contains", values=["2", "a"]), ["Store-2", "lab"]),
        (item("clusterName", values=["lab"], negation=True), ["store-1", "Store-2"]),
        (item("tags", values=["site:berlin"]), ["store-1"]),
        (item("tags", values=["edge"], negation=True), ["Store-2", "lab"]),
        (item("clusterState", values=["Running"], negation=True), ["Store-2", "lab"]),
        (item("nodes", operator="gte", values=[5]), ["Store-2"]),
        (item("nodes", operator="lt", values=[5]), ["store-1"]),
        (item("nodes", values=[3, 5]), ["store-1", "Store-2"]),
        (item("nodes", operator="gt", values=[1], negation=True), ["lab"]),
        (item("cost", operator="lte", values=[1.5]), ["store-1"]),
        (item("isDeleted"), ["store-1", "lab"]),
        (item("isDeleted", value=True), ["Store-2"]),
        (item("isDeleted", value=True, negation=True), ["store-1", "lab"]),
        (item("creationTimestamp", operator="gt", values=["2026-01-02T00:00:00Z"]), ["lab"]),
        (item("creationTimestamp", values=["2026-01-02T01:00:00+01:00"]), ["Store-2"]),
        (
            item("creationTimestamp", operator="range", values=["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"]),
            ["store-1", "Store-2"],
        ),
        (item("labels", key="site"), ["store-1", "Store-2"]),
        (item("labels", key="site", negation=True), ["lab"]),
        (item("labels", key="site", operator="beginsWith", values=["ber"]), ["store-1"]),
        (item("labels", key="site", operator="beginsWith", values=["ber"], ignoreCase=True), ["store-1", "Store-2"]),
    ],
)
def test_conditions(condition: dict[str, Any], found: list[str]) -> None:
    assert names(one_group(condition)) == found


def test_groups_are_joined_as_they_say() -> None:
    big, lab = item("nodes", operator="gt", values=[4]), item("clusterName", values=["lab"])
    assert names(one_group(big, lab)) == []
    assert names(one_group(big, lab, conjunction="or")) == ["Store-2", "lab"]
    groups = [{"filters": [big]}, {"filters": []}, {"filters": [lab]}]
    assert names({"filter": {"conjunction": "or", "filterGroups": groups}}) == ["Store-2", "lab"]
    assert names({"filter": {"filterGroups": groups}}) == []


@pytest.mark.parametrize("spec", [{}, {"filter": {}}, one_group(), one_group(conjunction="or")])
def test_nothing_asked_for_is_everything(spec: dict[str, Any]) -> None:
    assert names(spec) == ["store-1", "Store-2", "lab"]


def test_sorting() -> None:
    assert names({"sort": [{"field": "clusterName"}]}) == ["lab", "store-1", "Store-2"]
    assert names({"sort": [{"field": "creationTimestamp", "order": "desc"}]}) == ["lab", "Store-2", "store-1"]
    both = [{"field": "clusterState", "order": "desc"}, {"field": "clusterName", "order": "asc"}]
    assert names({"sort": both}) == ["store-1", "Store-2", "lab"]


@pytest.mark.parametrize(
    ("spec", "code", "field", "word"),
    [
        (
            one_group({"property": "colour"}),
            "InvalidValue",
            "body.filter.filterGroups[0].filters[0].property",
            "colour",
        ),
        (one_group({"property": "nodes", "type": "string"}), "InvalidValue", None, "the type int"),
        (one_group({"property": "nodes", "condition": {"string": {}}}), "InvalidValue", None, "condition int"),
        (one_group(item("nodes", values=[])), "InvalidRequest", None, "nothing to compare"),
        (one_group(item("labels", values=["x"])), "InvalidRequest", None, "key"),
        (
            one_group(item("creationTimestamp", operator="range", values=["2026-01-02T00:00:00Z"])),
            "InvalidValue",
            None,
            "two ends",
        ),
        ({"sort": [{"field": "nodes"}]}, "InvalidValue", "body.sort[0].field", "nodes"),
    ],
)
def test_what_cannot_be_is_refused_by_name(spec: dict[str, Any], code: str, field: str | None, word: str) -> None:
    with pytest.raises(ApiError) as refused:
        LANGUAGE.find(ROWS, spec)
    assert refused.value.code == code
    assert word in refused.value.message
    if field:
        assert refused.value.details["field"] == field


def test_the_schema_names_every_property() -> None:
    described = LANGUAGE.schema()["schema"]["properties"]
    assert {entry["name"]: entry["type"] for entry in described} == KINDS
    assert next(entry for entry in described if entry["name"] == "clusterState")["enum"] == ["Running", "Pending"]


# Laws

TEXT = st.text(st.sampled_from("abAB-1"), max_size=4)
STAMP = st.integers(1, 28).map(lambda day: f"2026-02-{day:02}T00:00:00.000Z")

ROW = st.fixed_dictionaries(
    {"clusterName": TEXT, "isDeleted": st.booleans()},
    optional={
        "tags": st.lists(TEXT, max_size=3),
        "nodes": st.integers(-3, 9),
        "creationTimestamp": STAMP,
        "labels": st.dictionaries(st.sampled_from("xy"), TEXT, max_size=2),
    },
)


def _match(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    filled = st.lists(values, min_size=1, max_size=3, unique=True)
    return st.fixed_dictionaries({"values": filled}, optional={"conjunction": st.sampled_from(["and", "or"])})


def _compared(
    names: list[str], values: st.SearchStrategy[Any], operators: list[str], **more: Any
) -> st.SearchStrategy[dict[str, Any]]:
    conditions = st.fixed_dictionaries(
        {"match": _match(values), **more}, optional={"operator": st.sampled_from(operators), "negation": st.booleans()}
    )
    return st.builds(
        lambda name, condition: {"property": name, "condition": {KINDS[name]: condition}},
        st.sampled_from(names),
        conditions,
    )


ORDERED = ["eq", "gt", "gte", "lt", "lte"]
WORDS = ["eq", "contains", "beginsWith"]
ITEM = st.one_of(
    _compared(["clusterName", "tags", "clusterState"], TEXT, WORDS, ignoreCase=st.booleans()),
    _compared(["nodes"], st.integers(-3, 9), ORDERED),
    _compared(["creationTimestamp"], STAMP, ORDERED),
    _compared(["labels"], TEXT, WORDS, key=st.sampled_from("xyz"), ignoreCase=st.booleans()),
    st.booleans().map(lambda value: item("isDeleted", value=value)),
)
ITEMS = st.lists(ITEM, min_size=1, max_size=4)


def hits(rows: list[dict[str, Any]], spec: dict[str, Any]) -> list[int]:
    return [row["number"] for row in LANGUAGE.find(rows, spec)]


def numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "number": number} for number, row in enumerate(rows)]


@given(st.lists(ROW, max_size=6).map(numbered), ITEM)
def test_a_negated_condition_finds_the_others(rows: list[dict[str, Any]], condition: dict[str, Any]) -> None:
    ((kind, content),) = condition["condition"].items()
    other = {**condition, "condition": {kind: {**content, "negation": not content.get("negation", False)}}}
    found, others = hits(rows, one_group(condition)), hits(rows, one_group(other))
    assert sorted(found + others) == list(range(len(rows)))


@given(st.lists(ROW, max_size=6).map(numbered), ITEMS)
def test_conjunctions_are_those_of_sets(rows: list[dict[str, Any]], conditions: list[dict[str, Any]]) -> None:
    each = [set(hits(rows, one_group(condition))) for condition in conditions]
    for conjunction, wanted in (("and", set.intersection(*each)), ("or", set.union(*each))):
        groups = [{"filters": [condition]} for condition in conditions]
        assert set(hits(rows, one_group(*conditions, conjunction=conjunction))) == wanted
        assert set(hits(rows, {"filter": {"conjunction": conjunction, "filterGroups": groups}})) == wanted


@given(
    st.lists(ROW, max_size=6).map(numbered),
    st.sampled_from(LANGUAGE.sort_fields),
    st.sampled_from(["asc", "desc"]),
)
def test_sorting_loses_nothing_and_is_stable(rows: list[dict[str, Any]], field: str, order: str) -> None:
    spec = {"sort": [{"field": field, "order": order}]}
    found = LANGUAGE.find(rows, spec)
    assert sorted(row["number"] for row in found) == list(range(len(rows)))
    assert LANGUAGE.find(found, spec) == found
    for before, after in pairwise(found):
        if before.get(field) == after.get(field):
            assert before["number"] < after["number"]
