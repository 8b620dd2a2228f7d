# SPDX-License-Identifier: GPL-3.0-or-later
"""Label and field selectors of lists: ``site=berlin,tier in (a, b),!old`` and ``spec.nodeName=n1``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Selector = Callable[[Object], bool]

#: Fields by which each kind can be selected, as at Kubernetes.
FIELDS: dict[str, tuple[str, ...]] = {
    "Node": ("metadata.name", "spec.unschedulable"),
    "Namespace": ("metadata.name", "status.phase"),
    "Pod": (
        "metadata.name",
        "metadata.namespace",
        "spec.nodeName",
        "spec.restartPolicy",
        "status.phase",
        "status.podIP",
    ),
}

_KEY = r"[A-Za-z0-9][-A-Za-z0-9_./]*"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s+\(([^()]*)\)")
_EQUALITY = re.compile(rf"({_KEY})\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)")
_EXISTENCE = re.compile(rf"(!?)\s*({_KEY})")
#: Commas that are not within parentheses.
_COMMA = re.compile(r",(?![^(]*\))")


class SelectorError(Exception):
    """The selector cannot be read; the message is for the user."""


def by_labels(text: str) -> list[Selector]:
    """The conditions of a label selector."""
    return [_label(part.strip()) for part in _COMMA.split(text) if part.strip()]


def _label(part: str) -> Selector:
    if found := _SET.fullmatch(part):
        key, operator, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        return lambda item: (_labels(item).get(key) in values) == (operator == "in")
    if found := _EQUALITY.fullmatch(part):
        key, operator, value = found.groups()
        return lambda item: (_labels(item).get(key) == value) == (operator != "!=")
    if found := _EXISTENCE.fullmatch(part):
        absent, key = found.groups()
        return lambda item: (key in _labels(item)) != bool(absent)
    raise SelectorError(f"unable to parse the label selector: {part!r}")


def _labels(item: Object) -> dict[str, str]:
    labels: dict[str, str] = item["metadata"].get("labels", {})
    return labels


def by_fields(text: str, kind: str) -> list[Selector]:
    """The conditions of a field selector."""
    return [_field(part.strip(), kind) for part in text.split(",") if part.strip()]


def _field(part: str, kind: str) -> Selector:
    found = re.fullmatch(r"([\w.]+)\s*(==|=|!=)\s*(.*)", part)
    if not found:
        raise SelectorError(f"unable to parse the field selector: {part!r}")
    path, operator, value = found.groups()
    if path not in FIELDS[kind]:
        raise SelectorError(f'field label not supported: "{path}"')
    return lambda item: (_at(item, path) == value) == (operator != "!=")


def _at(item: Object, path: str) -> str:
    found: Any = item
    for part in path.split("."):
        found = found.get(part, {})
    if found == {}:
        return "false" if path == "spec.unschedulable" else ""
    return str(found).lower() if isinstance(found, bool) else str(found)
