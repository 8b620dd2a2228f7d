# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clouds as data. A cloud is one table: the fields of its accounts, cloud config and machine pools, and its rules.

Options, documentation, typing, request bodies and comparison follow from the tables; nothing else names a cloud.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.paletteops.modes.plugins.module_utils.clouds import aws, edge_native, vsphere
from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import POOL, Cloud
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, flatten, hint
from ansible_collections.paletteops.modes.plugins.module_utils.fields import (
    STATE,
    Field,
    Values,
    argument_spec,
    misfit,
    show,
    sub_fields,
)

CLOUDS: dict[str, Cloud] = {cloud.name: cloud for cloud in (aws.AWS, edge_native.EDGE_NATIVE, vsphere.VSPHERE)}
NAMES: tuple[str, ...] = tuple(sorted(CLOUDS))

#: The clouds whose clusters are made with a cloud account.
WITH_ACCOUNT: tuple[str, ...] = tuple(name for name in NAMES if CLOUDS[name].account)

#: What a cloud's table holds, by the option under which the user writes it.
ASPECTS = {"credentials": "account", "cloud_config": "cluster", "pools": "pool"}


def table(cloud: str, aspect: str) -> tuple[Field, ...]:
    """The fields of one cloud for one aspect: ``account``, ``cluster`` or ``pool``, as the user may name them."""
    fields: tuple[Field, ...] = getattr(CLOUDS[cloud], aspect)
    return fields + CLOUDS[cloud].selectors if aspect == "pool" else fields


def union(aspect: str) -> tuple[Field, ...]:
    """The fields of all clouds for one aspect, each saying to which clouds it belongs.

    A field that two clouds type differently is ``raw`` here; :func:`typed` gives it the type of the cloud at hand.
    """
    found: dict[str, dict[str, Field]] = {}
    for cloud in NAMES:
        for field in table(cloud, aspect):
            found.setdefault(field.name, {})[cloud] = field
    return tuple(_combined(by_cloud) for by_cloud in found.values())


def _combined(by_cloud: dict[str, Field]) -> Field:
    first = next(iter(by_cloud.values()))
    doc: list[str] = []
    for cloud, field in by_cloud.items():
        extent = f"On {cloud}: " if len(CLOUDS) > 1 else ""
        doc += [extent + sentence if number == 0 else sentence for number, sentence in enumerate(field.doc)]
        if not _same_type(field, first) or not _same_type(first, field):
            doc += _described(field)
    if all(_same_type(field, first) for field in by_cloud.values()):
        return dataclasses.replace(first, doc=tuple(doc), needed=False)
    return Field(first.name, tuple(doc), type="raw", secret=any(field.secret for field in by_cloud.values()))


def _same_type(one: Field, other: Field) -> bool:
    return (one.type, one.elements, one.choices, one.fields) == (
        other.type,
        other.elements,
        other.choices,
        other.fields,
    )


def _described(field: Field) -> list[str]:
    return [f"A map with O(ignore:{sub.name}) ({sub.type}): {' '.join(sub.doc)}" for sub in field.fields]


def typed(cloud: str, aspect: str, values: Values, where: str) -> Values:
    """The values with the cloud's own types. Raises PaletteError that names what does not belong or does not fit.

    where   the option in messages, such as ``cloud_config`` or ``pools.workers``
    """
    fields = table(cloud, aspect)
    own = {field.name for field in fields}
    named = _named(fields, values)
    findings = []
    for key in sorted(set(named) - own):
        owners = [other for other in NAMES if any(field.name == key for field in table(other, aspect))]
        belongs = f"belongs to {', '.join(owners)}" if owners else "does not exist"
        findings.append(f"{where}.{key} {belongs}, and the cloud is {cloud}.{hint(key, own)}")
    if findings:
        raise PaletteError(flatten(findings))
    wrong = misfit(argument_spec(fields), named, f"{where}.")
    if wrong:
        raise PaletteError(wrong)
    result = ArgumentSpecValidator(argument_spec(fields)).validate(named)
    if result.error_messages:
        raise PaletteError(f"{where}: {flatten(result.error_messages)}")
    values = {key: result.validated_parameters[key] for key in own}
    for field in fields:
        if field.elements == "raw" and values[field.name] is not None:
            values[field.name] = [_item(field, item, f"{where}.{field.name}") for item in values[field.name]]
    return values


def typed_pool(cloud: str, pool: Values, where: str) -> Values:
    """A machine pool with the cloud's own types; raises as :func:`typed` does."""
    common = {field.name for field in POOL} | {STATE.name}
    for name in CLOUDS[cloud].lacks:
        if pool.get(name) is not None:
            raise PaletteError(
                f"{where}.{name} is '{show(pool[name])}', and pools on {cloud} have no such thing. Take it out."
            )
    own = typed(cloud, "pool", {key: value for key, value in pool.items() if key not in common}, where)
    return dict({key: value for key, value in pool.items() if key in common}, **own)


def _named(fields: tuple[Field, ...], values: Any) -> Any:
    """The values that are named, sub-options too: a None is not one of the choices of an option."""
    if not isinstance(values, dict):
        return values
    known = {field.name: field for field in fields if field.fields and field.elements != "raw"}
    named = {key: value for key, value in values.items() if value is not None}
    for key in set(known) & set(named):
        sub = known[key].fields
        if isinstance(named[key], list):
            named[key] = [_named(sub, item) for item in named[key]]
        else:
            named[key] = _named(sub, named[key])
    return named


def _item(field: Field, item: Any, where: str) -> Values:
    """An item that may be its key alone, as a map with the types of its sub-options."""
    if isinstance(item, dict):
        spec = argument_spec(sub_fields(field))
        spec[field.key]["required"] = True
        unknown = sorted(set(map(str, item)) - set(spec))
        if unknown:
            raise PaletteError(f"{where}.{item.get(field.key)}.{unknown[0]} does not exist.{hint(unknown[0], spec)}")
        wrong = misfit(spec, item, f"{where}.{item.get(field.key)}.")
        if wrong:
            raise PaletteError(wrong)
        result = ArgumentSpecValidator(spec).validate(item)
        if result.error_messages:
            raise PaletteError(f"{where}: {flatten(result.error_messages)}")
        return dict(result.validated_parameters)
    if isinstance(item, (list, tuple, bool)) or item in (None, ""):
        raise PaletteError(f"{where} holds {show(item)}, and each item is a {field.key} or a map with one. Correct it.")
    return {field.key: str(item), STATE.name: "present"}


def of(name: Any) -> Cloud:
    """The cloud of that name. Raises PaletteError where it is not supported."""
    if name not in CLOUDS:
        raise PaletteError(f"The cloud '{name}' is not supported. Supported: {', '.join(NAMES)}.")
    return CLOUDS[name]
