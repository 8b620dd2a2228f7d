# SPDX-License-Identifier: GPL-3.0-or-later
"""Cluster profiles.

Each version of a profile is an object of its own with its own uid; versions belong together by their name. A change
of packs goes to a draft; publishing makes the draft what is published, and then there is no draft. Variables and
metadata have no draft.

Stored under keys of the plane's own: ``_draft`` and ``_published`` (see ``templates``), ``_variables``.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import yaml

from paletteops_plane import templates, variables
from paletteops_plane.catalogue import Registry, version_key
from paletteops_plane.errors import ApiError, invalid, name_taken, not_found
from paletteops_plane.metadata import fill, merge_annotations, replace, required_name
from paletteops_plane.paging import page
from paletteops_plane.resources.accounts import refuse_while_used
from paletteops_plane.resources.packs import spec_of
from paletteops_plane.resources.projects import matches
from paletteops_plane.resources.registries import find_registry, metadata_of
from paletteops_plane.routing import Call, operation, raw
from paletteops_plane.store import Document, NameTaken, new_uid

KIND = "clusterprofile"
DEFAULT_VERSION = "1.0.0"

_TEMPLATE = "body.spec.template"
_VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")


# What clusters need of a profile


def template_of(document: Document) -> templates.Template:
    """What a cluster takes: the published template, or the draft of a profile that was never published."""
    chosen: templates.Template = document.body["_published"] or document.body["_draft"]
    return chosen


def variables_of(document: Document) -> list[dict[str, Any]]:
    """The definitions of a profile's variables, default values in clear."""
    found: list[dict[str, Any]] = document.body["_variables"]
    return found


# Create, read, update, delete


@operation("POST /v1/clusterprofiles")
def create(call: Call) -> dict[str, Any]:
    metadata, spec = call.body.get("metadata", {}), call.body.get("spec", {})
    template = templates.build(spec.get("template", {}), None, _TEMPLATE, _finder(call))
    templates.check(template, _TEMPLATE)
    defined = variables.define(spec.get("variables", []), [], "body.spec.variables")
    variables.check_defined(templates.used_variables(template), defined)
    document = Document(
        kind=KIND,
        name=required_name(metadata, "cluster profile"),
        version=_version(spec.get("version", ""), "body.spec.version"),
        project=call.project,
        body={"_draft": template, "_published": None, "_variables": defined},
    )
    fill(call.plane, document, metadata)
    if call.query.get("publish"):
        _publish(document)
    _add(call, document)
    return {"uid": document.uid}


@operation("GET /v1/clusterprofiles/{uid}")
def get(call: Call) -> dict[str, Any]:
    return _shown(call, _profile(call))


@operation("PUT /v1/clusterprofiles/{uid}")
def update(call: Call) -> None:
    document = _profile(call, own=True)
    metadata, spec = call.body.get("metadata", {}), call.body.get("spec", {})
    if "template" in spec:
        before = _working(document)
        sent = spec["template"]
        template = templates.build(
            {**sent, "packs": sent.get("packs", before["packs"])}, before, _TEMPLATE, _finder(call)
        )
        templates.check(template, _TEMPLATE)
        variables.check_defined(templates.used_variables(template), variables_of(document))
        document.body["_draft"] = template
    # Labels have a call of their own; here a missing map means that the caller did not think of it.
    _rename(document, metadata, spec)
    if metadata.get("labels"):
        document.body["metadata"]["labels"] = metadata["labels"]
    merge_annotations(document, metadata)
    _save(call, document)


@operation("PATCH /v1/clusterprofiles/{uid}/metadata")
def update_metadata(call: Call) -> None:
    document = _profile(call, own=True)
    _rename(document, call.body["metadata"], call.body.get("spec", {}))
    replace(document, call.body["metadata"], "cluster profile")
    _save(call, document)


@operation("DELETE /v1/clusterprofiles/{uid}")
def delete(call: Call) -> None:
    document = _profile(call, own=True)
    refuse_while_used(call, document, "cluster profile")
    call.plane.store.delete(document.uid)


