# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fields as data: one table says how an option is named, typed, documented, sent, read and compared.

Every resource and every cloud describes its options as a tuple of :class:`Field`. From it follow the argument spec,
the documentation of the options that differ between clouds, the request body, what an answer means in option names,
and the comparison of what is with what is wanted.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Callable

from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, first_line

try:
    import yaml

    YAML_ERROR: str | None = None
except ImportError as error:
    YAML_ERROR = str(error)

Values = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Field:
    """One option of a resource and its place in the API's object.

    name       option name, Palette's term in snake case
    doc        sentences for the documentation (needed where the table is the documentation's only source)
    api        dotted path in the API's object; camel case of the name where it is not given
    write      dotted path in the request where it differs from the answer's
    type       as in an argument spec; ``yaml`` is a YAML document as text or as data, compared by meaning
    elements   type of a list's items
    assumed    what the API means where the value is absent
    needed     must be named when the object is made
    secret     sent, never read back, never compared, never shown
    immutable  why it cannot change and what would allow it; empty where it can
    fields     sub-options of a dict, or of the items of a list of dicts; of ``raw`` items some may be the key alone
    key        the sub-option by which the items of a list are told apart: they merge by it
    ordered    whether the order of a list means something
    encode     option value to API value, where they differ
    decode     API value to option value, where they differ
    """

    name: str
    doc: tuple[str, ...] = ()
    api: str = ""
    write: str = ""
    type: str = "str"
    elements: str = ""
    choices: tuple[Any, ...] = ()
    assumed: Any = None
    needed: bool = False
    secret: bool = False
    immutable: str = ""
    fields: tuple[Field, ...] = ()
    key: str = ""
    ordered: bool = False
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None

    @property
    def path(self) -> str:
        return self.api or camel(self.name)

    @property
    def write_path(self) -> str:
        return self.write or self.path

    @property
    def empty(self) -> Any:
        """What an absent value means in option terms."""
        if self.assumed is not None:
            return self.assumed
        return {"list": [], "bool": False}.get(self.type, {} if self.type == "dict" and not self.fields else None)


#: The API's numbers have 32 bits.
LARGEST_INT = 2**31 - 1

STATE = Field(
    "state",
    ("Whether the item is to be there. V(absent) takes it away; other items are left alone.",),
    choices=("present", "absent"),
)


def camel(name: str) -> str:
    """``instance_type`` to ``instanceType``."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def dig(data: Any, path: str) -> Any:
    """The value at a dotted path, or None."""
    for part in path.split("."):
        if not isinstance(data, dict):
            return None
        data = data.get(part)
    return data


def plant(data: Values, path: str, value: Any) -> None:
    """Sets the value at a dotted path, making the objects on the way."""
    *parents, last = path.split(".")
    for part in parents:
        data = data.setdefault(part, {})
    data[last] = value


def text(value: Any) -> str:
    """A scalar as the API's maps of strings hold it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- argument spec and documentation ---


def sub_fields(field: Field) -> tuple[Field, ...]:
    """The sub-options as the user may write them: items that merge have a state."""
    return field.fields + ((STATE,) if field.key else ())


def argument_spec(fields: Iterable[Field]) -> dict[str, dict[str, Any]]:
    """The fields as an argument spec. What only a new object needs is checked later, by :func:`missing`."""
    spec: dict[str, dict[str, Any]] = {}
    for field in fields:
        entry: dict[str, Any] = {"type": "raw" if field.type == "yaml" else field.type}
        if field.elements:
            entry["elements"] = field.elements
        if field.choices:
            entry["choices"] = list(field.choices)
        if field.secret:
            entry["no_log"] = True
        elif re.search(r"pass(?!ive)|secret|token|(?<!public_)key(?!s?_name)", field.name):
            # ansible-test asks for a word on names that look like secrets.
            entry["no_log"] = False
        if field.fields and field.elements != "raw":
            entry["options"] = argument_spec(sub_fields(field))
            if field.key:
                entry["options"][field.key]["required"] = True
        if field is STATE:
            entry["default"] = "present"
        spec[field.name] = entry
    return spec


def misfit(spec: dict[str, dict[str, Any]], values: Values, where: str = "") -> str | None:
    """Where a map or a text is wanted and something of another kind is given, in a sentence that names it.

    Ansible's own check trips over a number in place of a map, and takes a map in place of a text as its Python text.
    """
    for name, entry in spec.items():
        value = values.get(name)
        if value is None:
            continue
        secret = entry.get("no_log") or any(sub.get("no_log") for sub in (entry.get("options") or {}).values())
        listed = isinstance(value, (list, tuple)) and entry["type"] == "list"
        kind = entry.get("elements", "str") if entry["type"] == "list" else entry["type"]
        for item in value if listed else [value]:
            given = type(item).__name__ if secret else show(item)
            if kind == "dict" and isinstance(item, dict):
                found = misfit(entry.get("options") or {}, item, f"{where}{name}.")
                if found:
                    return found
            elif kind == "dict" and not (isinstance(item, str) and (item.lstrip()[:1] == "{" or "=" in item)):
                return f"{where}{name} is {given}, and wants a map. Write it as name: value."
            elif kind in ("str", "path") and isinstance(item, (dict, list, tuple)):
                return f"{where}{name} is {given}, and wants a text."
    return None


