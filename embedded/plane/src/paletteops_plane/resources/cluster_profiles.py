# SPDX-License-Identifier: GPL-3.0-or-later
"""The profiles of clusters: attached, moved to other versions, given values, taken away; and repaves.

A change of what machines are made of (operating system, Kubernetes) makes every machine be replaced. A running cluster
asks before it does that: the change is kept, the repave is ``Pending`` with its reasons, and nothing of the change
reaches the cluster until it is approved. Until then only what takes the change back is accepted, or what repeats it.

The document ``attached`` holds ``profiles``, what was asked for, and while that is not in force ``applied``, what is.
"""

from __future__ import annotations

from typing import Any

from paletteops_plane import templates
from paletteops_plane.clouds import CLOUDS
from paletteops_plane.errors import ApiError, invalid, not_found
from paletteops_plane.provisioner import engine
from paletteops_plane.resources import attachments, edge_native
from paletteops_plane.resources.attachments import Attachment
from paletteops_plane.resources.cluster_state import config_of, state_of
from paletteops_plane.resources.clusters import (
    attached_document,
    attached_to,
    changeable,
    find_cluster,
    refuse_while_repave_pending,
    repave_pending,
    set_references,
)
from paletteops_plane.resources.pools import skips_upgrades
from paletteops_plane.resources.profiles import KIND as PROFILE
from paletteops_plane.resources.profiles import pack_spec, template_of
from paletteops_plane.routing import Call, operation
from paletteops_plane.store import Document

INSTALL, LATER = "DownloadAndInstall", "DownloadAndInstallLater"

_WHERE = "body.profiles"


# Read


@operation("GET /v1/spectroclusters/{uid}/profiles")
def list_profiles(call: Call) -> dict[str, Any]:
    return {
        "profiles": [
            {
                "metadata": {"name": item["name"], "uid": item["uid"]},
                "spec": {
                    "cloudType": item["cloudType"],
                    "type": item["type"],
                    "version": item["revision"],
                    "packs": [
                        {"metadata": {"name": pack["name"], "uid": pack["uid"]}, "spec": pack_spec(pack), "status": {}}
                        for pack in item["packs"]
                    ],
                },
            }
            for item in attached_to(call, find_cluster(call))
        ]
    }


@operation("GET /v1/spectroclusters/{uid}/profiles/packs/manifests")
def list_manifests(call: Call) -> dict[str, Any]:
    profiles = []
    for item in attached_to(call, find_cluster(call)):
        packs = []
        for pack in item["packs"]:
            spec = pack_spec(pack)
            for key in ("template", "addonSubType"):  # v1PackManifestsSpec lacks them
                spec.pop(key, None)
            spec["manifests"] = [
                {**manifest, "digest": templates.digest(manifest["content"])} for manifest in pack["manifests"]
            ]
            packs.append({"metadata": {"name": pack["name"], "uid": pack["uid"]}, "spec": spec, "status": {}})
        profiles.append({"metadata": {"name": item["name"], "uid": item["uid"]}, "spec": {"packs": packs}})
    return {"profiles": profiles}


@operation("GET /v1/spectroclusters/{uid}/profiles/{profileUid}/packs/{packName}/manifests")
def list_pack_manifests(call: Call) -> dict[str, Any]:
    item = _attachment(attached_to(call, find_cluster(call)), call.path["profileUid"])
    name = call.path["packName"]
    pack = next((pack for pack in item["packs"] if pack["name"] == name), None)
    if pack is None:
        raise ApiError("ResourceNotFound", f"the profile {item['name']!r} of the cluster has no pack {name!r}")
    return {"items": [_manifest(manifest) for manifest in pack["manifests"]]}


@operation("GET /v1/spectroclusters/{uid}/pack/manifests/{manifestUid}")
def get_manifest(call: Call) -> dict[str, Any]:
    _, manifest = attachments.find_manifest(attached_to(call, find_cluster(call)), call.path["manifestUid"])
    return _manifest(manifest)


def _manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    content = manifest["content"]
    return {
        "metadata": {"name": manifest["name"], "uid": manifest["uid"]},
        "spec": {"published": {"content": content, "digest": templates.digest(content)}},
    }


@operation("GET /v1/spectroclusters/{uid}/profileUpdates")
def list_updates(call: Call) -> dict[str, Any]:
    """The profiles that were published anew since the cluster took them, as they are now."""
    newer = []
    for item in attached_to(call, find_cluster(call)):
        profile = call.plane.store.get(PROFILE, item["uid"])
        if profile is not None and template_of(profile)["revision"] != item["revision"]:
            template = template_of(profile)
            current = {**item, "version": profile.version, "revision": template["revision"], "packs": template["packs"]}
            newer.append(attachments.shown(current, whole=True))
    return {"profiles": newer}


