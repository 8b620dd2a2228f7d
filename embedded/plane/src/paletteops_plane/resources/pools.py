# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine pools of clusters: as they are sent (in two parts), as they are stored and shown (flat), their rules."""

from __future__ import annotations

import re
from typing import Any

from paletteops_plane.clouds import CLOUDS
from paletteops_plane.errors import invalid
from paletteops_plane.provisioner.engine import amount

Pool = dict[str, Any]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

#: What a client's language sends for a time that it does not have.
_NO_TIME = "0001-01-01"

#: Fields of a pool's common part for which an empty value says as much as none.
_EMPTY_IS_NONE = ("taints", "additionalLabels", "additionalAnnotations", "additionalTags")


def build(cloud: str, sent: dict[str, Any], before: Pool | None, config: dict[str, Any], where: str) -> Pool:
    """A pool as it is stored, from a cloud's v1…MachinePoolConfigEntity; 422 for what cannot be.

    It is sent whole: what is not sent is not set. ``before`` is the pool as it is stored.
    """
    place = f"{where}.poolConfig"
    common = dict(sent.get("poolConfig", {}))
    if not common:
        raise invalid(f"{place}: is needed", field=place)
    for key in _EMPTY_IS_NONE:
        if not common.get(key):
            common.pop(key, None)
    if "taints" in common:
        common["taints"] = [_taint(taint, f"{place}.taints[{n}]") for n, taint in enumerate(common["taints"])]
    common["isControlPlane"] = common.get("isControlPlane", before["isControlPlane"] if before else False)
    if "cloudConfig" not in sent:
        raise invalid(f"{where}.cloudConfig: is needed", field=f"{where}.cloudConfig")
    pool = common | CLOUDS[cloud].pool(sent["cloudConfig"], before, config, f"{where}.cloudConfig")
    _check(pool, before, CLOUDS[cloud].control_plane_sizes(config), place)
    if before is not None and pool["isControlPlane"]:
        for key in CLOUDS[cloud].control_plane_fixed:
            if _placed(pool.get(key)) != _placed(before.get(key)):
                raise invalid(
                    f"{where}.cloudConfig.{key}: cannot change in the control plane", field=f"{where}.cloudConfig.{key}"
                )
    return pool


def _placed(value: Any) -> Any:
    """Placements by what they say: the uid is the plane's, and clients name datacenter and folder in updates only."""
    if not isinstance(value, list):
        return value
    return [{k: v for k, v in item.items() if k not in ("uid", "datacenter", "folder") and v} for item in value]


def _taint(sent: dict[str, Any], where: str) -> dict[str, Any]:
    taint = dict(sent)
    if str(taint.get("timeAdded", "")).startswith(_NO_TIME):
        del taint["timeAdded"]
    for key in ("key", "effect"):
        if not taint.get(key):
            raise invalid(f"{where}.{key}: a taint needs it", field=f"{where}.{key}")
    return taint


def _check(pool: Pool, before: Pool | None, sizes: tuple[int, ...], where: str) -> None:
    name, size = pool["name"], pool["size"]
    named = f"the pool {name!r}"
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{where}.name: {name!r} is no name of a pool: small letters, digits and -, at most 63",
            field=f"{where}.name",
            value=name,
        )
    if before is not None and pool["isControlPlane"] != before["isControlPlane"]:
        raise invalid(
            f"{where}.isControlPlane: {named} cannot change its role: make another pool",
            field=f"{where}.isControlPlane",
        )
    _check_size(pool, named, size, sizes, where)
    _check_strategy(pool.get("updateStrategy", {}), named, f"{where}.updateStrategy")
    if pool.get("nodeRepaveInterval", 0) < 0:
        field = f"{where}.nodeRepaveInterval"
        raise invalid(f"{field}: of {named} is below 0", field=field, value=pool["nodeRepaveInterval"])


def _check_size(pool: Pool, named: str, size: int, sizes: tuple[int, ...], where: str) -> None:
    field = f"{where}.size"
    if pool["isControlPlane"]:
        # The control plane needs a majority, so its size is odd.
        if size not in sizes:
            raise invalid(
                f"{field}: {named} is the control plane, and its size is "
                f"{'one of ' if len(sizes) > 1 else ''}{', '.join(map(str, sizes))}, not {size}",
                field=field,
                value=size,
            )
        if pool.get("maxSize"):
            raise invalid(f"{where}.maxSize: {named} is the control plane, which does not scale by itself", field=field)
        return
    if size < 0:
        raise invalid(f"{field}: of {named} is {size}, below 0", field=field, value=size)
    least, most = pool.get("minSize"), pool.get("maxSize")
    if least is not None and most is not None and least > most:
        raise invalid(f"{where}.minSize: of {named} is {least}, above its maxSize {most}", field=f"{where}.minSize")
    if (least is not None and size < least) or (most is not None and size > most):
        raise invalid(
            f"{field}: of {named} is {size}, outside of its minSize {least} and maxSize {most}", field=field, value=size
        )


def _check_strategy(strategy: dict[str, Any], named: str, where: str) -> None:
    amounts = []
    for key in ("maxSurge", "maxUnavailable"):
        text = strategy.get(key, "")
        if not text:
            continue
        if not re.fullmatch(r"\d{1,4}%?", text):
            raise invalid(
                f"{where}.{key}: of {named} is {text!r}: say a number or a percentage such as 25%",
                field=f"{where}.{key}",
                value=text,
            )
        amounts.append(amount(text, 100, up=True))
    if strategy.get("type") == "OverrideScaling" and len(amounts) == 2 and not any(amounts):
        raise invalid(
            f"{where}: maxSurge and maxUnavailable of {named} are both 0, so no machine could ever be replaced",
            field=where,
        )


def skips_upgrades(pool: Pool) -> bool:
    """Do the machines of a pool stay as they are when operating system or Kubernetes change; workers only."""
    return pool.get("skipK8sUpgrade") == "enabled" and not pool["isControlPlane"]


def check_set(pools: list[Pool], where: str) -> None:
    """422 for pools that cannot be together."""
    names: set[str] = set()
    for number, pool in enumerate(pools):
        if pool["name"] in names:
            field = f"{where}[{number}].poolConfig.name"
            raise invalid(f"{field}: there is a pool {pool['name']!r} already", field=field, value=pool["name"])
        names.add(pool["name"])
    control = [pool["name"] for pool in pools if pool["isControlPlane"]]
    if len(control) != 1:
        raise invalid(
            f"{where}: a cluster has one pool that is the control plane, not "
            + (f"{len(control)}: {', '.join(control)}" if control else "none"),
            field=where,
        )