@operation("DELETE /v1/clusterprofiles/bulk")
def delete_many(call: Call) -> dict[str, Any]:
    failures = []
    for uid in dict.fromkeys(call.body["uids"]):
        name = ""
        try:
            document = call.find_own(KIND, uid, "cluster profile")
            name = document.name
            refuse_while_used(call, document, "cluster profile")
            call.plane.store.delete(uid)
        except ApiError as error:
            failures.append({"uid": uid, "name": name, "errMsg": error.message})
    deleted = len(set(call.body["uids"])) - len(failures)
    return {
        "deletedCount": deleted,
        "failures": failures,
        "isSucceeded": not failures,
        "message": f"{deleted} deleted, {len(failures)} not",
    }


@operation("PATCH /v1/clusterprofiles/{uid}/publish")
def publish(call: Call) -> None:
    document = _profile(call, own=True)
    working = _working(document)
    templates.check(working, "spec.draft")
    variables.check_defined(templates.used_variables(working), variables_of(document))
    _publish(document)
    _save(call, document)


@operation("POST /v1/clusterprofiles/{uid}/clone")
def clone(call: Call) -> dict[str, Any]:
    source = _profile(call)
    document = _clone_target(call, source, call.body.get("metadata") or {})
    document.body |= {
        "_draft": _copied(source.body["_draft"]),
        "_published": _copied(source.body["_published"]),
        "_variables": copy.deepcopy(source.body["_variables"]),
    }
    old = source.body["metadata"]
    fill(call.plane, document, {"labels": old.get("labels"), "annotations": old.get("annotations")})
    _add(call, document)
    return {"uid": document.uid}


@operation("POST /v1/clusterprofiles/{uid}/clone/validate")
def validate_clone(call: Call) -> None:
    document = _clone_target(call, _profile(call), call.body)
    _refuse_taken(call, document.name, document.version, document.project)


@operation("GET /v1/clusterprofiles/validate/name")
def validate_name(call: Call) -> None:
    name = required_name({"name": call.query.get("name", "")}, "cluster profile")
    _refuse_taken(call, name, _version(call.query.get("version", ""), "version"), call.project)


def _clone_target(call: Call, source: Document, metadata: dict[str, Any]) -> Document:
    """The empty document that a clone is to fill."""
    if not metadata.get("name"):
        raise invalid("body.metadata.name: a clone needs a name", field="body.metadata.name")
    project = call.project
    target = metadata.get("target")
    if target:
        if target["scope"] == "tenant":
            project = ""
        elif target["scope"] == "project":
            project = target.get("projectUid") or call.project
            if call.plane.store.get("project", project) is None:
                raise invalid(
                    f"body.metadata.target.projectUid: no project with the uid {project!r}",
                    field="body.metadata.target.projectUid",
                    value=project,
                )
        else:
            raise invalid(
                f"body.metadata.target.scope: {target['scope']!r} is neither tenant nor project",
                field="body.metadata.target.scope",
                value=target["scope"],
            )
    version = _version(metadata.get("version") or source.version, "body.metadata.version")
    return Document(kind=KIND, name=metadata["name"], version=version, project=project, body={})


def _copied(template: templates.Template | None) -> templates.Template | None:
    """A copy whose manifests are objects of their own."""
    if template is None:
        return None
    made = copy.deepcopy(template)
    made["revision"] = 1
    for pack in made["packs"]:
        for manifest in pack["manifests"]:
            manifest["uid"] = new_uid()
    return made


# Variables


@operation("GET /v1/clusterprofiles/{uid}/variables")
def get_variables(call: Call) -> dict[str, Any]:
    return {"variables": variables.shown(variables_of(_profile(call)))}


@operation("PUT /v1/clusterprofiles/{uid}/variables")
def replace_variables(call: Call) -> None:
    document = _profile(call, own=True)
    _define(call, document, call.body.get("variables", []))


@operation("PATCH /v1/clusterprofiles/{uid}/variables")
def add_variables(call: Call) -> None:
    document = _profile(call, own=True)
    merged = {variable["name"]: variable for variable in variables.shown(variables_of(document))}
    for variable in call.body.get("variables", []):
        merged[variable["name"]] = {**merged.get(variable["name"], {}), **variable}
    _define(call, document, list(merged.values()))