@operation("GET /v1/spectroclusters/{uid}/variables")
def list_variables(call: Call) -> list[dict[str, Any]]:
    return [attachments.shown_variables(item) for item in attached_to(call, find_cluster(call))]


# Change


@operation("PATCH /v1/spectroclusters/{uid}/profiles")
def patch_profiles(call: Call) -> None:
    """Attach profiles, or give those that are attached other values; ``replaceWithProfile`` is what goes for it."""
    cluster = changeable(find_cluster(call))
    attached = _patched(call, cluster, attached_to(call, cluster), call.body["profiles"])
    _change(call, cluster, attached, _action(call))


@operation("PUT /v1/spectroclusters/{uid}/profiles")
def replace_profiles(call: Call) -> None:
    """The whole set: an attached profile that is not named goes."""
    cluster = changeable(find_cluster(call))
    sent = call.body["profiles"]
    named = {item.get(key, "") for item in sent for key in ("uid", "replaceWithProfile")}
    kept = [item for item in attached_to(call, cluster) if item["uid"] in named]
    _change(call, cluster, _patched(call, cluster, kept, sent), _action(call))


@operation("DELETE /v1/spectroclusters/{uid}/profiles")
def delete_profiles(call: Call) -> None:
    cluster = changeable(find_cluster(call))
    attached = attached_to(call, cluster)
    gone = call.body.get("profileUids", [])
    for number, uid in enumerate(gone):
        where = f"body.profileUids[{number}]"
        if _attachment(attached, uid)["type"] in attachments.INFRASTRUCTURE_TYPES:
            raise invalid(
                f"{where}: the profile brings the cluster's infrastructure and cannot be taken away; replace it",
                field=where,
                value=uid,
            )
    _change(call, cluster, [item for item in attached if item["uid"] not in gone], INSTALL)


@operation("PATCH /v1/spectroclusters/{uid}/variables")
def patch_variables(call: Call) -> None:
    cluster = changeable(find_cluster(call))
    attached = attached_to(call, cluster)
    for number, sent in enumerate(call.body):
        where = f"body[{number}]"
        item = attachments.find(attached, sent["profileUid"])
        if item is None:
            raise invalid(
                f"{where}.profileUid: the cluster has no profile with the uid {sent['profileUid']!r}",
                field=f"{where}.profileUid",
                value=sent["profileUid"],
            )
        attachments.set_values(item, sent.get("variables", []), f"{where}.variables")
        attachments.check_required(item, f"{where}.variables")
    _change(call, cluster, attached, INSTALL)


def _patched(call: Call, cluster: Document, attached: list[Attachment], sent: list[dict[str, Any]]) -> list[Attachment]:
    cloud = cluster.body["spec"]["cloudType"]
    made = list(attached)
    for number, entity in enumerate(sent):
        where = f"{_WHERE}[{number}]"
        replaced = entity.get("replaceWithProfile", "")
        if replaced and attachments.find(made, replaced) is None:
            raise invalid(
                f"{where}.replaceWithProfile: the cluster has no profile with the uid {replaced!r}",
                field=f"{where}.replaceWithProfile",
                value=replaced,
            )
        before = attachments.find(made, replaced or entity.get("uid", ""))
        item = attachments.attach(call, cloud, entity, before, where)
        if before is None:
            made.append(item)
        else:
            made[made.index(before)] = item
    attachments.check(made, _WHERE)
    return made


def _action(call: Call) -> str:
    action: str = call.body.get("spcApplySettings", {}).get("actionType") or INSTALL
    return action


def _attachment(attached: list[Attachment], uid: str) -> Attachment:
    item = attachments.find(attached, uid)
    if item is None:
        raise not_found("profile of this cluster", uid)
    return item


def _change(call: Call, cluster: Document, attached: list[Attachment], action: str) -> None:
    """Store other profiles, and bring them into force: at once, when they are applied, or when a repave is approved."""
    document = attached_document(call, cluster)
    if _on_hosts(cluster):
        config = config_of(call.plane, cluster)
        if config is not None:
            edge_native.check_profiles(call.plane, cluster, config, attached, _WHERE)
    applied: list[Attachment] = document.body.get("applied") or document.body["profiles"]
    target = attachments.wanted(attached)
    if repave_pending(cluster) and target != attachments.wanted(document.body["profiles"]):
        if target["image"] != cluster.body["_wanted"]["image"]:
            refuse_while_repave_pending(cluster)
        cluster.body["status"]["repave"] = {"state": "Reverted"}
        cluster.body["_repave"] |= {"reasons": [], "at": call.plane.clock.timestamp(), "message": "taken back"}
    now = call.plane.clock.timestamp()
    cluster.body["status"]["spcApply"] = {"actionType": action, "canBeApplied": True, "lastModifiedTime": now}
    document.body = {"profiles": attached, "applied": applied}
    cluster.body["spec"]["clusterProfileTemplates"] = [attachments.shown(item, whole=False) for item in attached]
    set_references(call, cluster, [*attached, *applied])
    if action == LATER:
        call.plane.store.save(document)
        call.plane.touch(cluster)
    else:
        apply(call, cluster, document)


