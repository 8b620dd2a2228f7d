# SPDX-License-Identifier: GPL-3.0-or-later
"""What would be said of a cluster, without making it: the same rules, told pool by pool and profile by profile.

What has no place in such an answer (the name, the account, the cloud config) is refused as it would be otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paletteops_plane.clouds import CLOUDS
from paletteops_plane.errors import ApiError
from paletteops_plane.resources import attachments, edge_native, pools
from paletteops_plane.resources.cluster_state import config_of
from paletteops_plane.resources.clusters import attached_to, check_head, find_cluster
from paletteops_plane.routing import Call, operation

_Findings = list[dict[str, str]]


def _routes(cloud: str) -> None:
    @operation(f"POST /v1/spectroclusters/{cloud}/validate")
    def validate(call: Call) -> dict[str, Any]:
        _, _, config = check_head(call, cloud)
        spec = call.body.get("spec", {})
        where, made, results = "body.spec.machinepoolconfig", [], []
        for number, sent in enumerate(spec.get("machinepoolconfig", [])):
            findings: _Findings = []
            place = f"{where}[{number}]"
            try:
                pool = pools.build(cloud, sent, None, config, place)
                if CLOUDS[cloud].hosts:
                    edge_native.complete(call, pool, None, config, None, place)
                made.append(pool)
            except ApiError as error:
                findings.append(_finding(error))
            results.append(_result(sent.get("poolConfig", {}).get("name", ""), findings))
        whole = len(made) == len(results)
        if whole:
            findings = _findings(lambda: pools.check_set(made, where))
            if findings:
                results.append(_result("", findings))
        attached: list[attachments.Attachment] = []
        profiles = _profiles(call, cloud, spec.get("profiles", []), attached)
        if CLOUDS[cloud].hosts and whole:
            findings = _findings(lambda: edge_native.check(call.plane, config, made, attached, "body.spec"))
            if findings:
                results.append(_result("", findings))
        return {"machinePools": {"results": results}, "profiles": profiles}


for _cloud in CLOUDS:
    _routes(_cloud)


@operation("POST /v1/spectroclusters/{uid}/validate/packs")
def validate_packs(call: Call) -> dict[str, Any]:
    """What would be said of profiles that a cluster is to get, or to get other values for."""
    cluster = find_cluster(call)
    cloud, sent = cluster.body["spec"]["cloudType"], call.body.get("profiles", [])
    attached = attached_to(call, cluster)
    profiles = _profiles(call, cloud, sent, attached)
    config = config_of(call.plane, cluster)
    if CLOUDS[cloud].hosts and config is not None and not any(item["packs"]["results"] for item in profiles):
        findings = _findings(lambda: edge_native.check_profiles(call.plane, cluster, config, attached, "body.profiles"))
        if findings:
            profiles.append({"uid": "", "packs": {"results": [_result("", findings)]}})
    return {"machinePools": {"results": []}, "profiles": profiles}


def _profiles(
    call: Call, cloud: str, sent: list[dict[str, Any]], attached: list[attachments.Attachment]
) -> list[dict[str, Any]]:
    """What is said of profiles; ``attached``, those that are there, becomes the set with them."""
    where = "body.spec.profiles" if not attached else "body.profiles"
    made = list(attached)
    answers = []
    for number, entity in enumerate(sent):
        uid = entity.get("uid", "")
        before = attachments.find(made, entity.get("replaceWithProfile") or uid)
        findings: _Findings = []
        try:
            item = attachments.attach(call, cloud, entity, before, f"{where}[{number}]")
        except ApiError as error:
            findings.append(_finding(error))
        else:
            made = [known for known in made if known is not before] + [item]
        answers.append({"uid": uid, "packs": {"results": [_result("", findings)] if findings else []}})
    if not any(answer["packs"]["results"] for answer in answers):
        findings = _findings(lambda: attachments.check(made, where))
        if findings:
            answers.append({"uid": "", "packs": {"results": [_result("", findings)]}})
    attached[:] = made
    return answers


def _findings(check: Callable[[], None]) -> _Findings:
    try:
        check()
    except ApiError as error:
        return [_finding(error)]
    return []


def _finding(error: ApiError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}


def _result(name: str, findings: _Findings) -> dict[str, Any]:
    return {"name": name, "displayName": name, "errors": findings}
