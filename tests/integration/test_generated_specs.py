# SPDX-License-Identifier: GPL-3.0-or-later
# Strategies of mixed values are beyond what their stubs can say.
# mypy: disable-error-code="call-overload, arg-type, return-value"
"""For generated specifications the second run changes nothing, and check mode foretells what the run does.

The operation of a module is called as its two edges call it, without a process for each task, against a real plane.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.paletteops.modes.plugins.module_utils import ratelimit
from ansible_collections.paletteops.modes.plugins.module_utils.operation import plain, session_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.hosts import Fleet, make_token, register
from support.plane import RunningPlane
from support.project import Project, fresh_project
from support.runs import NO_RATE, Step, Values
from support.specs import CLUSTER_NEEDS, namespace

BOUNDED = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # a smaller example would cost minutes of calls
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def inhabited(plane: RunningPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with what clusters need, for calls without a limit."""
    with fresh_project(plane, tmp_path_factory.mktemp("generated")) as project, pytest.MonkeyPatch.context() as patch:
        project.ansible.prepare([*CLUSTER_NEEDS, *CATALOGUE])
        patch.setattr(ratelimit, "DEFAULT_RATE", NO_RATE)
        patch.setattr(ratelimit, "RATES", {})
        patch.setenv("TMPDIR", str(project.ansible.temporary))
        yield project


def operate(project: Project, module: str, args: Values, check: bool = False) -> Values:
    """What a task with these options returns. Raises where it fails."""
    operation = importlib.import_module(f"ansible_collections.paletteops.modes.plugins.modules.{module}").OPERATION
    connection = {"api_url": project.plane.url, "api_key": project.plane.key, "project": project.name}
    validated = ArgumentSpecValidator(operation.argument_spec, **operation.constraints).validate({**args, **connection})
    assert not validated.error_messages, validated.error_messages
    nothing = lambda text: None  # noqa: E731
    session = session_of(operation, plain(validated.validated_parameters), check, True, None, nothing, nothing, nothing)
    done: Values = operation.run(session)
    return done


def live(project: Project, module: str, specs: list[Values]) -> list[bool]:
    """Each of the specifications in turn, for one object; returns whether each changed something."""
    name = f"g-{next(_numbers)}"
    changed = []
    for spec in specs:
        args = {**spec, "name": name}
        foretold = operate(project, module, args, check=True)
        done = operate(project, module, args)
        assert foretold["changed"] == done["changed"]
        assert foretold["diff"] == done["diff"]
        again = operate(project, module, args)
        assert not again["changed"], again["diff"]
        assert again["diff"]["before"] == again["diff"]["after"]
        assert within(done[module], again[module])
        changed.append(bool(done["changed"]))
    return changed


def within(part: Any, whole: Any) -> bool:
    """Whether a result says what another one says, too, which may say more: what the plane assumes by itself."""
    if isinstance(part, dict):
        return all(value in ({}, []) or within(value, whole.get(key)) for key, value in part.items())
    if isinstance(part, list):
        return all(any(within(item, other) for other in whole) for item in part)
    return bool(part == whole)


# --- what is generated ---

words = st.text("abcdefghijklmnop -_.:äß/'\"#{}[]&*%", min_size=1, max_size=20).filter(
    lambda text: text.strip() == text
)
keys = st.sampled_from(["team", "owner", "country", "tier"])
tags = st.dictionaries(keys, st.sampled_from(["", "a", "B-2", "x.y"]), max_size=3)
described = {"description": words | st.just(""), "tags": tags}

projects = st.fixed_dictionaries({}, optional=described)

documents = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "text", "on", "1.10", "# no comment", "ä"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=6,
).map(lambda inner: {"root": inner})
values = documents | documents.map(lambda document: yaml.safe_dump(document, sort_keys=False))

manifests = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["one", "two", "three"]), "content": st.sampled_from("abc").map(namespace)}
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda item: item["name"],
)
catalogue_packs = st.fixed_dictionaries(
    {"name": st.sampled_from(["nginx", "argo-cd", "cert-manager", "prometheus-operator"])},
    optional={"version": st.just("x"), "values": values, "manifests": manifests},
)
manifest_packs = st.fixed_dictionaries(
    {"name": st.sampled_from(["layer-1", "layer-2"]), "type": st.just("manifest"), "manifests": manifests}
)
packs = st.lists(catalogue_packs | manifest_packs, min_size=1, max_size=4, unique_by=lambda item: item["name"])
variables = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["tier", "port", "size"])},
        optional={
            "display_name": words,
            "description": words,
            "default_value": st.sampled_from(["1", "22", "333"]),
            "format": st.sampled_from(["string", "number"]),
            "required": st.booleans(),
            "hidden": st.just(False),
            "immutable": st.booleans(),
            "is_sensitive": st.just(False),
        },
    ),
    max_size=3,
    unique_by=lambda item: item["name"],
)
profiles = st.fixed_dictionaries(
    {"type": st.just("add-on"), "packs": packs},
    optional={**described, "variables": variables, "publish": st.booleans(), "upgrade": st.booleans()},
)