@operation("DELETE /v1/clusterprofiles/{uid}/variables")
def delete_variables(call: Call) -> None:
    document = _profile(call, own=True)
    names = set(call.body["variables"])
    unknown = sorted(names - {variable["name"] for variable in variables_of(document)})
    if unknown:
        raise invalid(f"body.variables: the profile has no variable {', '.join(unknown)}", field="body.variables")
    used = sorted(names & templates.used_variables(_working(document)))
    if used:
        raise ApiError("ResourceInUse", f"packs use the variable {', '.join(used)}", {"variables": used})
    document.body["_variables"] = [item for item in variables_of(document) if item["name"] not in names]
    _save(call, document)


def _define(call: Call, document: Document, sent: list[dict[str, Any]]) -> None:
    document.body["_variables"] = variables.define(sent, variables_of(document), "body.variables")
    _save(call, document)


# Packs and manifests


@operation("GET /v1/clusterprofiles/{uid}/packs")
def list_packs(call: Call) -> dict[str, Any]:
    document = _profile(call)
    return {
        "items": [
            {"metadata": {"name": pack["name"], "uid": pack["uid"]}, "spec": pack_spec(pack), "status": {}}
            for pack in _working(document)["packs"]
        ]
    }


@operation("POST /v1/clusterprofiles/{uid}/packs")
def add_pack(call: Call) -> dict[str, Any]:
    document, draft = _draft(call)
    sent = call.body.get("pack")
    if sent is None:
        raise ApiError("InvalidRequest", "body.pack: is missing", {"field": "body.pack"})
    pack = templates.build_pack(sent, None, "body.pack", _finder(call))
    draft["packs"].append(pack)
    _check_packs(draft, document)
    _save(call, document)
    return {"uid": pack["uid"]}


@operation("GET /v1/clusterprofiles/{uid}/packs/manifests")
def list_pack_manifests(call: Call) -> dict[str, Any]:
    document = _profile(call)
    packs = []
    for pack in _working(document)["packs"]:
        spec = pack_spec(pack)
        for key in ("template", "addonSubType"):  # v1PackManifestsSpec lacks them
            spec.pop(key, None)
        spec["manifests"] = [
            {**manifest, "digest": templates.digest(manifest["content"])} for manifest in pack["manifests"]
        ]
        packs.append({"metadata": {"name": pack["name"], "uid": pack["uid"]}, "spec": spec, "status": {}})
    return {"metadata": document.body["metadata"], "spec": {"packs": packs}}


@operation("GET /v1/clusterprofiles/{uid}/packs/{packName}")
def get_pack(call: Call) -> dict[str, Any]:
    pack = _pack(call, _working(_profile(call)))
    registry = find_registry(call.plane, pack["registryUid"])
    spec: dict[str, Any] = {"pack": pack_spec(pack), "macros": {"resolved": {}}}
    if registry is not None:
        spec["registry"] = metadata_of(registry)
    return {"metadata": {"name": pack["name"], "uid": pack["uid"]}, "spec": spec}


@operation("PUT /v1/clusterprofiles/{uid}/packs/{packName}")
def update_pack(call: Call) -> None:
    document, draft = _draft(call)
    pack = _pack(call, draft)
    sent = call.body.get("pack")
    if sent is None:
        raise ApiError("InvalidRequest", "body.pack: is missing", {"field": "body.pack"})
    position = draft["packs"].index(pack)
    draft["packs"][position] = {
        **templates.build_pack(sent, pack, "body.pack", _finder(call)),
        "manifests": pack["manifests"],
    }
    _check_packs(draft, document)
    _save(call, document)


@operation("DELETE /v1/clusterprofiles/{uid}/packs/{packName}")
def delete_pack(call: Call) -> None:
    document, draft = _draft(call)
    draft["packs"].remove(_pack(call, draft))
    _save(call, document)


