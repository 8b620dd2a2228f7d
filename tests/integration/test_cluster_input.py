# SPDX-License-Identifier: GPL-3.0-or-later
"""What bad input gets at clusters: a clear error that names the value and the way out, with nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.plane import RunningPlane
from support.project import Project, fresh_project
from support.runs import Outcome, Step, Values, vary
from support.specs import AWS_CLUSTER, CLUSTER_NEEDS, VSPHERE_CLUSTER

WAYS = ("action", "module")
AWS, VSPHERE = AWS_CLUSTER.named("c"), VSPHERE_CLUSTER.named("c")

#: A profile whose variable a cluster must give a value, and a profile that is not published.
MORE_NEEDS = (
    *CLUSTER_NEEDS,
    Step(
        "cluster_profile",
        {
            "name": "asking",
            "type": "add-on",
            "packs": [{"name": "nginx"}],
            "variables": [{"name": "must", "required": True}],
        },
    ),
)

#: Label, task, and what the message must hold: the value, and the way out.
NEW: tuple[tuple[str, Values, tuple[str, ...]], ...] = (
    ("no cloud", vary(AWS, "cloud", ...), ("cloud",)),
    ("no account", vary(AWS, "cloud_account", ...), ("cloud_account", "Name")),
    ("no region", vary(AWS, "cloud_config.region", ...), ("cloud_config.region", "Name")),
    ("no pools", vary(AWS, "pools", ...), ("pools", "Name")),
    ("no profiles", vary(AWS, "profiles", ...), ("profiles", "Name")),
    ("no size", vary(AWS, "pools.workers.size", ...), ("pools.workers.size", "Name")),
    ("no instance type", vary(AWS, "pools.workers.instance_type", ...), ("pools.workers.instance_type", "Name")),
    ("no placements", vary(VSPHERE, "pools.workers.placements", ...), ("pools.workers.placements", "Name")),
    ("unsupported cloud", vary(AWS, "cloud", "gcp"), ("gcp", "aws, edge-native, vsphere")),
    ("bad name", {**AWS, "name": "Shop_Berlin"}, ("Shop_Berlin", "lower case letters, digits and hyphens")),
    ("long name", {**AWS, "name": "c" * 64}, ("c" * 64, "63")),
    (
        "unknown account",
        vary(AWS, "cloud_account", "awz"),
        ("There is no cloud account named 'awz'", "aws", "paletteops.modes.cloud_account"),
    ),
    (
        "account of another cloud",
        vary(AWS, "cloud_account", "vsphere"),
        ("'vsphere' is for vsphere", "the cluster is on aws", "aws"),
    ),
    (
        "unknown profile",
        vary(AWS, "profiles.platform.name", "platfrom"),
        ("There is no cluster profile named 'platfrom'", "platform", "paletteops.modes.cluster_profile"),
    ),
    (
        "unknown version of a profile",
        vary(AWS, "profiles.platform.version", "3.0.0"),
        ("There is no version 3.0.0 of the cluster profile 'platform'", "Did you mean '1."),
    ),
    (
        "empty version range",
        vary(AWS, "profiles.platform.version", "2.x"),
        ("There is no version 2.x of the cluster profile 'platform'", "1.1.0"),
    ),
    (
        "profile for another cloud",
        {**AWS, "profiles": [{"name": "base-vsphere"}]},
        ("profiles.base-vsphere", "is for vsphere", "the cluster is on aws", "Name a profile for aws"),
    ),
    (
        "no infrastructure profile",
        {**AWS, "profiles": [{"name": "platform"}]},
        ("exactly one profile of type cluster or infra", "none", "Name one"),
    ),
    (
        "unknown variable",
        vary(AWS, "profiles.base-aws.variables", {"teir": "gold"}),
        ("profiles.base-aws.variables.teir", "has no variable of that name", "tier"),
    ),
    (
        "missing variable",
        {**AWS, "profiles": [*AWS["profiles"], {"name": "asking"}]},
        ("profiles.asking.variables.must is required", "Give it a value"),
    ),
    (
        "override of a pack that there is not",
        vary(AWS, "profiles.base-aws.packs.nginx.name", "ngnix"),
        ("profiles.base-aws.packs.ngnix", "no such pack", "nginx"),
    ),
    (
        "malformed override",
        vary(AWS, "profiles.base-aws.packs.nginx.values", "a: [1\n"),
        ("profiles.base-aws.packs.nginx.values is not valid YAML", "Correct the text"),
    ),
    ("control plane of 0", vary(AWS, "pools.control.size", 0), ("pools.control.size is 0", "1, 3, 5 or 7")),
    ("even control plane", vary(AWS, "pools.control.size", 2), ("pools.control.size is 2", "odd", "1, 3, 5 or 7")),
    (
        "no control plane",
        vary(AWS, "pools.control.control_plane", False),
        ("one pool with control_plane: true", "Mark exactly one"),
    ),
    (
        "two control planes",
        {**AWS, "pools": [*AWS["pools"], {**AWS["pools"][0], "name": "control-2"}]},
        ("'control', 'control-2'", "Mark exactly one"),
    ),
    ("pool twice", {**AWS, "pools": [*AWS["pools"], AWS["pools"][0]]}, ("pools names 'control' 2 times", "Name each")),
    (
        "bounds that are swapped",
        vary(AWS, "pools.scaled.min_size", 9),
        ("pools.scaled.min_size is 9", "max_size, 4", "Swap them"),
    ),
    ("size out of bounds", vary(AWS, "pools.scaled.size", 8), ("pools.scaled.size is 8", "1 to 4")),
    ("misspelt pool key", vary(AWS, "pools.workers.instance_tpye", "x"), ("instance_tpye", "instance_type")),
    ("misspelt option", {**AWS, "cloud_acount": "aws"}, ("cloud_acount", "cloud_account")),
    (
        "pool field of another cloud",
        vary(AWS, "pools.workers.placements", [{"cluster": "c", "datastore": "d", "network": "n"}]),
        ("pools.workers.placements belongs to vsphere", "the cloud is aws"),
    ),
    (
        "config of another cloud",
        vary(AWS, "cloud_config.datacenter", "plant"),
        ("cloud_config.datacenter belongs to vsphere", "the cloud is aws"),
    ),
    (
        "instance type of another cloud",
        vary(AWS, "pools.workers.instance_type", {"num_cpus": 4}),
        ("pools.workers", "instance_type"),
    ),
    (
        "capacity that cannot be",
        vary(AWS, "pools.workers.capacity_type", "rented"),
        ("pools", "capacity_type", "on-demand, spot", "rented"),
    ),
    ("taint without effect", vary(AWS, "pools.workers.taints.0.effect", ...), ("taints", "effect")),
)

#: Tasks for the cluster that is there.
EXISTING: tuple[tuple[str, Values, tuple[str, ...]], ...] = (
    (
        "name that a cluster on another cloud has",
        VSPHERE,
        ("cloud is 'aws' and cannot be changed to 'vsphere'", "Make a new cluster"),
    ),
    (
        "control plane removed",
        {"name": "c", "cloud": "aws", "pools": [{"name": "control", "state": "absent"}]},
        ("the control plane 'control' cannot be removed", "Delete the cluster instead"),
    ),
    (
        "second control plane",
        {
            "name": "c",
            "cloud": "aws",
            "pools": [{"name": "more", "control_plane": True, "size": 1, "instance_type": "m6i.large"}],
        },
        ("'control', 'more'", "Mark exactly one"),
    ),
    (
        "even control plane",
        {"name": "c", "cloud": "aws", "pools": [{"name": "control", "size": 4}]},
        ("pools.control.size is 4", "1, 3, 5 or 7"),
    ),
    (
        "new pool without a size",
        {"name": "c", "cloud": "aws", "pools": [{"name": "more", "instance_type": "m6i.large"}]},
        ("pools.more", "size"),
    ),
    (
        "infrastructure profile taken away",
        {"name": "c", "cloud": "aws", "profiles": [{"name": "base-aws", "state": "absent"}]},
        ("base-aws",),
    ),
    (
        "second infrastructure profile",
        {"name": "c", "cloud": "aws", "profiles": [{"name": "base-aws-2"}]},
        ("base-aws-2",),
    ),
    (
        "unknown version",
        {"name": "c", "cloud": "aws", "profiles": [{"name": "platform", "version": "9.x"}]},
        ("There is no version 9.x of the cluster profile 'platform'", "1.1.0"),
    ),
    (
        "unknown variable",
        {"name": "c", "cloud": "aws", "profiles": [{"name": "base-aws", "variables": {"prot": 1}}]},
        ("profiles.base-aws.variables.prot", "port"),
    ),
    (
        "value that a variable refuses",
        {"name": "c", "cloud": "aws", "profiles": [{"name": "base-aws", "variables": {"port": "many"}}]},
        ("port", "number"),
    ),
)

#: Refused by the plane: the request was sent, and nothing came of it.
BY_THE_PLANE = {"value that a variable refuses"}


@pytest.fixture(scope="module")
def stocked(plane: RunningPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with what clusters need."""
    with fresh_project(plane, tmp_path_factory.mktemp("stocked")) as project:
        second = {**CLUSTER_NEEDS[4].args, "name": "base-aws-2"}
        project.ansible.prepare([*MORE_NEEDS, Step("cluster_profile", second)])
        yield project


