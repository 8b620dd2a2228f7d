# SPDX-License-Identifier: GPL-3.0-or-later
"""The profiles of a cluster: what it took of each profile, with the values that it was given of its own.

An attachment: ``{"uid", "name", "version", "type", "cloudType", "revision", "packs", "overrides", "definitions",
"values"}``. ``packs`` are the profile's (see ``templates``) with the overrides laid over; ``definitions`` are those of
the profile's variables and ``values`` the cluster's. A profile that is published anew reaches the cluster when it is
attached again.
"""

from __future__ import annotations

import copy
from typing import Any

from paletteops_plane import templates, variables
from paletteops_plane.errors import ApiError, invalid
from paletteops_plane.resources.profiles import KIND as PROFILE
from paletteops_plane.resources.profiles import template_of, variables_of
from paletteops_plane.routing import Call
from paletteops_plane.store import new_uid

Attachment = dict[str, Any]

#: Profile types that bring a cluster's infrastructure; it has exactly one of them.
INFRASTRUCTURE_TYPES = ("cluster", "infra")

#: Layers that machines are made of, so that a change of them makes new machines needed.
IMAGE_LAYERS = ("kernel", "os", "k8s")

#: In which order layers are rolled out.
_ORDER = ("kernel", "os", "k8s", "cni", "csi", "addon")


def attach(
    call: Call,
    cloud: str,
    sent: dict[str, Any],
    before: Attachment | None,
    where: str,
    *,
    complete: bool = True,
) -> Attachment:
    """A profile as the cluster takes it (from a v1SpectroClusterProfileEntity); 422 for what cannot be.

    ``before`` is the attachment that this one takes the place of. Of the same profile it keeps the overrides that are
    not sent again; of any it keeps the values of variables. ``complete``: values that its variables require have to be
    there.
    """
    uid = sent.get("uid", "")
    profile = call.plane.store.get(PROFILE, uid)
    if profile is None or profile.project not in call.scopes:
        raise invalid(f"{where}.uid: there is no cluster profile with the uid {uid!r}", field=f"{where}.uid", value=uid)
    template = template_of(profile)
    if template["cloudType"] not in (cloud, "all"):
        raise invalid(
            f"{where}.uid: the cluster profile {profile.name!r} is for {template['cloudType']}, and the "
            f"cluster is on {cloud}",
            field=f"{where}.uid",
            value=uid,
        )
    same = before is not None and before["uid"] == uid
    overrides = dict(before["overrides"]) if before and same else {}
    packs = copy.deepcopy(template["packs"])
    for number, override in enumerate(sent.get("packValues", [])):
        place = f"{where}.packValues[{number}]"
        pack = next((pack for pack in packs if pack["name"] == override["name"]), None)
        if pack is None:
            raise invalid(
                f"{place}.name: the cluster profile {profile.name!r} has no pack {override['name']!r}: "
                f"it has {', '.join(pack['name'] for pack in packs)}",
                field=f"{place}.name",
                value=override["name"],
            )
        # What is manifests alone has no version that a cluster could miss.
        tag = override.get("tag") if pack["type"] != "manifest" else ""
        if tag and tag not in (pack["tag"], pack["version"]):
            raise invalid(
                f"{place}.tag: the pack {pack['name']!r} has the version {pack['tag']} in the cluster profile, and a "
                "cluster takes it from there",
                field=f"{place}.tag",
                value=tag,
            )
        overrides[pack["name"]] = {
            "values": override.get("values", ""),
            "manifests": override.get("manifests", []),
        }
    known = {pack["name"]: pack for pack in before["packs"]} if before and same else {}
    overrides = {name: override for name, override in overrides.items() if name in {pack["name"] for pack in packs}}
    for pack in packs:
        if pack["name"] in overrides:
            _lay_over(pack, overrides[pack["name"]], known.get(pack["name"]))
    definitions = variables_of(profile)
    kept = {item["name"] for item in definitions}
    attachment: Attachment = {
        "uid": uid,
        "name": profile.name,
        "version": profile.version,
        "type": template["type"],
        "cloudType": template["cloudType"],
        "revision": template["revision"],
        "packs": packs,
        "overrides": overrides,
        "definitions": definitions,
        "values": {name: value for name, value in before["values"].items() if name in kept} if before else {},
    }
    set_values(attachment, sent.get("variables", []), f"{where}.variables")
    if complete:
        check_required(attachment, f"{where}.variables")
    return attachment