@operation("GET /v1/clusterprofiles/{uid}/packs/{packName}/config")
def get_pack_config(call: Call) -> dict[str, Any]:
    document = _profile(call)
    pack = _pack(call, _working(document))
    if call.query["packUid"] != pack["uid"]:
        raise not_found("pack", call.query["packUid"])
    return {
        "items": [
            {
                "spec": {
                    "associatedObject": document.uid,
                    "isValuesOverridden": False,
                    "manifests": [
                        {"name": item["name"], "uid": item["uid"], "digest": templates.digest(item["content"])}
                        for item in pack["manifests"]
                    ],
                    "name": pack["name"],
                    "packUid": pack["uid"],
                    "scope": "profile",
                    "tag": pack["tag"],
                    "type": pack["type"],
                    "values": pack["values"],
                    "version": pack["version"],
                }
            }
        ]
    }


@operation("GET /v1/clusterprofiles/{uid}/packs/{packName}/manifests")
def list_manifests(call: Call) -> dict[str, Any]:
    return {"items": _manifests(_profile(call), call.path["packName"])}


@operation("GET /v1/clusterprofiles/{uid}/packs/{packName}/manifests/{manifestUid}")
def get_manifest(call: Call) -> dict[str, Any]:
    for manifest in _manifests(_profile(call), call.path["packName"]):
        if manifest["metadata"]["uid"] == call.path["manifestUid"]:
            return manifest
    raise not_found("manifest", call.path["manifestUid"])


@operation("POST /v1/clusterprofiles/{uid}/packs/{packName}/manifests")
def add_manifest(call: Call) -> dict[str, Any]:
    document, draft = _draft(call)
    pack = _pack(call, draft)
    name = required_name(call.body, "manifest")
    if any(manifest["name"] == name for manifest in pack["manifests"]):
        raise name_taken("manifest", name)
    manifest = {"uid": new_uid(), "name": name, "content": call.body.get("content", "")}
    pack["manifests"].append(manifest)
    _check_packs(draft, document)
    _save(call, document)
    return {"uid": manifest["uid"]}


@operation("PUT /v1/clusterprofiles/{uid}/packs/{packName}/manifests/{manifestUid}")
def update_manifest(call: Call) -> None:
    document, draft = _draft(call)
    pack = _pack(call, draft)
    manifest = _manifest(call, pack)
    name = call.body.get("name") or manifest["name"]
    if any(other["name"] == name and other is not manifest for other in pack["manifests"]):
        raise name_taken("manifest", name)
    manifest |= {"name": name, "content": call.body.get("content", manifest["content"])}
    _check_packs(draft, document)
    _save(call, document)


@operation("DELETE /v1/clusterprofiles/{uid}/packs/{packName}/manifests/{manifestUid}")
def delete_manifest(call: Call) -> None:
    document, draft = _draft(call)
    pack = _pack(call, draft)
    pack["manifests"].remove(_manifest(call, pack))
    _save(call, document)


def _manifests(document: Document, pack_name: str) -> list[dict[str, Any]]:
    """The manifests of a pack with what is published and what is drafted of each (v1ManifestEntity)."""
    found: dict[str, dict[str, Any]] = {}
    known = False
    for state in ("published", "draft"):
        template = document.body[f"_{state}"]
        pack = templates.find_pack(template, pack_name) if template else None
        if pack is None:
            continue
        known = True
        for manifest in pack["manifests"]:
            entity = found.setdefault(
                manifest["uid"], {"metadata": {"name": manifest["name"], "uid": manifest["uid"]}, "spec": {}}
            )
            content = manifest["content"]
            entity["spec"][state] = {"content": content, "digest": templates.digest(content)}
    if not known:
        raise _no_pack(pack_name)
    return list(found.values())


def _pack(call: Call, template: templates.Template) -> templates.PackEntry:
    pack = templates.find_pack(template, call.path["packName"])
    if pack is None:
        raise _no_pack(call.path["packName"])
    return pack


def _no_pack(name: str) -> ApiError:
    return ApiError("ResourceNotFound", f"the profile has no pack named {name!r}", {"name": name})


