# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter language of the search calls (v1SearchFilterSummarySpec), over rows of plain values.

    {"filter": {"conjunction": "and", "filterGroups": [{"conjunction": "or", "filters": [
        {"property": "clusterName", "type": "string",
         "condition": {"string": {"operator": "beginsWith", "match": {"conjunction": "or", "values": ["edge-"]}}}}]}]},
     "sort": [{"field": "clusterName", "order": "asc"}]}

The description gives the form; what it leaves open is read as the vendor's clients use it:

- groups without filters, and a filter without groups, let everything through;
- a conjunction that is missing joins groups and filters by ``and``, values by ``or``; a missing operator is ``eq``;
- a bool condition without a value asks for false, since Go leaves false out of what it sends;
- a row that has no value of a property (or no such key, of a ``keyValue``) meets no condition on it, so it meets every
  negated one; a property with several values (tags) meets a condition that one of them meets;
- a ``range`` of dates holds its two ends.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from paletteops_plane import clock
from paletteops_plane.errors import ApiError, invalid

Json = dict[str, Any]
Row = Mapping[str, Any]
#: Whether one value meets a condition.
Test = Callable[[Any], bool]

_OLDEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Property:
    """What can be searched by: a key of the rows and the type of its value.

    ``string``, ``int``, ``float``, ``bool``: a value or a list of values; ``date``: an RFC 3339 text; ``keyValue``: a
    dictionary of texts. None is no value.
    """

    name: str
    type: str
    title: str
    values: tuple[str, ...] = ()
    #: Another name for what has a property already.
    hidden: bool = False


@dataclass(frozen=True)
class Language:
    """The properties of one search call, and what it can be sorted by (names of properties)."""

    properties: tuple[Property, ...]
    sort_fields: tuple[str, ...]

    def schema(self) -> Json:
        """What can be searched by (v1SearchFilterSchemaSpec)."""
        described = []
        for known in self.properties:
            entry: Json = {"name": known.name, "displayName": known.title, "type": known.type}
            entry |= {"hideDisplay": known.hidden, "isDeprecated": False}
            if known.values:
                entry["enum"] = list(known.values)
                entry["enumValues"] = [{"displayValue": value, "value": value} for value in known.values]
            described.append(entry)
        return {"schema": {"properties": described}}

    def find(self, rows: Iterable[Row], spec: Json) -> list[Row]:
        """The rows that the filter lets through, sorted; 422 that names a property or field that is not there."""
        matches = self._filter(spec.get("filter", {}), "body.filter")
        return self._sorted([row for row in rows if matches(row)], spec.get("sort", []))

    # Filter

    def _filter(self, sent: Json, where: str) -> Callable[[Row], bool]:
        groups = []
        for number, group in enumerate(sent.get("filterGroups", [])):
            place = f"{where}.filterGroups[{number}].filters"
            filters = [self._item(item, f"{place}[{index}]") for index, item in enumerate(group.get("filters", []))]
            if filters:
                groups.append(_joined(filters, group.get("conjunction", "and")))
        return _joined(groups, sent.get("conjunction", "and")) if groups else lambda row: True

    def _item(self, item: Json, where: str) -> Callable[[Row], bool]:
        name = item.get("property", "")
        known = next((one for one in self.properties if one.name == name), None)
        if known is None:
            names = ", ".join(one.name for one in self.properties)
            raise invalid(
                f"{where}.property: nothing can be searched by {name!r}: it is one of {names}",
                field=f"{where}.property",
                value=name,
            )
        if item.get("type", known.type) != known.type:
            raise invalid(
                f"{where}.type: the property {name} is of the type {known.type}", field=f"{where}.type", value=name
            )
        condition = item.get("condition", {}).get(known.type)
        if condition is None:
            raise invalid(
                f"{where}.condition: the property {name} needs a condition {known.type}", field=f"{where}.condition"
            )
        test = _TESTS[known.type](condition, f"{where}.condition.{known.type}")
        negation = bool(condition.get("negation", False))
        key = condition.get("key", "") if known.type == "keyValue" else None

        def holds(row: Row) -> bool:
            value = row.get(name)
            if key is not None:
                value = (value or {}).get(key)
            found = value if isinstance(value, list) else [] if value is None else [value]
            return any(test(one) for one in found) != negation

        return holds

    # Sort

    def _sorted(self, rows: list[Row], sort: list[Json]) -> list[Row]:
        for number, one in reversed(list(enumerate(sort))):
            field = one.get("field")
            if field is None:
                continue
            if field not in self.sort_fields:
                names = ", ".join(self.sort_fields)
                raise invalid(
                    f"body.sort[{number}].field: it cannot be sorted by {field!r}: it is one of {names}",
                    field=f"body.sort[{number}].field",
                    value=field,
                )
            kind = next(known.type for known in self.properties if known.name == field)
            rows = sorted(rows, key=_sort_key(field, kind), reverse=one.get("order", "asc") == "desc")
        return rows


