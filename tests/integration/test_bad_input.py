# SPDX-License-Identifier: GPL-3.0-or-later
"""What bad input gets: a clear error that names the value and the way out, with nothing changed.

Clusters have theirs in test_cluster_input.py, playbooks in test_playbooks.py.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from support.plane import RunningPlane
from support.project import Project, fresh_project
from support.runs import Ansible, Outcome, Step, Values, vary
from support.specs import AWS_ACCOUNT, PROFILE, PROFILE_PACKS, VSPHERE_ACCOUNT

WAYS = ("action", "module")


@dataclasses.dataclass(frozen=True)
class Case:
    """A task that is refused. ``words`` are what its message must hold: the value, and the way out."""

    label: str
    module: str
    args: Mapping[str, Any]
    words: tuple[str, ...]
    prepare: tuple[Step, ...] = ()
    env: Mapping[str, str | None] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.label


def profile(at: str, value: Any) -> Values:
    return vary(PROFILE.named("p"), at, value)


def packs(*more: Values, without: str = "") -> list[Values]:
    return [pack for pack in PROFILE_PACKS if pack["name"] != without] + list(more)


ANY: Values = {"name": "x"}
CASES = (
    # --- the connection ---
    Case("no key", "project", ANY, ("No api_key is set", "PALETTE_API_KEY"), env={"PALETTE_API_KEY": None}),
    Case("no address", "project", ANY, ("No api_url is set", "PALETTE_API_URL"), env={"PALETTE_API_URL": None}),
    Case("wrong key", "project", {**ANY, "api_key": "canary-wrong"}, ("401", "api_key", "PALETTE_API_KEY")),
    Case("no scheme", "project", {**ANY, "api_url": "plane.example"}, ("plane.example", "scheme and host")),
    Case(
        "unknown project",
        "cloud_account",
        {**AWS_ACCOUNT.named("a"), "project": "no-such-project"},
        ("There is no project named 'no-such-project'", "PALETTE_PROJECT", "paletteops.modes.project"),
    ),
    Case("no name", "project", {}, ("name",)),
    Case("misspelt option", "project", {**ANY, "descripton": "x"}, ("descripton", "description")),
    Case("wrong state", "project", {**ANY, "state": "there"}, ("there", "present, absent")),
    # --- cloud accounts ---
    Case("no cloud", "cloud_account", {"name": "a", "credentials": {}}, ("cloud",)),
    Case("unsupported cloud", "cloud_account", {"name": "a", "cloud": "gcp"}, ("gcp", "aws, vsphere")),
    Case(
        "no secret key",
        "cloud_account",
        vary(AWS_ACCOUNT.named("a"), "credentials.secret_key", ...),
        ("credentials.secret_key is missing", "Name it"),
    ),
    Case(
        "no access key",
        "cloud_account",
        vary(AWS_ACCOUNT.named("a"), "credentials.access_key", ...),
        ("credentials.access_key is missing", "Name it"),
    ),
    Case(
        "no vcenter",
        "cloud_account",
        vary(VSPHERE_ACCOUNT.named("a"), "credentials.vcenter_server", ...),
        ("credentials.vcenter_server", "Name them"),
    ),
    Case(
        "no password",
        "cloud_account",
        vary(VSPHERE_ACCOUNT.named("a"), "credentials.password", ...),
        ("credentials.password is missing", "Name it"),
    ),
    Case(
        "no gateway",
        "cloud_account",
        vary(VSPHERE_ACCOUNT.named("a"), "private_cloud_gateway", ...),
        ("private_cloud_gateway is missing", "pcg-default"),
    ),
    Case(
        "unknown gateway",
        "cloud_account",
        vary(VSPHERE_ACCOUNT.named("a"), "private_cloud_gateway", "pcg-defolt"),
        ("pcg-defolt", "pcg-default"),
    ),
    Case(
        "gateway on aws",
        "cloud_account",
        {**AWS_ACCOUNT.named("a"), "private_cloud_gateway": "pcg-default"},
        ("private_cloud_gateway is 'pcg-default'", "aws uses none", "Take it out"),
    ),
    Case(
        "field of another cloud",
        "cloud_account",
        vary(AWS_ACCOUNT.named("a"), "credentials.username", "u"),
        ("credentials.username belongs to vsphere", "the cloud is aws"),
    ),
    Case(
        "misspelt field",
        "cloud_account",
        vary(AWS_ACCOUNT.named("a"), "credentials.acces_key", "u"),
        ("acces_key", "access_key"),
    ),
    Case(
        "refused credentials",
        "cloud_account",
        vary(AWS_ACCOUNT.named("a"), "credentials.access_key", "INVALID-7"),
        ("INVALID-7", "CredentialsInvalid"),
    ),
    # --- cluster profiles ---
    Case(
        "unknown pack",
        "cluster_profile",
        profile("packs", packs({"name": "promethius-operator"})),
        ("There is no pack named 'promethius-operator'", "prometheus-operator"),
    ),
    Case(
        "unknown version of a pack",
        "cluster_profile",
        profile("packs.kubernetes.version", "1.31.7"),
        ("There is no version 1.31.7 of the pack 'kubernetes'", "1.31."),
    ),
    Case(
        "empty version range",
        "cluster_profile",
        profile("packs.kubernetes.version", "1.99.x"),
        ("There is no version 1.99.x of the pack 'kubernetes'",),
    ),
    Case(
        "unknown registry",
        "cluster_profile",
        profile("packs.nginx.registry", "Publik Repo"),
        ("There is no registry named 'Publik Repo'", "Public Repo"),
    ),
    Case(
        "registry without the pack",
        "cluster_profile",
        profile("packs.nginx.registry", "Public Helm"),
        ("The registry 'Public Helm' does not hold the pack 'nginx'", "Public Repo"),
    ),
    Case(
        "missing layer",
        "cluster_profile",
        profile("packs", packs(without="cni-calico")),
        ("the layer cni is missing", "Add a pack of that layer"),
    ),
    Case(
        "layer twice",
        "cluster_profile",
        profile("packs", packs({"name": "cni-cilium-oss"})),
        ("the layer cni has cni-calico and cni-cilium-oss", "Keep one of them"),
    ),
    Case(
        "pack for another cloud",
        "cluster_profile",
        profile("packs", packs({"name": "csi-vsphere-csi"}, without="csi-aws-ebs")),
        ("packs.csi-vsphere-csi is for vsphere", "the profile is for aws", "Name a pack"),
    ),
    Case(
        "infrastructure in an add-on",
        "cluster_profile",
        {"name": "p", "type": "add-on", "packs": [{"name": "kubernetes"}]},
        ("packs.kubernetes belongs to the layer k8s", "Take it out"),
    ),
    Case(
        "wrong layer",
        "cluster_profile",
        profile("packs.nginx.layer", "cni"),
        ("packs.nginx.layer is 'cni'", "addon", "Leave layer out"),
    ),
    Case(
        "no cloud of a profile",
        "cluster_profile",
        vary(PROFILE.named("p"), "cloud", ...),
        ("cloud is missing", "aws, edge-native, vsphere"),
    ),
    Case(
        "version of two numbers",
        "cluster_profile",
        profile("version", "1.2"),
        ("version is '1.2'", "such as 1.2.0"),
    ),
    Case(
        "malformed values",
        "cluster_profile",
        profile("packs.nginx.values", "a: 1\n  b: 2\n"),
        ("packs.nginx.values is not valid YAML", "line 2", "Correct the text"),
    ),
    Case(
        "malformed manifest",
        "cluster_profile",
        profile("packs.shop.manifests.shop.content", "a: [\n"),
        ("packs.shop.manifests.shop.content is not valid YAML", "Correct the text"),
    ),
    Case(
        "pack twice",
        "cluster_profile",
        profile("packs", packs({"name": "nginx"})),
        ("packs names 'nginx' 2 times", "Name each item once"),
    ),
    Case(
        "undefined variable",
        "cluster_profile",
        profile("packs.nginx.values", "a: '{{ \"{{\" }}.spectro.var.nobody}}'\n"),
        ("nobody",),
    ),
    Case(
        "default that does not fit",
        "cluster_profile",
        profile("variables.port.default_value", "many"),
        ("port", "number"),
    ),
    Case(
        "unknown format",
        "cluster_profile",
        profile("variables.port.format", "integer"),
        ("integer", "number"),
    ),
    # --- clusters: what is refused before any of its objects is looked at ---
    Case(
        "no project for a cluster",
        "cluster",
        {"name": "c", "cloud": "aws"},
        ("No project is set", "PALETTE_PROJECT"),
        env={"PALETTE_PROJECT": None},
    ),
)

#: Refused by the plane: the request was sent, and nothing came of it.
BY_THE_PLANE = {"undefined variable", "default that does not fit"}


@pytest.fixture(scope="module")
def shared(plane: RunningPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project in which nothing is ever made."""
    with fresh_project(plane, tmp_path_factory.mktemp("refused")) as project:
        yield project