def _manifest(call: Call, pack: templates.PackEntry) -> dict[str, Any]:
    for manifest in pack["manifests"]:
        if manifest["uid"] == call.path["manifestUid"]:
            found: dict[str, Any] = manifest
            return found
    raise not_found("manifest", call.path["manifestUid"])


def _draft(call: Call) -> tuple[Document, templates.Template]:
    """The profile to change, and its draft: made of what is published where there is none."""
    document = _profile(call, own=True)
    if document.body["_draft"] is None:
        document.body["_draft"] = copy.deepcopy(document.body["_published"])
    return document, document.body["_draft"]


def _check_packs(draft: templates.Template, document: Document) -> None:
    """The rules that hold while packs are changed one by one; that no layer lacks is asked when it is published."""
    for violation in templates.violations(draft, "spec.draft"):
        if violation.code not in ("PackLayerMissing", "PackLayerDuplicate"):
            raise violation.error()
    variables.check_defined(templates.used_variables(draft), variables_of(document))


# Checks without a change


@operation("POST /v1/clusterprofiles/validate/packs")
def validate_packs(call: Call) -> dict[str, Any]:
    return _validated(call, None)


@operation("POST /v1/clusterprofiles/{uid}/validate/packs")
def validate_profile_packs(call: Call) -> dict[str, Any]:
    return _validated(call, _working(_profile(call)))


def _validated(call: Call, before: templates.Template | None) -> dict[str, Any]:
    sent = call.body
    results: dict[str, list[dict[str, str]]] = {pack["name"]: [] for pack in sent.get("packs", [])}
    sound = []
    for number, pack in enumerate(sent.get("packs", [])):
        try:
            templates.build_pack(pack, None, f"body.packs[{number}]", _finder(call))
            sound.append(pack)
        except ApiError as error:
            results[pack["name"]].append({"code": error.code, "message": error.message})
    template = templates.build({**sent, "packs": sound}, before, "body", _finder(call))
    for violation in templates.violations(template, "body"):
        name = violation.pack or "profile"
        results.setdefault(name, []).append({"code": violation.code, "message": violation.message})
    return {
        "packs": {
            "results": [{"name": name, "displayName": name, "errors": errors} for name, errors in results.items()]
        }
    }


# Export


@operation("GET /v1/clusterprofiles/{uid}/export")
def export(call: Call) -> Any:
    document = _profile(call)
    metadata = document.body["metadata"]
    template = _working(document)
    exported = {
        "metadata": {
            "name": document.name,
            "description": metadata.get("annotations", {}).get("description", ""),
            "labels": metadata.get("labels", {}),
        },
        "spec": {
            "version": document.version,
            "template": {
                "type": template["type"],
                "cloudType": template["cloudType"],
                "packs": [_exported_pack(call, pack) for pack in template["packs"]],
            },
            # A sensitive default value stays here: a file goes from hand to hand.
            "variables": [
                {key: value for key, value in item.items() if not (key == "defaultValue" and item["isSensitive"])}
                for item in variables_of(document)
            ],
        },
    }
    form = call.query["format"]
    text = json.dumps(exported, indent=2) if form == "json" else yaml.safe_dump(exported, sort_keys=False)
    return raw(text, "application/octet-stream", f"{document.name}-{document.version}.{form}")


def _exported_pack(call: Call, pack: templates.PackEntry) -> dict[str, Any]:
    exported: dict[str, Any] = {key: pack[key] for key in ("name", "type", "layer", "version", "tag", "values")}
    exported["manifests"] = [{"name": item["name"], "content": item["content"]} for item in pack["manifests"]]
    registry = find_registry(call.plane, pack["registryUid"])
    if registry is not None:
        exported["registry"] = {
            "metadata": {
                "uid": registry.uid,
                "name": registry.name,
                "kind": registry.kind,
                "isPrivate": registry.private,
            }
        }
    return exported


# The dashboard's calls


@operation("GET /v1/dashboard/clusterprofiles/metadata")
def list_metadata(call: Call) -> dict[str, Any]:
    return {
        "items": [
            {
                "metadata": {"name": document.name, "uid": document.uid},
                "spec": {"cloudType": template_of(document)["cloudType"], "version": document.version},
            }
            for document in _in_scope(call)
        ]
    }