@pytest.fixture(scope="module")
def inhabited(stocked: Project) -> Project:
    """The same, with the cluster of the base specification."""
    assert stocked.ansible.one("cluster", {**AWS_CLUSTER.named("existing")}).changed
    return stocked


@pytest.fixture(scope="module")
def played(inhabited: Project) -> dict[str, Outcome]:
    """What comes of each case in one play; a name tells which cluster it is about."""
    steps = {f"new {label}": Step("cluster", args) for label, args, _ in NEW}
    steps |= {f"existing {label}": Step("cluster", {**args, "name": "existing"}) for label, args, _ in EXISTING}
    return dict(zip(steps, inhabited.ansible.play(list(steps.values())).outcomes, strict=True))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("label", "args", "words"), [pytest.param(*case, id=case[0]) for case in NEW])
def test_a_cluster_that_cannot_be_is_not_made(
    inhabited: Project, played: dict[str, Outcome], label: str, args: Values, words: tuple[str, ...], way: str
) -> None:
    step = Step("cluster", args)
    outcome = played[f"new {label}"] if way == "action" else inhabited.ansible.module(step)
    message = outcome.refused(*words)
    assert args["name"] not in inhabited.api.names("spectroclusters")
    assert "\n" not in message
    assert "canary" not in str(outcome.result)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("label", "args", "words"), [pytest.param(*case, id=case[0]) for case in EXISTING])