@pytest.fixture(scope="module")
def played(shared: Project) -> dict[str, Outcome]:
    """What comes of the cases that need no environment of their own, in one play."""
    cases = [case for case in CASES if not case.env]
    outcomes = shared.ansible.play([Step(case.module, case.args) for case in cases]).outcomes
    return {case.label: outcome for case, outcome in zip(cases, outcomes, strict=True)}


#: Its text is escaped for a play.
ONLY_IN_A_PLAY = {"undefined variable"}


@pytest.mark.parametrize(
    ("case", "way"),
    [
        pytest.param(case, way, id=f"{case}-{way}")
        for case in CASES
        for way in WAYS
        if way == "action" or case.label not in ONLY_IN_A_PLAY
    ],
)
def test_bad_input_is_refused_and_changes_nothing(
    shared: Project, played: dict[str, Outcome], case: Case, way: str
) -> None:
    before = listed(shared)
    step = Step(case.module, case.args)
    if way == "module":
        outcome = shared.ansible.module(step, env=case.env)
    else:
        outcome = shared.ansible.play([step], env=case.env)[0] if case.env else played[case.label]
    if case.label in BY_THE_PLANE:
        assert outcome.failed
        for word in case.words:
            assert word in outcome.msg
    else:
        outcome.refused(*case.words)
    assert listed(shared) == before == [[], []]
    assert "canary" not in str(outcome.result)
    assert "\n" not in outcome.msg.strip()