def _lay_over(pack: dict[str, Any], override: dict[str, Any], before: dict[str, Any] | None) -> None:
    if override["values"]:
        pack["values"] = override["values"]
    for manifest in override["manifests"]:
        mine = next(
            (
                item
                for item in pack["manifests"]
                if item["uid"] == manifest.get("uid") or item["name"] == manifest["name"]
            ),
            None,
        )
        if mine is None:
            added = (
                next((item for item in before["manifests"] if item["name"] == manifest["name"]), None)
                if before
                else None
            )
            mine = {"uid": added["uid"] if added else new_uid(), "name": manifest["name"], "content": ""}
            pack["manifests"].append(mine)
        mine["content"] = manifest.get("content", "")


# Variables


def set_values(attachment: Attachment, sent: list[dict[str, Any]], where: str) -> None:
    """Give variables of an attachment their values; those that are not named keep theirs."""
    definitions = {item["name"]: item for item in attachment["definitions"]}
    before = dict(attachment["values"])
    for number, item in enumerate(sent):
        place, name, value = f"{where}[{number}]", item["name"], item.get("value", "")
        definition = definitions.get(name)
        if definition is None:
            raise invalid(
                f"{place}.name: the cluster profile {attachment['name']!r} has no variable {name!r}: "
                f"it has {', '.join(definitions) or 'none'}",
                field=f"{place}.name",
                value=name,
            )
        if definition["isSensitive"] and value == variables.MASK:
            continue
        if value:
            variables.check_value(definition, value, f"{place}.value")
        if definition["immutable"] and before.get(name) not in (None, value):
            raise invalid(f"{place}.value: the variable {name!r} is immutable and has a value", field=f"{place}.value")
        attachment["values"][name] = value


def check_required(attachment: Attachment, where: str) -> None:
    for definition in attachment["definitions"]:
        if definition["required"] and not value_of(attachment, definition):
            raise invalid(
                f"{where}: the cluster profile {attachment['name']!r} needs a value for the variable "
                f"{definition['name']!r}",
                field=where,
                variable=definition["name"],
            )


def value_of(attachment: Attachment, definition: dict[str, Any]) -> str:
    """The value that counts: the cluster's, else the profile's default."""
    value: str = attachment["values"].get(definition["name"]) or definition["defaultValue"]
    return value


def values_of(attachment: Attachment) -> dict[str, str]:
    return {item["name"]: value_of(attachment, item) for item in attachment["definitions"]}


def shown_variables(attachment: Attachment) -> dict[str, Any]:
    """A v1SpectroClusterVariables: sensitive values masked."""
    shown = variables.shown(attachment["definitions"])
    for number, definition in enumerate(attachment["definitions"]):
        value = value_of(attachment, definition)
        shown[number] = {**shown[number], "value": variables.MASK if definition["isSensitive"] and value else value}
    return {"profileUid": attachment["uid"], "variables": shown}


# The whole set


def check(attached: list[Attachment], where: str) -> None:
    """422 for a set of profiles that a cluster cannot have."""
    infrastructure = [item["name"] for item in attached if item["type"] in INFRASTRUCTURE_TYPES]
    if len(infrastructure) != 1:
        raise invalid(
            f"{where}: a cluster has exactly one profile of type cluster or infra, not "
            + (f"{len(infrastructure)}: {', '.join(infrastructure)}" if infrastructure else "none"),
            field=where,
        )
    names: set[str] = set()
    for item in attached:
        if item["name"] in names:
            raise invalid(
                f"{where}: the cluster profile {item['name']!r} is there twice; say replaceWithProfile to move a "
                "cluster to another version of it",
                field=where,
                value=item["name"],
            )
        names.add(item["name"])