taints = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["dedicated", "gpu"]),
            "effect": st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        },
        optional={"value": st.sampled_from(["web", "jobs"])},
    ),
    max_size=2,
    unique_by=lambda item: (item["key"], item["effect"]),
)
strategies = st.one_of(
    # What only OverrideScaling has must be emptied: an update leaves alone what it does not name.
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["RollingUpdateScaleOut", "RollingUpdateScaleIn"]),
            "max_surge": st.just(""),
            "max_unavailable": st.just(""),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("OverrideScaling"),
            "max_surge": st.sampled_from(["1", "25%"]),
            "max_unavailable": st.just("0"),
        }
    ),
)
labels = st.dictionaries(st.sampled_from(["purpose", "zone"]), st.sampled_from(["web", "jobs"]), max_size=2)
common_pool = {
    "taints": taints,
    "additional_labels": labels,
    "additional_annotations": labels,
    "additional_tags": labels,
    "update_strategy": strategies,
    "skip_k8s_upgrade": st.sampled_from(["enabled", "disabled"]),
}
sizes = st.one_of(
    st.fixed_dictionaries({"size": st.integers(0, 4)}),
    st.fixed_dictionaries({"size": st.just(2), "min_size": st.integers(0, 2), "max_size": st.integers(2, 6)}),
)
MACHINE = {
    "aws": {"instance_type": st.sampled_from(["m6i.large", "m6i.xlarge"])},
    "vsphere": {
        "instance_type": st.fixed_dictionaries(
            {"num_cpus": st.sampled_from([2, 4]), "memory_mib": st.just(8192), "disk_gib": st.sampled_from([60, 80])}
        ),
        "placements": st.lists(
            st.fixed_dictionaries(
                {"cluster": st.sampled_from(["c1", "c2"]), "datastore": st.just("d"), "network": st.just("n")},
                optional={"resource_pool": st.just("r")},
            ),
            min_size=1,
            max_size=2,
        ),
    },
}
MORE = {
    "aws": {
        "capacity_type": st.sampled_from(["on-demand", "spot"]),
        "azs": st.lists(st.sampled_from(["eu-central-1a", "eu-central-1b"]), unique=True, max_size=2),
        "root_device_size": st.integers(20, 200),
        "additional_security_groups": st.lists(st.sampled_from(["sg-1", "sg-2"]), unique=True, max_size=2),
    },
    "vsphere": {},
}
CONFIG: dict[str, st.SearchStrategy[Values]] = {
    "aws": st.fixed_dictionaries({"region": st.just("eu-central-1")}, optional={"bastion_disabled": st.booleans()}),
    "vsphere": st.fixed_dictionaries(
        {"datacenter": st.just("dc"), "folder": st.just("f")},
        optional={
            "ssh_keys": st.lists(st.sampled_from(["key-1", "key-2"]), unique=True, max_size=2),
            "ntp_servers": st.lists(st.sampled_from(["ntp-1", "ntp-2"]), unique=True, max_size=2),
        },
    ),
}
#: The control plane of a cloud: what may not change there stays.
CONTROL: dict[str, Values] = {
    "aws": {"instance_type": "m6i.large"},
    "vsphere": {
        "instance_type": {"num_cpus": 4, "memory_mib": 8192, "disk_gib": 60},
        "placements": [{"cluster": "c1", "datastore": "d", "network": "n"}],
    },
}
#: Another version of the add-on of CLUSTER_NEEDS, within its range.
CATALOGUE = (Step("cluster_profile", {**CLUSTER_NEEDS[-1].args, "version": "1.1.1"}),)


@st.composite
def clusters(draw: st.DrawFn, cloud: str) -> Values:
    names = draw(st.lists(st.sampled_from(["workers", "batch", "edge"]), unique=True, max_size=3))
    pool = st.fixed_dictionaries(MACHINE[cloud], optional={**common_pool, **MORE[cloud]})
    control = {"name": "control", "control_plane": True, "size": draw(st.sampled_from([1, 3])), **CONTROL[cloud]}
    overrides = st.fixed_dictionaries({"name": st.just("nginx")}, optional={"values": values, "manifests": manifests})
    infrastructure: Values = {"name": f"base-{cloud}"}
    if draw(st.booleans()):
        infrastructure["variables"] = draw(
            st.dictionaries(st.sampled_from(["tier", "port"]), st.integers(1, 9), max_size=2)
        )
    if draw(st.booleans()):
        infrastructure["packs"] = [draw(overrides)]
    spec: Values = {
        "cloud": cloud,
        "cloud_account": cloud,
        "cloud_config": draw(CONFIG[cloud]),
        "profiles": [infrastructure],
        "pools": [control, *({"name": name, **draw(sizes), **draw(pool)} for name in names)],
        **draw(st.fixed_dictionaries({}, optional=described)),
    }
    if draw(st.booleans()):
        spec["profiles"].append({"name": "platform", "version": draw(st.sampled_from(["1.x", "1.0.0", "1.1.x"]))})
    purge = ["pools", "tags", "additional_labels", "additional_tags"]
    spec["purge"] = draw(st.lists(st.sampled_from(purge), unique=True, max_size=2))
    return spec


