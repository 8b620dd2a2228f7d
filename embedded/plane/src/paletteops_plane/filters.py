# SPDX-License-Identifier: GPL-3.0-or-later
"""The query parameters ``filters`` and ``orderBy`` of the plain lists.

``filters=spec.name=kubernetesANDspec.cloudTypes_in_aws,all`` joins conditions by ``AND`` (binding closer) and ``OR``;
a condition is ``path=value``, ``path!=value`` or ``path_in_a,b``. ``orderBy=metadata.name=1,spec.version=-1`` sorts.
A path that no item could have finds nothing; a text that is no condition is refused.
"""

from __future__ import annotations

import re
from typing import Any

from paletteops_plane.errors import ApiError

_PATH = r"(?:kind|metadata|spec|specSummary|status)(?:\.\w+?)*?"
_CONDITION = re.compile(rf"(?P<path>{_PATH})(?P<operator>!=|=|_in_)(?P<value>.*)", re.DOTALL)
# A name may hold "AND" too, so the word joins only where a path follows.
_AND = re.compile(rf"\s*AND\s*(?={_PATH}(?:!=|=|_in_))")
_OR = re.compile(rf"\s*OR\s*(?={_PATH}(?:!=|=|_in_))")


def values_at(item: Any, path: str) -> list[Any]:
    """The values at a dotted path; through lists, those of each element."""
    found = [item]
    for part in path.split("."):
        following: list[Any] = []
        for value in found:
            if isinstance(value, dict) and part in value:
                inner = value[part]
                following.extend(inner if isinstance(inner, list) else [inner])
        found = following
    return found


def filtered(items: list[dict[str, Any]], query: dict[str, Any]) -> list[dict[str, Any]]:
    """The items that the query's ``filters`` lets through."""
    text = query.get("filters", "").strip()
    if not text:
        return items
    alternatives = [[_condition(condition) for condition in _AND.split(alternative)] for alternative in _OR.split(text)]
    return [item for item in items if any(all(_holds(item, *c) for c in conditions) for conditions in alternatives)]


def _condition(text: str) -> tuple[str, str, str]:
    found = _CONDITION.fullmatch(text)
    if not found:
        raise ApiError(
            "InvalidRequest",
            f"the parameter filters holds {text[:80]!r}: say path=value, path!=value or path_in_a,b",
            {"field": "filters"},
        )
    return found["path"], found["operator"], found["value"]


def _holds(item: dict[str, Any], path: str, operator: str, wanted: str) -> bool:
    texts = {_text(value) for value in values_at(item, path)}
    if operator == "_in_":
        return bool(texts & set(wanted.split(",")))
    return (wanted in texts) == (operator == "=")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def ordered(items: list[dict[str, Any]], query: dict[str, Any]) -> list[dict[str, Any]]:
    """The items in the order of the query's ``orderBy``."""
    keys = []
    for part in filter(None, query.get("orderBy", "").split(",")):
        path, _, direction = part.strip().partition("=")
        if direction not in ("1", "-1", ""):
            raise ApiError(
                "InvalidRequest",
                f"the parameter orderBy holds {part[:80]!r}: say path=1 or path=-1",
                {"field": "orderBy"},
            )
        keys.append((path, direction == "-1"))
    for path, descending in reversed(keys):
        items = sorted(items, key=lambda item: [_text(value) for value in values_at(item, path)], reverse=descending)
    return items