def apply(call: Call, cluster: Document, document: Document) -> None:
    """Bring what was asked for into force, or ask whether the machines may be replaced for it."""
    now = call.plane.clock.timestamp()
    attached: list[Attachment] = document.body["profiles"]
    applied: list[Attachment] = document.body.get("applied") or attached
    target, wanted = attachments.wanted(attached), cluster.body["_wanted"]
    cluster.body["status"]["spcApply"]["patchAppliedTime"] = now
    if target["image"] != wanted["image"] and state_of(cluster) == "Running" and not _on_hosts(cluster):
        if not repave_pending(cluster):
            cluster.body["status"]["repave"] = {"state": "Pending"}
            reasons = attachments.repave_reasons(applied, attached)
            cluster.body["_repave"] = {"reasons": reasons, "at": now, "message": "waits for approval"}
    else:
        _bring_into_force(call, cluster, document)
    call.plane.store.save(document)
    call.plane.touch(cluster)
    engine.wake(call.plane, cluster)


def _on_hosts(cluster: Document) -> bool:
    """Are its machines hosts of the user's: those are changed in place, and never replaced."""
    return CLOUDS[cluster.body["spec"]["cloudType"]].hosts


def _bring_into_force(call: Call, cluster: Document, document: Document) -> None:
    wanted, target = cluster.body["_wanted"], attachments.wanted(document.body["profiles"])
    if target["image"] != wanted["image"] and state_of(cluster) == "Running":
        _pin(call, cluster)
    wanted |= target
    document.body.pop("applied", None)
    set_references(call, cluster, document.body["profiles"])


def _pin(call: Call, cluster: Document) -> None:
    """Leave pools that skip upgrades with what their machines are made of by now."""
    wanted, config = cluster.body["_wanted"], config_of(call.plane, cluster)
    pools = config.body["spec"]["machinePoolConfig"] if config else []
    pinned = wanted.setdefault("pinned", {})
    for pool in pools:
        if skips_upgrades(pool):
            pinned.setdefault(pool["name"], {key: wanted[key] for key in ("image", "kubernetes")})


# Applying later


@operation("GET /v1/spectroclusters/{uid}/status/spcApply")
def get_apply(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = find_cluster(call).body["status"]["spcApply"]
    return found


@operation("POST /v1/spectroclusters/{uid}/status/spcApply")
def apply_now(call: Call) -> None:
    cluster = changeable(find_cluster(call))
    apply(call, cluster, attached_document(call, cluster))


# Repaves


@operation("GET /v1/spectroclusters/{uid}/repave/status")
def get_repave(call: Call) -> dict[str, Any]:
    cluster = find_cluster(call)
    shown: dict[str, Any] = {
        "metadata": {"name": cluster.name, "uid": cluster.uid},
        "spec": {"reasons": [], "spectroClusterUid": cluster.uid},
        "status": {},
    }
    repave = cluster.body.get("_repave")
    if repave:
        shown["spec"] |= {"reasons": repave["reasons"], "source": "user"}
        shown["status"] = {
            "state": cluster.body["status"]["repave"]["state"],
            "message": repave["message"],
            "repaveTransitionTime": repave["at"],
        }
    return shown


@operation("PATCH /v1/spectroclusters/{uid}/repave/approve")
def approve_repave(call: Call) -> None:
    cluster = changeable(find_cluster(call))
    if not repave_pending(cluster):
        raise ApiError("ResourceStateConflict", f"no repave of the cluster {cluster.name!r} waits for approval")
    cluster.body["status"]["repave"] = {"state": "Approved"}
    cluster.body["_repave"] |= {"at": call.plane.clock.timestamp(), "message": "approved"}
    document = attached_document(call, cluster)
    _bring_into_force(call, cluster, document)
    call.plane.store.save(document)
    call.plane.touch(cluster)
    engine.wake(call.plane, cluster)


@operation("POST /v1/spectroclusters/{uid}/validate/repave")
def validate_repave(call: Call) -> dict[str, Any]:
    """Would these profiles ask for a repave."""
    cluster = find_cluster(call)
    attached = attached_to(call, cluster)
    if _on_hosts(cluster):
        _patched(call, cluster, attached, call.body.get("profiles", []))
        return {"isRepaveRequired": False, "reasons": []}
    reasons = attachments.repave_reasons(attached, _patched(call, cluster, attached, call.body.get("profiles", [])))
    return {"isRepaveRequired": bool(reasons), "reasons": reasons}