@BOUNDED
@given(st.lists(projects, min_size=1, max_size=3))
def test_projects(inhabited: Project, specs: list[Values]) -> None:
    live(inhabited, "project", specs)


@BOUNDED
@given(st.lists(profiles, min_size=1, max_size=2))
def test_cluster_profiles(inhabited: Project, specs: list[Values]) -> None:
    live(inhabited, "cluster_profile", specs)


@pytest.mark.parametrize("cloud", ["aws", "vsphere"])
@BOUNDED
@given(data=st.data())
def test_clusters(inhabited: Project, cloud: str, data: st.DataObject) -> None:
    live(inhabited, "cluster", data.draw(st.lists(clusters(cloud), min_size=1, max_size=2)))


# --- clusters of hosts ---

#: What pools of hosts have in common with those of clouds.
host_pool = st.fixed_dictionaries({}, optional={k: v for k, v in common_pool.items() if k != "skip_k8s_upgrade"})
host_config = st.fixed_dictionaries(
    {"vip": st.just("192.0.2.250")},
    optional={
        "ssh_keys": st.lists(
            st.sampled_from(["ssh-ed25519 AAAA one", "ssh-ed25519 AAAA two"]), unique=True, max_size=2
        ),
        "ntp_servers": st.lists(st.sampled_from(["ntp-1", "ntp-2"]), unique=True, max_size=2),
    },
)


@st.composite
def clusters_of_hosts(draw: st.DrawFn, uids: list[str]) -> list[Values]:
    """A cluster, and the same with one thing more or other: at least one of the hosts is free at first."""
    *some, free = draw(st.permutations(uids))
    number = draw(st.sampled_from([1, 3]))
    rest = some[number : draw(st.integers(number, len(some)))]
    cut = draw(st.integers(0, len(rest)))
    workers = {name: hosts for name, hosts in (("workers", rest[:cut]), ("batch", rest[cut:])) if hosts}
    spec: Values = {
        "cloud": "edge-native",
        "cloud_config": draw(host_config),
        "profiles": [{"name": "base-edge-native"}],
        "pools": [
            {"name": "control", "control_plane": True, "hosts": [{"host": uid} for uid in some[:number]]},
            *({"name": name, "hosts": hosts, **draw(host_pool)} for name, hosts in workers.items()),
        ],
        **draw(st.fixed_dictionaries({}, optional=described)),
    }
    *pools, last = spec["pools"]
    grown = {**last, "hosts": [*last["hosts"], free]} if pools else {"name": "workers", "hosts": [free]}
    change: Values = draw(
        st.sampled_from(
            [
                {"pools": [*pools, grown] if pools else [last, grown]},
                {"pools": [*pools, {**last, "additional_labels": {"purpose": "other"}}]},
                {"cloud_config": {**spec["cloud_config"], "ntp_servers": ["ntp-3"]}},
                {"tags": {"team": "another"}},
                {"profiles": [*spec["profiles"], {"name": "platform", "version": "1.x"}]},
            ]
        )
    )
    return [spec, {**spec, **change}]


@pytest.fixture(scope="module")
def fleet(inhabited: Project) -> Iterator[Fleet]:
    with Fleet() as running:
        yield running
    assert not running.errors


@settings(BOUNDED, max_examples=12)
@given(data=st.data())
def test_clusters_of_hosts(inhabited: Project, fleet: Fleet, data: st.DataObject) -> None:
    label = f"h-{next(_numbers)}"
    secret = make_token(inhabited.tenant, f"{inhabited.name}-{label}", inhabited.uid)
    hosts = [
        register(inhabited.plane, secret, f"{label}-{number}", address=f"192.0.2.{11 + number}") for number in range(6)
    ]
    fleet.hosts += hosts
    specs = data.draw(clusters_of_hosts([host.uid for host in hosts]))
    assert live(inhabited, "cluster", specs) == [True, True]
    for host in hosts:  # its cluster stays as it is
        fleet.silent.add(host.uid)
