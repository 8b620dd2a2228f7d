# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks of projects, cloud accounts and cluster profiles do beyond comparing values."""

from __future__ import annotations

from typing import Any

import pytest
from support.project import Project
from support.runs import Ansible, Api, Outcome, Step, Values, vary
from support.specs import AWS_ACCOUNT, PROFILE, PROFILE_PACKS, VSPHERE_ACCOUNT, namespace

ADD_ON: Values = {
    "name": "platform",
    "type": "add-on",
    "packs": [{"name": "shop", "type": "manifest", "manifests": [{"name": "shop", "content": namespace("shop")}]}],
}


def run(ansible: Ansible, *steps: tuple[str, Values] | tuple[str, Values, bool]) -> list[Outcome]:
    """Steps ``(module, args)`` or ``(module, args, check)`` in one play."""
    return ansible.play([Step(step[0], step[1], check=len(step) > 2) for step in steps]).outcomes


def packs(outcome: Outcome) -> dict[str, Any]:
    return {pack["name"]: pack for pack in outcome.result["cluster_profile"]["packs"]}


# --- nothing is dropped that was not asked for ---


def test_an_update_touches_what_is_named_and_nothing_else(ansible: Ansible) -> None:
    made, described, again = run(
        ansible,
        ("cluster_profile", PROFILE.named("p")),
        ("cluster_profile", {"name": "p", "description": "other"}),
        ("cluster_profile", {**PROFILE.named("p"), "description": "other"}, True),
    )
    assert made.changed
    assert described.changed
    assert described.writes == [write for write in described.writes if write.startswith("PATCH")]
    assert not again.changed, again.diff


def test_an_account_keeps_what_the_task_does_not_name(ansible: Ansible, project: Project) -> None:
    before, _, _ = run(
        ansible,
        ("cloud_account", AWS_ACCOUNT.named("a")),
        ("cloud_account", {"name": "a", "cloud": "aws", "tags": {"more": "x"}, "credentials": {"secret_key": "s"}}),
        ("cloud_account", vary(AWS_ACCOUNT.named("a"), "tags.more", "x"), True),
    )
    assert before.changed
    after = run(ansible, ("cloud_account", vary(AWS_ACCOUNT.named("a"), "tags.more", "x"), True))[0]
    assert not after.changed, after.diff
    assert AWS_ACCOUNT.snapshot(project.api, "a")["metadata"]["labels"] == {"team": "retail", "more": "x"}


def test_one_manifest_changes_and_the_others_stay(ansible: Ansible, project: Project) -> None:
    two = vary(ADD_ON, "packs.shop.manifests", [*ADD_ON["packs"][0]["manifests"], {"name": "b", "content": "a: 1\n"}])
    partly = vary(ADD_ON, "packs.shop.manifests", [{"name": "b", "content": "a: 2\n"}])
    _, changed, same = run(
        ansible, ("cluster_profile", two), ("cluster_profile", partly), ("cluster_profile", partly, True)
    )
    assert changed.changed
    assert not same.changed
    (pack,) = PROFILE.snapshot(project.api, "platform")[2]["spec"]["packs"]
    assert {item["name"]: item["content"] for item in pack["spec"]["manifests"]} == {
        "shop": namespace("shop"),
        "b": "a: 2\n",
    }


def test_manifests_stay_where_only_the_values_of_a_pack_are_named(ansible: Ansible, project: Project) -> None:
    packs_ = [{"name": "nginx", "values": "charts: {a: 1}\n"}]
    _, changed, same = run(
        ansible,
        ("cluster_profile", PROFILE.named("p")),
        ("cluster_profile", {"name": "p", "packs": packs_}),
        ("cluster_profile", {"name": "p", "packs": packs_}),
    )
    assert changed.changed
    assert not same.changed
    kept = {pack["spec"]["name"]: pack["spec"] for pack in PROFILE.snapshot(project.api, "p")[2]["spec"]["packs"]}
    assert [item["name"] for item in kept["nginx"]["manifests"]] == ["extra"]


# --- removal is explicit ---