def test_a_cluster_takes_no_bad_change(
    inhabited: Project, played: dict[str, Outcome], label: str, args: Values, words: tuple[str, ...], way: str
) -> None:
    step = Step("cluster", {**args, "name": "existing"})
    outcome = played[f"existing {label}"] if way == "action" else inhabited.ansible.module(step)
    if label in BY_THE_PLANE:
        assert outcome.failed
        for word in words:
            assert word in outcome.msg
    else:
        outcome.refused(*words)
    assert "canary" not in str(outcome.result)


def test_the_cluster_is_as_it_was(inhabited: Project, played: dict[str, Outcome]) -> None:
    before = AWS_CLUSTER.snapshot(inhabited.api, "existing")
    for label, args, _ in EXISTING:
        if label in BY_THE_PLANE:
            inhabited.ansible.module(Step("cluster", {**args, "name": "existing"}))
    assert AWS_CLUSTER.snapshot(inhabited.api, "existing") == before
    assert not inhabited.ansible.one("cluster", AWS_CLUSTER.named("existing")).changed


def test_what_a_cluster_uses_is_not_deleted(inhabited: Project) -> None:
    steps = [
        Step("cloud_account", {"name": "aws", "state": "absent"}),
        Step("cluster_profile", {"name": "platform", "version": "1.0.0", "state": "absent"}),
    ]
    outcomes: list[Any] = inhabited.ansible.play(steps).outcomes
    for outcome in outcomes:
        assert outcome.failed
        assert "existing" in outcome.msg