def documentation(fields: Iterable[Field]) -> dict[str, Any]:
    """The fields as the ``options`` of a module's documentation; agrees with :func:`argument_spec`."""
    options: dict[str, Any] = {}
    for field in fields:
        entry: dict[str, Any] = {"description": list(field.doc), "type": "raw" if field.type == "yaml" else field.type}
        if field.elements:
            entry["elements"] = field.elements
        if field.choices:
            entry["choices"] = list(field.choices)
        if field.needed and field is not STATE:
            entry["description"].append("Needed when it is made.")
        if field.assumed is not None:
            entry["description"].append(f"Where it was never named, V({text(field.assumed)}) holds.")
        if field.immutable:
            entry["description"].append(f"It cannot be changed: {field.immutable}")
        if field.elements == "raw":
            entry["description"] += [described(sub) for sub in sub_fields(field)]
        elif field.fields:
            entry["suboptions"] = documentation(sub_fields(field))
            if field.key:
                entry["suboptions"][field.key]["required"] = True
        if field is STATE:
            entry["default"] = "present"
        options[field.name] = entry
    return options


def described(field: Field) -> str:
    """A sub-option in a sentence, where the documentation has no place for it."""
    kind = f"{field.type} of {', '.join(sub.name for sub in field.fields)}" if field.fields else field.type
    choices = f" of {', '.join(map(str, field.choices))}" if field.choices else ""
    return f"C({field.name}) ({kind}{choices}). {' '.join(field.doc)}"


# --- to and from the API's objects ---


def encode(fields: Iterable[Field], values: Values) -> Values:
    """The request's object. Values that are None are left out: nobody asked for them."""
    body: Values = {}
    for field in fields:
        value = values.get(field.name)
        if value is None:
            continue
        if field.encode:
            value = field.encode(value)
        elif field.type == "yaml":
            value = yaml_text(value)
        elif field.fields and field.type == "list":
            value = [encode(field.fields, item) for item in value]
        elif field.fields:
            value = encode(field.fields, value)
        elif field.type == "dict":
            value = {str(key): text(item) for key, item in value.items()}
        if value is not None:
            plant(body, field.write_path, value)
    return body


def decode(fields: Iterable[Field], body: Any) -> Values:
    """What an answer's object means in option names: every field that is not secret, absent ones as assumed."""
    values: Values = {}
    for field in fields:
        if field.secret:
            continue
        value = dig(body, field.path)
        if value is not None and field.decode:
            value = field.decode(value)
        elif value is not None and field.fields and field.type == "list":
            value = [decode(field.fields, item) for item in value]
        elif field.fields and field.type == "dict":
            value = decode(field.fields, value or {})
        values[field.name] = field.empty if value is None or value == "" else value
    return values


def public(fields: Iterable[Field], values: Values | None) -> Values:
    """The values without secrets and without what is not set, for results, diffs and records."""
    shown: Values = {}
    for field in fields:
        value = (values or {}).get(field.name)
        if value is None or field.secret:
            continue
        if field.fields and field.type == "list":
            value = [public(field.fields, item) for item in value]
        elif field.fields:
            value = public(field.fields, value)
        shown[field.name] = value
    return shown


# --- YAML documents ---


def yaml_text(value: Any) -> str:
    """A YAML document as the API takes it: text is sent as the user wrote it, data is written out."""
    return value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=False, sort_keys=False)