@pytest.mark.parametrize(
    ("part", "named", "purged"),
    [
        ("tags", {"tags": {"new": "x"}}, ["team"]),
        ("variables", {"variables": [{"name": "tier"}]}, ["port", "token"]),
        ("packs", {"packs": PROFILE_PACKS[:5]}, ["shop"]),
        ("manifests", {"packs": [{"name": "nginx", "manifests": []}]}, ["extra"]),
    ],
)
def test_purge_takes_away_what_is_not_named(ansible: Ansible, part: str, named: Values, purged: list[str]) -> None:
    spec = {"name": "p", **named}
    _, kept, foretold, done, again = run(
        ansible,
        ("cluster_profile", PROFILE.named("p")),
        ("cluster_profile", spec, True),
        ("cluster_profile", {**spec, "purge": [part]}, True),
        ("cluster_profile", {**spec, "purge": [part]}),
        ("cluster_profile", {**spec, "purge": [part]}),
    )
    for name in purged:
        assert f"'{name}'" in str(kept.diff["after"])
        assert f"'{name}'" not in str(done.diff["after"])
    assert foretold.changed
    assert done.changed
    assert not again.changed


@pytest.mark.parametrize(
    ("spec", "gone"),
    [
        ({"variables": [{"name": "port", "state": "absent"}]}, "port"),
        ({"packs": [{"name": "shop", "state": "absent"}]}, "shop"),
        ({"packs": [{"name": "nginx", "manifests": [{"name": "extra", "state": "absent"}]}]}, "extra"),
    ],
)
def test_an_absent_item_goes_and_stays_away(ansible: Ansible, spec: Values, gone: str) -> None:
    _, foretold, done, again = run(
        ansible,
        ("cluster_profile", PROFILE.named("p")),
        ("cluster_profile", {"name": "p", **spec}, True),
        ("cluster_profile", {"name": "p", **spec}),
        ("cluster_profile", {"name": "p", **spec}),
    )
    assert f"'{gone}'" in str(foretold.diff["before"])
    assert foretold.diff["after"] == done.diff["after"]
    assert f"'{gone}'" not in str(done.diff["after"])
    assert not again.changed
    assert not again.writes


def test_purge_of_tags_of_projects_and_accounts(ansible: Ansible, project: Project) -> None:
    name = project.name + "-x"
    for spec, module in (
        ({"name": name, "tags": {"b": "2"}, "purge": ["tags"]}, "project"),
        ({**VSPHERE_ACCOUNT.named(name), "tags": {"b": "2"}, "purge": ["tags"]}, "cloud_account"),
    ):
        first = {**spec, "tags": {"a": "1", "b": "2"}, "purge": []}
        _, done, again = run(ansible, (module, first), (module, spec), (module, spec))
        assert done.diff["before"]["tags"] == {"a": "1", "b": "2"}
        assert done.diff["after"]["tags"] == {"b": "2"}
        assert not again.changed


# --- versions ---


def test_a_range_is_resolved_once_and_moves_only_with_upgrade(ansible: Ansible) -> None:
    def spec(version: str, **more: Any) -> Values:
        return {
            **vary({"packs": PROFILE_PACKS}, "packs.kubernetes.version", version),
            "name": "p",
            "cloud": "aws",
            **more,
        }

    old, ranged, foretold, moved, kept, exact = run(
        ansible,
        ("cluster_profile", spec("1.31.4")),
        ("cluster_profile", spec("1.31.x")),
        ("cluster_profile", spec("1.31.x", upgrade=True), True),
        ("cluster_profile", spec("1.31.x", upgrade=True)),
        ("cluster_profile", spec("1.31.x", upgrade=True)),
        ("cluster_profile", spec("1.31.4")),
    )
    assert packs(old)["kubernetes"]["version"] == "1.31.4"
    assert not ranged.changed, "what satisfies a range is kept"
    assert packs(ranged)["kubernetes"]["version"] == "1.31.4"
    assert packs(foretold)["kubernetes"]["version"] == packs(moved)["kubernetes"]["version"] == "1.31.13"
    assert moved.changed
    assert not kept.changed
    assert exact.changed, "an exact version is gone back to"