def shown(attachment: Attachment, *, whole: bool) -> dict[str, Any]:
    """An attachment as the cluster shows it (v1ClusterProfileTemplate); ``whole``: with the values of its packs."""
    packs = [templates.pack_reference(pack) for pack in attachment["packs"]]
    if not whole:
        for pack in packs:
            del pack["values"], pack["manifests"]
    return {
        "uid": attachment["uid"],
        "name": attachment["name"],
        "type": attachment["type"],
        "cloudType": attachment["cloudType"],
        "profileVersion": attachment["version"],
        "version": attachment["revision"],
        "packs": packs,
    }


def wanted(attached: list[Attachment]) -> dict[str, Any]:
    """What the provisioner is told of the profiles (``provisioner.engine``): packs in the order of their rollout."""
    profiles = sorted(attached, key=lambda item: item["type"] not in INFRASTRUCTURE_TYPES)
    packs = [
        {
            "profile_uid": item["uid"],
            **{key: pack[key] for key in ("name", "layer", "version", "type")},
            "digest": pack_digest(item, pack),
        }
        for item in profiles
        for pack in sorted(item["packs"], key=lambda pack: _ORDER.index(pack["layer"]))
    ]
    image = [pack for pack in packs if pack["layer"] in IMAGE_LAYERS]
    return {
        "packs": packs,
        "image": templates.digest("".join(pack["digest"] for pack in image)),
        "kubernetes": next((pack["version"] for pack in image if pack["layer"] == "k8s"), ""),
    }


def pack_digest(attachment: Attachment, pack: dict[str, Any]) -> str:
    """Changes with everything of a pack that reaches the cluster."""
    values = values_of(attachment)
    texts = [pack["values"], *(item["name"] + "\n" + item["content"] for item in pack["manifests"])]
    return templates.digest(
        "\0".join([pack["uid"], pack["version"], *(variables.resolve(text, values) for text in texts)])
    )


def image_packs(attached: list[Attachment]) -> list[tuple[Attachment, dict[str, Any]]]:
    """The packs that machines are made of."""
    return [(item, pack) for item in attached for pack in item["packs"] if pack["layer"] in IMAGE_LAYERS]


def repave_reasons(before: list[Attachment], after: list[Attachment]) -> list[dict[str, Any]]:
    """Why machines have to be replaced, pack by pack (v1SpectroClusterRepaveReason)."""
    old = {pack["layer"]: (item, pack) for item, pack in image_packs(before)}
    reasons = []
    for item, pack in image_packs(after):
        was = old.get(pack["layer"])
        if was is None or pack_digest(*was) == pack_digest(item, pack):
            continue
        if was[1]["name"] != pack["name"]:
            code, what = (
                "PackReplaced",
                f"{was[1]['name']} {was[1]['version']} becomes {pack['name']} {pack['version']}",
            )
        elif was[1]["version"] != pack["version"]:
            code, what = "PackVersionChanged", f"{pack['name']} {was[1]['version']} becomes {pack['version']}"
        else:
            code, what = "PackValuesChanged", f"the values of {pack['name']} change"
        reasons.append(
            {
                "code": code,
                "message": f"{what}, so the nodes have to be replaced",
                "pack": {
                    "current": _without_values(was[1]),
                    "target": _without_values(pack),
                    "diffConfigKeys": ["values"] if was[1]["values"] != pack["values"] else [],
                },
            }
        )
    return reasons


def _without_values(pack: dict[str, Any]) -> dict[str, Any]:
    # Values may hold what a sensitive variable was meant to keep; who may read the cluster finds them there.
    shown = templates.pack_reference(pack)
    del shown["values"], shown["manifests"]
    return shown


def find(attached: list[Attachment], uid: str) -> Attachment | None:
    return next((item for item in attached if item["uid"] == uid), None)


def find_manifest(attached: list[Attachment], uid: str) -> tuple[Attachment, dict[str, Any]]:
    for item in attached:
        for pack in item["packs"]:
            for manifest in pack["manifests"]:
                if manifest["uid"] == uid:
                    return item, manifest
    raise ApiError("ResourceNotFound", f"the cluster has no manifest with the uid {uid!r}", {"uid": uid})