def yaml_meaning(value: Any, what: str = "") -> Any:
    """What a YAML text says, as a list of its documents. Raises PaletteError that says where it is malformed."""
    if not isinstance(value, str):
        return [value]
    try:
        documents = [document for document in yaml.safe_load_all(value) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or first_line(str(error))
        raise PaletteError(f"{what or 'The value'} is not valid YAML{where}: {problem}. Correct the text.") from None
    try:
        canonical(documents)
    except (ValueError, RecursionError):
        raise PaletteError(f"{what or 'The value'} is YAML that holds itself. Take the alias out.") from None
    return documents


def readable(values: Values) -> str:
    """Values as YAML for a diff. Texts of several lines are written as lines: a changed one shows as a changed line."""

    class Dumper(yaml.SafeDumper):
        pass

    def write(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, write)
    text: str = yaml.dump(values, Dumper=Dumper, default_flow_style=False, sort_keys=False, width=120)
    return text


# --- comparison ---


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def same(field: Field, one: Any, other: Any) -> bool:
    """Whether two values of a field mean the same."""
    if field.type == "yaml":
        if one is None or other is None:
            return one is other
        return bool(yaml_meaning(one) == yaml_meaning(other))
    if isinstance(one, list) and isinstance(other, list) and not field.ordered:
        return sorted(map(canonical, one)) == sorted(map(canonical, other))
    return bool(one == other)


def complete(fields: Iterable[Field], values: Values) -> Values:
    """An item with every field: what is not named counts as the API assumes it."""
    return {field.name: field.empty if values.get(field.name) is None else values[field.name] for field in fields}


def merge(
    fields: Sequence[Field],
    before: Values | None,
    wanted: Values,
    purge: Sequence[str] = (),
    where: str = "",
) -> Values:
    """What is to be: ``before`` with what the task names laid over it. Nothing else is touched.

    before  None where the object does not exist yet
    purge   names of the lists and maps that the task owns whole
    where   prefix for error messages, such as ``pools.workers.``
    Raises PaletteError where something that cannot change would have to.
    """
    after: Values = dict(before or {})
    for field in fields:
        new = wanted.get(field.name)
        if new is None:
            continue
        name = where + field.name
        old = after.get(field.name)
        result: Any
        if field.type == "yaml":
            for document in yaml_meaning(new, name):
                if not isinstance(document, dict):
                    raise PaletteError(f"{name} is {show(document)}, and wants a map in YAML.")
            result = yaml_text(new)
        elif field.secret:
            result = new
        elif field.key:
            result = merge_items(field, old or [], new, purge, name)
        elif field.fields and field.type == "dict":
            result = merge(field.fields, old, new, purge, name + ".")
        elif field.fields:
            result = [complete(field.fields, item) for item in new]
        elif field.type == "dict":
            for key, value in new.items():
                if isinstance(value, (dict, list)):
                    raise PaletteError(f"{name}.{key} is {show(value)}, and wants a text.")
            new = {str(key): "" if value is None else text(value) for key, value in new.items()}
            result = new if field.name in purge else dict(old or {}, **new)
        else:
            if field.type == "int" and not 0 <= new <= LARGEST_INT:
                raise PaletteError(f"{name} is {new}. Use a number from 0 to {LARGEST_INT}.")
            result = field.empty if new == "" else new
        if before is not None and (same(field, old, result) or (old is None and result == field.empty)):
            result = old
        elif before is not None and field.immutable:
            raise PaletteError(
                f"{name} is '{show(old)}' and cannot be changed to '{show(new)}': {field.immutable}",
                immutable={"option": name, "is": old, "wanted": new},
            )
        after[field.name] = result
    return after


def merge_items(
    field: Field, before: list[Values], wanted: list[Values], purge: Sequence[str], name: str
) -> list[Values]:
    """A list of named items: items merge by name, ``state: absent`` takes one away, purge all that are not named."""
    names = [item[field.key] for item in wanted]
    double = sorted({item for item in names if names.count(item) > 1})
    if double:
        raise PaletteError(f"{name} names '{double[0]}' {names.count(double[0])} times. Name each item once.")
    old = {item[field.key]: item for item in before}
    gone = {item[field.key] for item in wanted if item.get("state") == "absent"}
    if field.name in purge:
        gone |= set(old) - set(names)
    result = [item for item in before if item[field.key] not in gone]
    for item in wanted:
        key = item[field.key]
        if key in gone:
            continue
        merged = merge(field.fields, old.get(key), item, purge, f"{name}.{key}.")
        if key in old:
            result[[one[field.key] for one in result].index(key)] = merged
        else:
            result.append(complete(field.fields, merged))
    return result


def missing(fields: Iterable[Field], values: Values, where: str = "") -> list[str]:
    """Names of the options which a new object needs and nobody named."""
    found: list[str] = []
    for field in fields:
        value = values.get(field.name)
        if value is None or (field.needed and value == []):
            if field.needed:
                found.append(where + field.name)
        elif field.fields and field.type == "list":
            for number, item in enumerate(value):
                place = f".{item[field.key]}" if field.key else f"[{number}]"
                found += missing(field.fields, item, f"{where}{field.name}{place}.")
        elif field.fields:
            found += missing(field.fields, value, f"{where}{field.name}.")
    return found


def show(value: Any) -> str:
    """A value in a message, short."""
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def changed_fields(fields: Iterable[Field], before: Values, after: Values) -> list[str]:
    """Names of the fields in which the two differ; a secret differs where one is about to be sent."""
    return [
        field.name
        for field in fields
        if (field.secret and after.get(field.name) is not None)
        or (not field.secret and before.get(field.name) != after.get(field.name))
    ]