_SORT_FIELDS = {
    "profileName": lambda document: document.name,
    "environment": lambda document: template_of(document)["cloudType"],
    "profileType": lambda document: template_of(document)["type"],
    "creationTimestamp": lambda document: document.body["metadata"]["creationTimestamp"],
    "lastModifiedTimestamp": lambda document: document.body["metadata"]["lastModifiedTimestamp"],
}


@operation("POST /v1/dashboard/clusterprofiles")
def search(call: Call) -> dict[str, Any]:
    wanted = call.body.get("filter", {})
    documents = [document for document in _in_scope(call) if _wanted(document, wanted)]
    for key in reversed(call.body.get("sort", [])):
        documents.sort(key=_SORT_FIELDS[key.get("field", "profileName")], reverse=key.get("order") == "desc")
    chosen, listmeta = page(documents, call.query)
    return {"items": [_summary(call, document) for document in chosen], "listmeta": listmeta}


@operation("GET /v1/dashboard/clusterprofiles/{uid}")
def get_summary(call: Call) -> dict[str, Any]:
    return _summary(call, _profile(call))


def _wanted(document: Document, wanted: dict[str, Any]) -> bool:
    template = template_of(document)
    metadata = document.body["metadata"]
    environments, kinds, tags = wanted.get("environment"), wanted.get("profileType"), wanted.get("tags", {})
    labels = {f"{key}:{value}" for key, value in metadata.get("labels", {}).items()}
    return (
        ("profileName" not in wanted or matches(document.name, wanted["profileName"]))
        and (not environments or template["cloudType"] in environments)
        and (not kinds or template["type"] in kinds)
        and (not wanted.get("scope") or metadata["annotations"]["scope"] == wanted["scope"])
        and ("version" not in wanted or _version_matches(document.version, wanted["version"]))
        and (not tags.get("eq") or bool(labels & set(tags["eq"])))
        and not (set(tags.get("ne") or []) & labels)
        and (not tags.get("beginsWith") or any(label.startswith(tuple(tags["beginsWith"])) for label in labels))
        and wanted.get("fips", "none") == "none"
    )


def _version_matches(version: str, wanted: dict[str, str]) -> bool:
    key = version_key(version)
    return (
        version == wanted.get("eq", version)
        and version != wanted.get("ne", "")
        and version.startswith(wanted.get("beginsWith", ""))
        and ("gt" not in wanted or key > version_key(wanted["gt"]))
        and ("lt" not in wanted or key < version_key(wanted["lt"]))
    )


def _summary(call: Call, document: Document) -> dict[str, Any]:
    users = call.plane.store.users_of(document.uid)
    specification: dict[str, Any] = {"version": document.version, "versions": _versions(call, document)}
    for state in ("draft", "published"):
        template = document.body[f"_{state}"]
        if template is not None:
            specification[state] = {
                "type": template["type"],
                "cloudType": template["cloudType"],
                "packs": [
                    {
                        "name": pack["name"],
                        "displayName": _display_name(pack),
                        "layer": pack["layer"],
                        "packUid": pack["uid"],
                        "tag": pack["tag"],
                        "type": pack["type"],
                        "version": pack["version"],
                        "logoUrl": "",
                    }
                    for pack in template["packs"]
                ],
            }
    return {
        "metadata": document.body["metadata"],
        "specSummary": specification,
        "status": {
            "isPublished": document.body["_published"] is not None,
            "inUseClusterUids": [user.uid for user in users],
            "inUseClusters": [{"name": user.name, "uid": user.uid} for user in users],
            "fips": {"mode": "none"},
            "pack": {"deleted": 0, "deprecated": 0, "disabled": 0},
        },
    }


# Inside