def test_a_new_pack_has_the_newest_version_of_its_range(ansible: Ansible) -> None:
    spec = {"name": "p", "type": "add-on", "packs": [{"name": "nginx"}, {"name": "argo-cd", "version": "8.x"}]}
    made, again = run(ansible, ("cluster_profile", spec), ("cluster_profile", spec))
    assert packs(made)["nginx"]["version"] == "1.13.1"
    assert packs(made)["argo-cd"]["version"] == "8.3.0"
    assert packs(made)["argo-cd"]["registry"] == "Public Helm"
    assert not again.changed


def test_default_values_follow_the_version_unless_they_were_changed(ansible: Ansible, project: Project) -> None:
    def spec(version: str, **pack: Any) -> Values:
        return {"name": "p", "type": "add-on", "packs": [{"name": "nginx", "version": version, **pack}]}

    first, second, _, kept = run(
        ansible,
        ("cluster_profile", spec("1.12.3")),
        ("cluster_profile", spec("1.13.1")),
        ("cluster_profile", spec("1.13.1", values="mine: true\n")),
        ("cluster_profile", spec("1.12.3")),
    )
    assert packs(first)["nginx"]["values"]
    assert "1.13.1" in str(packs(second)["nginx"]["values"]) or packs(second)["nginx"]["values"]
    assert packs(kept)["nginx"]["values"] == "mine: true\n"
    stored = PROFILE.snapshot(project.api, "p")[0]["spec"]["published"]["packs"]
    assert [pack["values"] for pack in stored] == ["mine: true\n"]


def test_each_version_of_a_profile_is_an_object_of_its_own(ansible: Ansible, project: Project) -> None:
    outcomes = run(
        ansible,
        ("cluster_profile", ADD_ON),
        ("cluster_profile", {**ADD_ON, "version": "1.1.0"}),
        ("cluster_profile", {**ADD_ON, "version": "1.1.0"}),
        ("cluster_profile", {"name": "platform", "version": "1.0.0", "state": "absent"}),
        ("cluster_profile", {**ADD_ON, "version": "1.1.0"}),
    )
    assert [outcome.changed for outcome in outcomes] == [True, True, False, True, False]
    listed = project.api.get("/v1/dashboard/clusterprofiles/metadata")["items"]
    assert [(item["metadata"]["name"], item["spec"]["version"]) for item in listed] == [("platform", "1.1.0")]


# --- publishing ---


def test_content_is_published_when_it_is_asked_for(ansible: Ansible, project: Project) -> None:
    draft, still, foretold, published, again = run(
        ansible,
        ("cluster_profile", {**ADD_ON, "publish": False}),
        ("cluster_profile", {**ADD_ON, "publish": False}),
        ("cluster_profile", ADD_ON, True),
        ("cluster_profile", ADD_ON),
        ("cluster_profile", ADD_ON),
    )
    assert draft.changed
    assert not still.changed
    assert foretold.changed
    assert not foretold.writes
    assert published.changed
    assert not again.changed
    assert "published" in PROFILE.snapshot(project.api, "platform")[0]["spec"]


def test_a_change_that_is_not_published_is_seen_by_the_next_task(ansible: Ansible) -> None:
    other = vary(ADD_ON, "packs.shop.manifests.shop.content", namespace("market"))
    outcomes = run(
        ansible,
        ("cluster_profile", ADD_ON),
        ("cluster_profile", {**other, "publish": False}),
        ("cluster_profile", {**other, "publish": False}),
        ("cluster_profile", other),
        ("cluster_profile", other),
    )
    assert [outcome.changed for outcome in outcomes] == [True, True, False, True, False]


# --- YAML ---


@pytest.mark.parametrize(
    "values",
    [
        "charts:\n  ingress-nginx:\n    controller:\n      replicaCount: 1\n",
        "# a comment\ncharts: {ingress-nginx: {controller: {replicaCount: 1}}}",
        {"charts": {"ingress-nginx": {"controller": {"replicaCount": 1}}}},
        '{"charts": {"ingress-nginx": {"controller": {"replicaCount": 1}}}}',
    ],
    ids=["block", "flow", "data", "json"],
)
def test_values_are_compared_by_meaning(ansible: Ansible, values: Any) -> None:
    _, again = run(
        ansible,
        ("cluster_profile", PROFILE.named("p")),
        ("cluster_profile", vary(PROFILE.named("p"), "packs.nginx.values", values)),
    )
    assert not again.changed, again.diff
    assert not again.writes