def listed(project: Project) -> list[list[str]]:
    """The accounts and profiles that there are."""
    return [list(project.api.names(kind)) for kind in ("cloudaccounts", "clusterprofiles")]


@pytest.mark.parametrize("way", WAYS)
def test_an_unreachable_plane_is_named(ansible: Ansible, way: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        outcome = ansible.one("project", {"name": "x", "api_url": url, "retries": 1}, way=way)
    outcome.refused(url, "cannot be reached", "api_url", "HTTPS_PROXY")


@pytest.mark.parametrize("way", WAYS)
def test_an_existing_object_takes_no_bad_change(project: Project, way: str) -> None:
    project.ansible.play([Step("cluster_profile", PROFILE.named("p"))])
    before = PROFILE.snapshot(project.api, "p")
    for change, words in (
        ({"packs": [{"name": "cni-calico", "state": "absent"}]}, ("the layer cni is missing",)),
        ({"packs": [{"name": "cni-cilium-oss"}]}, ("cni-calico stays of the profile as it is", "with state absent")),
        ({"packs": [{"name": "kubernetes", "version": "1.2.3"}]}, ("1.2.3",)),
        ({"cloud": "vsphere"}, ("cloud is 'aws' and cannot be changed to 'vsphere'", "Make another cluster profile")),
        ({"type": "infra"}, ("type is 'cluster' and cannot be changed to 'infra'", "Make another cluster profile")),
    ):
        project.ansible.one("cluster_profile", {"name": "p", **change}, way=way).refused(*words)
    assert PROFILE.snapshot(project.api, "p") == before