def _shown(call: Call, document: Document) -> dict[str, Any]:
    """A profile as the API shows it (v1ClusterProfile)."""
    users = call.plane.store.users_of(document.uid)
    specification: dict[str, Any] = {"version": document.version, "versions": _versions(call, document)}
    published = document.body["_published"]
    for state in ("draft", "published"):
        template = document.body[f"_{state}"]
        if template is not None:
            # What a draft becomes when it is published: so it never looks like what is published already.
            ahead = 1 if state == "draft" and published else 0
            specification[state] = {
                "name": document.name,
                "uid": document.uid,
                "type": template["type"],
                "cloudType": template["cloudType"],
                "profileVersion": document.version,
                "version": (published["revision"] if ahead else template["revision"]) + ahead,
                "packs": [templates.pack_reference(pack) for pack in template["packs"]],
                "relatedObject": {"kind": "clusterprofile", "name": document.name, "uid": document.uid},
            }
    return {
        "kind": "ClusterProfile",
        "metadata": document.body["metadata"],
        "spec": specification,
        "status": {
            "hasUserMacros": False,
            "isPublished": document.body["_published"] is not None,
            "inUseClusterUids": [user.uid for user in users],
            "inUseClusters": [
                {"kind": user.kind, "name": user.name, "projectUid": user.project, "uid": user.uid} for user in users
            ],
        },
    }


def _versions(call: Call, document: Document) -> list[dict[str, str]]:
    """All versions of this profile's name in its scope, oldest version first."""
    found = call.plane.store.list(KIND, projects=[document.project], name=document.name)
    found.sort(key=lambda other: version_key(other.version))
    return [{"uid": other.uid, "version": other.version} for other in found]


def pack_spec(pack: templates.PackEntry) -> dict[str, Any]:
    """A pack of a profile with what the catalogue says of it (v1PackSummarySpec)."""
    known = templates.catalogue_pack(pack)
    spec = (
        spec_of(known) if known else {"displayName": pack["name"], "cloudTypes": ["all"], "presets": [], "schema": []}
    )
    reference = templates.pack_reference(pack)
    return {
        **spec,
        **{key: reference[key] for key in ("name", "layer", "version", "type", "values", "registryUid", "manifests")},
    }


def _display_name(pack: templates.PackEntry) -> str:
    known = templates.catalogue_pack(pack)
    return known.display_name if known else str(pack["name"])


def _in_scope(call: Call) -> list[Document]:
    return call.plane.store.list(KIND, projects=call.scopes)


def _profile(call: Call, own: bool = False) -> Document:
    return (call.find_own if own else call.find)(KIND, call.path["uid"], "cluster profile")


def _finder(call: Call) -> templates.FindRegistry:
    def find(uid: str) -> Registry | None:
        return find_registry(call.plane, uid)

    return find


def _working(document: Document) -> templates.Template:
    """What a change starts from: the draft, or what is published where there is none."""
    chosen: templates.Template = document.body["_draft"] or document.body["_published"]
    return chosen


def _publish(document: Document) -> None:
    draft, published = document.body["_draft"], document.body["_published"]
    if draft is not None:
        draft["revision"] = published["revision"] + 1 if published else 1
        document.body |= {"_published": draft, "_draft": None}


def _version(text: str, where: str) -> str:
    version = text or DEFAULT_VERSION
    if not _VERSION.fullmatch(version):
        raise invalid(f"{where}: {version!r} is no version such as 1.2.3", field=where, value=version)
    return version


def _rename(document: Document, metadata: dict[str, Any], spec: dict[str, Any]) -> None:
    if metadata.get("name"):
        document.name = document.body["metadata"]["name"] = metadata["name"]
    if spec.get("version"):
        document.version = _version(spec["version"], "body.spec.version")


def _refuse_taken(call: Call, name: str, version: str, project: str) -> None:
    holder = call.plane.store.by_name(KIND, name, project, version)
    if holder is not None:
        raise name_taken(f"cluster profile of version {version}", name, holder.uid)


def _add(call: Call, document: Document) -> None:
    try:
        call.plane.store.add(document)
    except NameTaken as taken:
        raise name_taken(f"cluster profile of version {document.version}", document.name, taken.uid) from None


def _save(call: Call, document: Document) -> None:
    try:
        call.plane.touch(document)
    except NameTaken as taken:
        raise name_taken(f"cluster profile of version {document.version}", document.name, taken.uid) from None