def _sort_key(field: str, kind: str) -> Callable[[Row], Any]:
    """Rows without the value come first; texts sort without regard to case."""
    if kind == "date":
        return lambda row: clock.parse(row[field]) if row.get(field) else _OLDEST
    if kind == "string":
        return lambda row: (str(row.get(field) or "").casefold(), str(row.get(field) or ""))
    return lambda row: (row.get(field) is not None, row.get(field) or 0)


def _joined(tests: list[Callable[[Any], bool]], conjunction: str) -> Callable[[Any], bool]:
    if len(tests) == 1:
        return tests[0]
    if conjunction == "or":
        return lambda value: any(test(value) for test in tests)
    return lambda value: all(test(value) for test in tests)


# Conditions, one for each type

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}

_TEXT: dict[str, Callable[[str, str], bool]] = {
    "eq": operator.eq,
    "contains": operator.contains,
    "beginsWith": str.startswith,
}


def _values(condition: Json, where: str) -> list[Any]:
    values: list[Any] = condition.get("match", {}).get("values", [])
    if not values:
        raise ApiError(
            "InvalidRequest", f"{where}.match.values: there is nothing to compare with", {"field": f"{where}.match"}
        )
    return values


def _any_or_all(compare: Callable[[Any, Any], bool], values: list[Any], condition: Json) -> Test:
    """Compare with each value; the condition says whether one is enough."""
    joined = all if condition.get("match", {}).get("conjunction", "or") == "and" else any
    return lambda found: joined(compare(found, value) for value in values)


def _text_test(condition: Json, where: str) -> Test:
    values = [str(value) for value in _values(condition, where)]
    compare = _TEXT[condition.get("operator", "eq")]
    if condition.get("ignoreCase", False):
        folded = _any_or_all(compare, [value.casefold() for value in values], condition)
        return lambda found: folded(found.casefold())
    if compare is operator.eq and condition.get("match", {}).get("conjunction", "or") == "or":
        return frozenset(values).__contains__  # a waiter asks for hundreds of names at once
    return _any_or_all(compare, values, condition)


def _key_value_test(condition: Json, where: str) -> Test:
    """A condition without values asks whether the key is there."""
    if not condition.get("key"):
        raise ApiError("InvalidRequest", f"{where}.key: it is missing", {"field": f"{where}.key"})
    if not condition.get("match", {}).get("values"):
        return lambda found: True
    return _text_test(condition, where)


def _number_test(condition: Json, where: str) -> Test:
    return _any_or_all(_ORDER[condition.get("operator", "eq")], _values(condition, where), condition)


def _bool_test(condition: Json, _where: str) -> Test:
    wanted = condition.get("value", False)
    return lambda found: found == wanted


def _date_test(condition: Json, where: str) -> Test:
    moments = [clock.parse(value) for value in _values(condition, where)]
    name = condition.get("operator", "eq")
    if name == "range":
        if len(moments) != 2:
            raise invalid(
                f"{where}.match.values: a range has two ends, not {len(moments)}", field=f"{where}.match.values"
            )
        first, last = sorted(moments)
        return lambda found: first <= clock.parse(found) <= last
    compare = _any_or_all(_ORDER[name], moments, condition)
    return lambda found: compare(clock.parse(found))


_TESTS: dict[str, Callable[[Json, str], Test]] = {
    "string": _text_test,
    "int": _number_test,
    "float": _number_test,
    "bool": _bool_test,
    "date": _date_test,
    "keyValue": _key_value_test,
}