# --- secrets ---


@pytest.mark.parametrize("subject", [AWS_ACCOUNT, VSPHERE_ACCOUNT], ids=str)
def test_with_always_secrets_are_sent_on_every_run(ansible: Ansible, subject: Any) -> None:
    spec = {**subject.named("a"), "update_secrets": "always"}
    made, foretold, done, again = run(
        ansible,
        ("cloud_account", spec),
        ("cloud_account", spec, True),
        ("cloud_account", spec),
        ("cloud_account", spec),
    )
    assert made.changed
    assert foretold.changed
    assert not foretold.writes
    for outcome in (done, again):
        assert outcome.changed
        assert any(write.startswith("PUT /v1/cloudaccounts/") for write in outcome.writes)
        assert outcome.diff["before"] == outcome.diff["after"], "a secret is never part of a diff"


def test_a_changed_secret_reaches_the_plane(ansible: Ansible) -> None:
    """The plane tries credentials by their look: an access key that it refuses tells that it was sent."""
    _, refused, unvalidated = run(
        ansible,
        ("cloud_account", AWS_ACCOUNT.named("a")),
        ("cloud_account", vary(AWS_ACCOUNT.named("a"), "credentials.access_key", "INVALID-1")),
        ("cloud_account", {**vary(AWS_ACCOUNT.named("a"), "credentials.access_key", "INVALID-1"), "validate": False}),
    )
    refused.refused("INVALID-1")
    assert unvalidated.changed


def test_a_variable_that_is_sensitive_on_the_plane_is_so_for_a_task_that_does_not_say_it(ansible: Ansible) -> None:
    spec = {"name": "p", "variables": [{"name": "token", "default_value": "canary-unsaid"}]}
    _, done, again = run(
        ansible, ("cluster_profile", PROFILE.named("p")), ("cluster_profile", spec), ("cluster_profile", spec)
    )
    assert "canary" not in str(done.result)
    assert not again.changed


# --- check mode across the tasks of a run ---


def test_check_mode_counts_what_an_earlier_task_would_have_made(ansible: Ansible, project: Project) -> None:
    name = project.name + "-x"
    play = ansible.play(
        [
            Step("project", {"name": name}),
            Step("project", {"name": name}),
            Step("project", {"name": name, "description": "more"}),
            Step("project", {"name": name, "state": "absent"}),
            Step("project", {"name": name, "state": "absent"}),
            Step("project", {"name": name}),
        ],
        "--check",
    )
    assert [outcome.changed for outcome in play.outcomes] == [True, False, True, True, False, True]
    assert not [write for outcome in play.outcomes for write in outcome.writes]
    assert name not in project.tenant.names("projects")


def test_what_check_mode_predicted_is_forgotten_once_it_is_done(ansible: Ansible, api: Api) -> None:
    """A task in check mode amid real ones reads what is, not what an earlier check said."""
    uid = run(ansible, ("cluster_profile", ADD_ON))[0].result["cluster_profile"]["uid"]
    outcomes = run(
        ansible,
        ("cluster_profile", {**ADD_ON, "description": "one"}, True),
        ("cluster_profile", {**ADD_ON, "description": "two"}),
        ("cluster_profile", {**ADD_ON, "description": "two"}, True),
    )
    assert [outcome.changed for outcome in outcomes] == [True, True, False]
    assert api.get(f"/v1/clusterprofiles/{uid}")["metadata"]["annotations"]["description"] == "two"


def test_an_object_in_a_project_that_would_be_made_is_foretold(ansible: Ansible, project: Project) -> None:
    name = project.name + "-new"
    play = ansible.play(
        [
            Step("project", {"name": name}),
            Step("cloud_account", {**AWS_ACCOUNT.named("a"), "project": name}),
            Step("cluster_profile", {**PROFILE.named("p"), "project": name}),
            Step("cluster_profile", {**PROFILE.named("p"), "project": name + "-other"}),
        ],
        "--check",
    )
    for outcome in play.outcomes[:3]:
        assert outcome.changed
        assert not outcome.writes
    play[3].refused(f"There is no project named '{name}-other'", name)
