# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of cluster profiles: their definitions, the values that they take, where they are used.

A pack's values and manifests use a variable as ``{{.spectro.var.NAME}}``.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

from paletteops_plane.errors import ApiError, invalid

#: What stands in an answer for a value that is sensitive; sent back, it means "as it was".
MASK = "********"

#: What a definition holds when it does not say.
DEFAULTS: dict[str, Any] = {
    "defaultValue": "",
    "format": "string",
    "hidden": False,
    "immutable": False,
    "inputType": "text",
    "isSensitive": False,
    "required": False,
}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_REFERENCE = re.compile(r"\{\{\s*\.spectro\.var\.([A-Za-z0-9_-]+)\s*\}\}")


def _is_base64(text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None


def _is_boolean(text: str) -> None:
    if text not in ("true", "false"):
        raise ValueError


def _is_version(text: str) -> None:
    if not re.fullmatch(r"v?\d+(\.\d+){0,3}([-+][0-9A-Za-z.+-]+)?", text):
        raise ValueError


#: For each format, what raises ``ValueError`` where a text is not of it.
_FORMATS: dict[str, Callable[[str], Any]] = {
    "string": lambda text: None,
    "number": float,
    "boolean": _is_boolean,
    "ipv4": ipaddress.IPv4Address,
    "ipv4cidr": lambda text: ipaddress.IPv4Network(text, strict=False) if "/" in text else _fail(),
    "ipv6": ipaddress.IPv6Address,
    "version": _is_version,
    "base64": _is_base64,
}


def _fail() -> None:
    raise ValueError


def references(texts: Iterable[str]) -> set[str]:
    """The names of the variables that texts use."""
    return {name for text in texts for name in _REFERENCE.findall(text)}


def resolve(text: str, values: dict[str, str]) -> str:
    """The text with the values in the place of the variables; those without a value stay."""
    return _REFERENCE.sub(lambda found: values.get(found[1], found[0]), text)


def check_value(variable: dict[str, Any], value: str, where: str) -> None:
    """422 that names the variable and the rule where a value does not fit its definition."""
    name = variable["name"]
    shown = "the value" if variable.get("isSensitive") else repr(value[:80])
    form = variable.get("format", "string")
    try:
        _FORMATS[form](value)
    except ValueError:
        raise invalid(f"{where}: {shown} of the variable {name!r} is not of format {form}", field=where) from None
    regex = variable.get("regex")
    if regex and not re.search(regex, value):
        raise invalid(f"{where}: {shown} of the variable {name!r} does not match {regex!r}", field=where)
    options = [option["value"] for option in variable.get("options", [])]
    if variable.get("inputType") == "dropdown" and options and value not in options:
        raise invalid(f"{where}: {shown} of the variable {name!r} is none of {', '.join(options)}", field=where)


def define(sent: list[dict[str, Any]], stored: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """Definitions as they are stored: with defaults, checked; a mask stands for the default value that is stored."""
    before = {variable["name"]: variable for variable in stored}
    made: list[dict[str, Any]] = []
    for number, variable in enumerate(sent):
        full = {**DEFAULTS, **variable}
        old = before.get(full["name"], DEFAULTS)
        if full["defaultValue"] == MASK:
            # What was a secret is not shown because the definition no longer says that it is one.
            shown = old["isSensitive"] and not full["isSensitive"]
            full["defaultValue"] = "" if shown else old["defaultValue"]
        _check_definition(full, f"{where}[{number}]")
        made.append(full)
    names = [variable["name"] for variable in made]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise invalid(f"{where}[{number}].name: the variable {name!r} is there twice", field=where, value=name)
    return made


def _check_definition(variable: dict[str, Any], where: str) -> None:
    name = variable["name"]
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{where}.name: {name!r} is no name of a variable: letters, digits, - and _, a letter first",
            field=f"{where}.name",
            value=name,
        )
    if variable.get("regex"):
        try:
            re.compile(variable["regex"])
        except re.error as error:
            raise invalid(f"{where}.regex: of {name!r}: {error}", field=f"{where}.regex") from None
    if variable["inputType"] == "dropdown" and not variable.get("options"):
        raise invalid(f"{where}.options: the dropdown {name!r} needs options", field=f"{where}.options")
    if variable["hidden"] and variable["required"] and not variable["defaultValue"]:
        raise invalid(
            f"{where}.defaultValue: {name!r} is hidden and required, so it needs a default value",
            field=f"{where}.defaultValue",
        )
    if variable["defaultValue"]:
        check_value(variable, variable["defaultValue"], f"{where}.defaultValue")


def shown(variables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Definitions as the API shows them: sensitive default values masked."""
    return [
        {**variable, "defaultValue": MASK} if variable["isSensitive"] and variable["defaultValue"] else variable
        for variable in variables
    ]


def check_defined(used: set[str], variables: list[dict[str, Any]]) -> None:
    """422 that names the variables which packs use and nothing defines."""
    lacking = sorted(used - {variable["name"] for variable in variables})
    if lacking:
        raise ApiError(
            "PackVariablesUndefined",
            f"packs use variables that the profile does not define: {', '.join(lacking)}",
            {"variables": lacking},
        )
