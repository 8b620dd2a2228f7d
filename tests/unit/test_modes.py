# SPDX-License-Identifier: GPL-3.0-or-later
"""The mode table, the inventory's variables, and what is found wrong with them."""

from __future__ import annotations

import copy
import dataclasses
import re
from typing import Any

import hypothesis.strategies as st
import pytest
import yaml
from ansible_collections.paletteops.modes.plugins.module_utils.cluster import Cluster
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.module_utils.modes import (
    MODES,
    VARIABLES,
    check_cluster,
    check_host,
)
from ansible_collections.paletteops.modes.plugins.module_utils.operation import CONNECTION_SPEC
from ansible_collections.paletteops.modes.plugins.module_utils.resource import resource_operation
from ansible_collections.paletteops.modes.plugins.plugin_utils.inventory import shared_objects, summary
from hypothesis import given
from support.collection import NAME, REPOSITORY

Variables = dict[str, Any]

AWS: Variables = {
    "palette_mode": "controller",
    "palette_project": "retail",
    "palette_cloud": "aws",
    "palette_cloud_account": "retail-aws",
    "palette_cloud_config": {"region": "eu-central-1"},
    "palette_profiles": [{"name": "base-aws", "version": "1.2.x", "variables": {"tier": "gold"}}],
    "palette_pools": [
        {"name": "control-plane", "control_plane": True, "size": 3, "instance_type": "m6i.large"},
        {"name": "workers", "size": 2, "max_size": 6, "instance_type": "m6i.xlarge"},
    ],
}

VSPHERE: Variables = {
    **AWS,
    "palette_cloud": "vsphere",
    "palette_cloud_config": {"datacenter": "plant", "folder": "clusters"},
    "palette_pools": [
        {
            "name": "control-plane",
            "control_plane": True,
            "size": 1,
            "instance_type": {"num_cpus": 4, "memory_mib": 8192, "disk_gib": 60},
            "placements": [{"cluster": "c", "datastore": "d", "network": "n"}],
        }
    ],
}

AGENT: Variables = {
    "palette_mode": "agent",
    "palette_vip": "192.0.2.10",
    "palette_profiles": [{"name": "base-edge"}],
    "palette_pools": [
        {"name": "control-plane", "control_plane": True, "hosts": ["cp-1", {"host": "cp-2"}, "cp-3"]},
        {"name": "workers", "host_tags": {"role": "worker"}},
    ],
}

HOST: Variables = {
    "palette_host_uid": "cp-1",
    "palette_host_tags": {"plant": 7},
    "palette_registration_token": "plants",
    "palette_agent_url": "https://files.example/palette-agent",
    "palette_agent_checksum": "sha256:00",
    "palette_agent_user_data": {"stylus": {"debug": True}},
    "palette_patch_batch": "25%",
}

CANARY = "canary-7f3a-secret"


def changed(base: Variables, **variables: Any) -> Variables:
    """The variables with others; ``...`` takes one away."""
    found = {**copy.deepcopy(base), **{f"palette_{name}": value for name, value in variables.items()}}
    return {name: value for name, value in found.items() if value is not ...}


def pools(base: Variables, number: int, **values: Any) -> Variables:
    found = copy.deepcopy(base)
    pool = {**found["palette_pools"][number], **values}
    found["palette_pools"][number] = {name: value for name, value in pool.items() if value is not ...}
    return found


# --- the tables ---


def test_the_mode_table_is_that_of_the_readme() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    head = next(row for row in rows if row[1:] == list(MODES))
    table = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows[: rows.index(head) + 8] if len(row) == 4}
    for name, mode in MODES.items():
        assert table["infrastructure"][name].startswith("provisioned by the") == (mode.infrastructure == "plane")
        assert table["OS mutability"][name] == mode.mutability
        assert (table["cloud account credentials"][name] == "required") == mode.cloud_credentials
        assert table["management"][name] == " or ".join(mode.management)
        assert table["state of this collection"][name].startswith("**works**") == mode.works


def test_each_mode_that_works_has_a_role_and_each_other_says_so() -> None:
    for name, mode in MODES.items():
        assert (REPOSITORY / "roles" / name).is_dir() == mode.works
        tasks = (REPOSITORY / "playbooks" / "tasks" / f"{name}.yml").read_text("utf-8")
        assert ("does not have yet" in tasks) != mode.works


def test_every_option_of_a_cluster_is_a_variable() -> None:
    options = set(resource_operation(Cluster).options) - {"state", "wait", "upgrade"}
    assert options <= set(VARIABLES)
    assert set(CONNECTION_SPEC) <= set(VARIABLES)


def test_role_and_playbooks_know_no_other_variables_than_the_table() -> None:
    files = [*(REPOSITORY / "roles").rglob("*.yml"), *(REPOSITORY / "playbooks").rglob("*.yml")]
    used = {name for file in files for name in re.findall(r"\bpalette_(?!_)[a-z_]+\b", file.read_text("utf-8"))}
    groups = {"palette_clusters", "palette_hosts", "palette_makers", "palette_mode_", "palette_patch"}
    groups |= {f"palette_mode_{name}" for name in MODES}
    assert used - {f"palette_{name}" for name in VARIABLES} <= groups


def test_the_foundation_hands_every_option_of_a_shared_object_to_its_module() -> None:
    plays = yaml.safe_load((REPOSITORY / "playbooks" / "foundation.yml").read_text("utf-8"))
    tasks = {key: task[key] for play in plays for task in play.get("tasks", []) for key in task}
    for variable in VARIABLES.values():
        if variable.items is not None:
            scope = set() if variable.items.tenant else {"project"}
            assert (
                set(tasks[f"{NAME}.{variable.items.kind}"]) == set(resource_operation(variable.items).options) | scope
            )


def test_the_role_hands_every_option_of_a_cluster_to_the_module() -> None:
    text = "".join(file.read_text("utf-8") for file in (REPOSITORY / "roles/cluster/tasks").glob("*.yml"))
    for name in set(resource_operation(Cluster).options) - {"state", "wait", "upgrade"}:
        assert re.search(rf"^    {name}: ", text, re.MULTILINE), f"the role never names {name}"


# --- a cluster's variables ---


@pytest.mark.parametrize("variables", [AWS, VSPHERE, AGENT, {**AGENT, **HOST}, changed(AWS, api_key=CANARY, serial=2)])
def test_what_fits_is_not_found(variables: Variables) -> None:
    assert check_cluster({**variables, "palette__internal": 1, "other": 2, "palette_description": None}) == []


BAD = {
    "no mode": (changed(AWS, mode=...), "palette_mode is missing", "controller, appliance, agent"),
    "unknown mode": (changed(AWS, mode="controler"), "palette_mode", "controler"),
    "unknown variable": (changed(AWS, clud="aws"), "no variable palette_clud", "palette_cloud"),
    "a stranger": (changed(AWS, zzz_qqq_own=1), "palette_zzz_qqq_own", "another prefix"),
    "no cloud": (changed(AWS, cloud=...), "palette_cloud is missing", "controller mode"),
    "no account": (changed(AWS, cloud_account=...), "palette_cloud_account is missing", "controller mode"),
    "no pools": (changed(AWS, pools=...), "palette_pools is missing", "Set it"),
    "cloud that is not there": (changed(AWS, cloud="gcp"), "palette_cloud", "aws, edge-native, vsphere"),
    "cloud account in agent mode": (
        changed(AGENT, cloud_account="retail-aws"),
        "retail-aws",
        "agent mode takes no cloud",
    ),
    "cloud in agent mode": (changed(AGENT, cloud="aws"), "palette_cloud is 'aws'", "controller"),
    "cloud config of a cloud in agent mode": (
        changed(AGENT, cloud_config={"region": "x"}),
        "palette_cloud_config.region belongs to aws, and the cloud is edge-native",
        "ssh_keys",
    ),
    "hosts in controller mode": (
        changed(AWS, cloud="edge-native"),
        "in controller mode the management plane provides the machines",
        "appliance or agent",
    ),
    "no address": (changed(AGENT, vip=...), "palette_vip is missing", "Name vip"),
    "two addresses": (
        changed(AGENT, endpoint={"host": "lb.example"}),
        "palette_endpoint.host is 'lb.example'",
        "Take one out",
    ),
    "address that is none": (
        changed(AGENT, vip="192.0.2.300"),
        "palette_vip is '192.0.2.300', which is no IP address",
        "Correct",
    ),
    **{
        f"address of no host, {address}": (
            changed(AGENT, vip=address),
            f"palette_vip is '{address}', which no host of a network can have",
            "Name an address of the hosts' network",
        )
        for address in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.1.1", "::1", "fe80::1")
    },
    "kind of endpoint": (changed(AGENT, vip=..., endpoint={"host": "h", "type": "VIP"}), "palette_endpoint", "Correct"),
    "no hosts": (pools(AGENT, 0, hosts=...), "palette_pools.control-plane.hosts is missing", "Name it"),
    "even hosts": (pools(AGENT, 0, hosts=["a", "b"]), "pools.control-plane has 2 hosts", "1, 3, 5 or 7"),
    "a host twice": (
        pools(AGENT, 1, hosts=["cp-1"], host_tags=...),
        "The host 'cp-1' is in the pools control-plane and workers",
        "Take it out of the others",
    ),
    "size of hosts": (pools(AGENT, 1, size=3, host_tags=..., hosts=["a"]), "pools.workers.size is 3", "Take it out"),
    "largest size of hosts": (pools(AGENT, 1, max_size=3), "pools.workers.max_size is '3'", "Take it out"),
    "key of a host": (pools(AGENT, 0, hosts=[{"host": "a", "nik": {}}]), "hosts.a.nik does not exist", "nic"),
    "static address": (
        changed(AGENT, cloud_config={"static_ip": True}),
        "pools.control-plane.hosts.cp-1.nic.ip is missing",
        "Name it",
    ),
    "agent in controller mode": (changed(AWS, agent_url="https://x"), "installs no agent on hosts", "agent"),
    "agent in appliance mode": (changed(AGENT, mode="appliance", agent_fips=True), "installs no agent", "agent"),
    "token in controller mode": (changed(AWS, registration_token="t"), "has no hosts of the user's", "agent"),
    "patch in controller mode": (changed(AWS, patch_reboot="auto"), "to patch", "agent"),
    "reboot": (changed(AGENT, patch_reboot="maybe"), "palette_patch_reboot", "auto, always, never"),
    "requirements": (changed(AGENT, agent_requirements={"cpu": 2}), "palette_agent_requirements.cpu", "cpus"),
    "token key": (
        changed(AGENT, registration_tokens=[{"name": "plants", "expires": "90d"}]),
        "palette_registration_tokens.plants.expires",
        "expires_in",
    ),
    "Trusted Boot in agent mode": (changed(AGENT, trusted_boot=True), "agent mode has no Trusted Boot", "appliance"),
    "Trusted Boot with local management": (
        changed(AGENT, mode="appliance", trusted_boot=True, management="local"),
        "central management only",
        "Take one of them out",
    ),
    "two nodes in agent mode": (changed(AGENT, two_node=True), "two-node", "appliance"),
    "two nodes in the cloud config": (
        changed(AGENT, cloud_config={"two_node": True}),
        "palette_cloud_config.two_node is set, and agent mode has no two-node",
        "appliance",
    ),
    "local management": (changed(AGENT, management="local"), "'local', which this version", "central"),
    "Local UI in controller mode": (changed(AWS, management="local"), "controller mode", "Local UI"),
    "address in controller mode": (changed(AWS, vip="192.0.2.1"), "192.0.2.1", "agent"),
    "pool key": (pools(AWS, 1, instance_typ="x"), "palette_pools.workers.instance_typ", "instance_type"),
    "key in a pool's taint": (pools(AWS, 1, taints=[{"kee": "x"}]), "taints.0.kee", "key"),
    "key of another cloud": (pools(AWS, 1, placements=[]), "placements", "vsphere"),
    "profile key": (changed(AWS, profiles=[{"name": "a", "verion": "1"}]), "palette_profiles.a.verion", "version"),
    "cloud config key": (changed(AWS, cloud_config={"regin": "x"}), "palette_cloud_config.regin", "region"),
    "no region": (changed(AWS, cloud_config=...), "palette_cloud_config.region is missing", "Name it"),
    "no instance type": (pools(AWS, 1, instance_type=None), "palette_pools.workers.instance_type", "Name it"),
    "no placement": (pools(VSPHERE, 0, placements=None), "palette_pools.control-plane.placements", "Name it"),
    "size that is no number": (pools(AWS, 1, size="many"), "palette_pools", "many"),
    "even control plane": (pools(AWS, 0, size=2), "palette_pools.control-plane.size is 2", "1, 3, 5 or 7"),
    "control plane of none": (pools(AWS, 0, size=0), "palette_pools.control-plane.size is 0", "1, 3, 5 or 7"),
    "no control plane": (pools(AWS, 0, control_plane=False), "control_plane: true", "Mark exactly one"),
    "size beyond the largest": (pools(AWS, 1, size=9), "palette_pools.workers.size is 9", "Move one of them"),
    "a word for a list": (changed(AWS, pools=7), "palette_pools", "list"),
    "verification": (changed(AWS, verify="node"), "palette_verify", "plane, nodes, none"),
    "account key": (
        changed(AWS, cloud_accounts=[{"name": "a", "clod": "aws"}]),
        "palette_cloud_accounts.a.clod",
        "cloud",
    ),
    "credential key": (
        changed(AWS, cloud_accounts=[{"name": "a", "cloud": "aws", "credentials": {"secret_kye": CANARY}}]),
        "palette_cloud_accounts.a.credentials.secret_kye",
        "secret_key",
    ),
    "credential of another cloud": (
        changed(AWS, cloud_accounts=[{"name": "a", "cloud": "aws", "credentials": {"password": CANARY}}]),
        "credentials.password",
        "vsphere",
    ),
    "profile pack key": (
        changed(AWS, cluster_profiles=[{"name": "a", "packs": [{"name": "nginx", "vaules": ""}]}]),
        "palette_cluster_profiles.a.packs.nginx.vaules",
        "values",
    ),
    "project without a name": (changed(AWS, projects=[{"tags": {}}]), "palette_projects.0", "name"),
}


@pytest.mark.parametrize("variables, names, way_out", BAD.values(), ids=BAD)
def test_what_does_not_fit_is_named_with_the_way_out(variables: Variables, names: str, way_out: str) -> None:
    findings = check_cluster(variables)
    assert findings
    texts = [finding.text for finding in findings]
    assert any(names in text and way_out in text for text in texts), texts
    assert all(finding.rule and finding.way_out for finding in findings), findings


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, ()),
        (HOST, ()),
        ({**AGENT, **HOST}, ()),
        ({**HOST, "palette_mode": "controller"}, ("palette_mode is 'controller'", "appliance or agent")),
        ({**HOST, "palette_host_udi": "x"}, ("no variable palette_host_udi", "palette_host_uid")),
        ({**HOST, "palette_host_tags": 7}, ("palette_host_tags", "dict")),
        ({**HOST, "palette_agent_requirements": {"cpu": 1}}, ("palette_agent_requirements.cpu", "cpus")),
    ],
)
def test_a_host_needs_no_variable_and_each_it_has_is_checked(variables: Variables, words: tuple[str, ...]) -> None:
    texts = [finding.text for finding in check_host(variables)]
    assert len(texts) == bool(words), texts
    for word in words:
        assert word in texts[0]


def test_all_findings_come_at_once() -> None:
    variables = changed(pools(AWS, 0, size=2), clud="aws", trusted_boot=True, cloud_account=...)
    assert {finding.variable for finding in check_cluster(variables)} == {
        "palette_pools",
        "palette_clud",
        "palette_trusted_boot",
        "palette_cloud_account",
    }


@pytest.mark.parametrize(
    "variables",
    [
        changed(AGENT, api_key=CANARY, cloud_account=["x", CANARY]),
        changed(AGENT, agent_user_data=[CANARY]),
        changed(AWS, agent_user_data={"stylus": {"site": {"edgeHostToken": CANARY}}}),
        changed(AWS, timeout="soon", api_key={"is": CANARY}),
        changed(AWS, cloud_accounts=CANARY),
        changed(AWS, cloud_accounts=[CANARY]),
        changed(AWS, cloud_accounts=[{"name": "a", "cloud": "aws", "credentials": CANARY}]),
        changed(
            AWS, cloud_accounts=[{"name": "a", "cloud": "aws", "credentials": {"secret_key": [CANARY], "sts": CANARY}}]
        ),
        changed(AWS, cluster_profiles=[{"name": "a", "variables": CANARY}]),
        changed(AWS, profiles=[{"name": "a", "variables": CANARY, "verion": CANARY}]),
    ],
)
def test_no_finding_shows_a_secret(variables: Variables) -> None:
    findings = check_cluster(variables)
    assert findings
    assert CANARY not in str([dataclasses.asdict(finding) for finding in findings])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "size", "cloud", "credentials", "packs", "state"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(
    st.sampled_from([AWS, VSPHERE, AGENT]), st.dictionaries(st.sampled_from(sorted(VARIABLES)), ANYTHING, max_size=4)
)
def test_whatever_is_in_a_variable_is_a_finding_or_nothing(base: Variables, values: Variables) -> None:
    for finding in check_cluster(changed(base, **values)):
        assert finding.variable.startswith("palette_")
        assert finding.rule and finding.way_out


# --- shared objects of several clusters ---


def account(secret: str = "s", **values: Any) -> Variables:
    return {"name": "retail-aws", "cloud": "aws", "credentials": {"secret_key": secret}, **values}


def test_each_shared_object_is_made_once_by_the_first_that_names_it() -> None:
    both = {
        "palette_project": "retail",
        "palette_cloud_accounts": [account(CANARY)],
        "palette_projects": [{"name": "retail"}],
    }
    more = {**both, "palette_cluster_profiles": [{"name": "base"}, {"name": "base", "version": "1.1.0"}]}
    made = shared_objects({"a": both, "b": more, "c": both})
    assert made == [
        {
            "cluster": "a",
            "shared": {
                "projects": [{"name": "retail", "number": 0}],
                "registration_tokens": [],
                "cloud_accounts": [{"project": "retail", "name": "retail-aws", "number": 0}],
                "cluster_profiles": [],
            },
        },
        {
            "cluster": "b",
            "shared": {
                "projects": [],
                "registration_tokens": [],
                "cloud_accounts": [],
                "cluster_profiles": [
                    {"project": "retail", "name": "base", "version": "1.0.0", "number": 0},
                    {"project": "retail", "name": "base", "version": "1.1.0", "number": 1},
                ],
            },
        },
    ]
    assert CANARY not in str(made)


def test_another_project_or_another_plane_is_another_object() -> None:
    clusters = {
        "a": {"palette_project": "one", "palette_cloud_accounts": [account("x")]},
        "b": {"palette_project": "two", "palette_cloud_accounts": [account("y")]},
        "c": {"palette_project": "one", "palette_api_url": "https://p", "palette_cloud_accounts": [account("z")]},
        "d": {"palette_project": "one", "palette_cloud_accounts": [account("y", project="two")]},
    }
    with pytest.raises(PaletteError, match="'b' and 'd'"):  # the definition of d names its project, that of b does not
        shared_objects(clusters)
    del clusters["d"]
    assert [item["cluster"] for item in shared_objects(clusters)] == ["a", "b", "c"]


def test_without_shared_objects_the_first_cluster_is_there() -> None:
    made = shared_objects({"a": {}, "b": {}})
    assert [item["cluster"] for item in made] == ["a"]
    assert not any(made[0]["shared"].values())


def test_two_definitions_of_one_object_are_refused_naming_both_clusters_and_no_secret() -> None:
    clusters = {"a": {"palette_cloud_accounts": [account(CANARY)]}, "b": {"palette_cloud_accounts": [account("other")]}}
    with pytest.raises(PaletteError, match="retail-aws") as refused:
        shared_objects(clusters)
    assert "'a' and 'b'" in refused.value.message
    assert CANARY not in refused.value.message
    with pytest.raises(PaletteError, match="twice"):
        shared_objects({"a": {"palette_cloud_accounts": [account("x"), account("y")]}})


def test_two_hosts_that_are_one_cluster_are_refused() -> None:
    with pytest.raises(PaletteError, match="'a' and 'b' are both the cluster 'a'"):
        shared_objects({"a": {}, "b": {"palette_name": "a"}})
    assert shared_objects({"a": {"palette_project": "x"}, "b": {"palette_name": "a", "palette_project": "y"}})


# --- the summary ---

READY = {
    "failed": False,
    "cluster": {"state": "Running", "health": "Healthy", "nodes": 5, "healthy_nodes": 5, "seconds": 7},
}
SUBMITTED = {"failed": False, "changed": True}


def test_the_summary_has_a_line_for_each_cluster_and_says_what_is_wrong() -> None:
    stuck = {
        "failed": True,
        "msg": "no such type",
        "cluster": {"state": "Provisioning", "nodes": 5, "healthy_nodes": 3},
    }
    clusters = {
        "good": {**AWS, "palette__cluster": SUBMITTED, "palette__ready": READY},
        "stuck": {**AWS, "palette__cluster": SUBMITTED, "palette__ready": stuck},
        "refused": {**AWS, "palette__cluster": {"failed": True, "msg": "no such account"}},
        "early": AWS,
    }
    lines = summary(clusters, ["good", "stuck", "refused"], check_mode=False)
    assert lines[0].split() == ["cluster", "mode", "cloud", "state", "health", "nodes", "seconds"]
    assert lines[1].split() == ["good", "controller", "aws", "Running", "Healthy", "5/5", "7"]
    assert lines[2].split() == ["stuck", "controller", "aws", "Provisioning", "3/5"]
    assert lines[3].split() == ["refused", "controller", "aws", "failed"]
    assert lines[4].split() == ["early", "controller", "aws", "failed"]
    assert lines[5:7] == ["stuck: no such type", "refused: no such account"]
    assert lines[7].startswith("early: ")


def test_the_summary_says_where_kubeconfigs_are() -> None:
    places = {"a": "/home/ops/.kube/retail/a", "b": "/home/ops/.kube/retail/b", "c": "/srv/c"}
    clusters: dict[str, Any] = {
        name: {**AWS, "palette__cluster": SUBMITTED, "palette__ready": READY, "palette__kubeconfig": {"dest": dest}}
        for name, dest in places.items()
    }
    clusters["d"] = {**AWS, "palette__cluster": SUBMITTED, "palette__kubeconfig": {"dest": "/x/d", "failed": True}}
    lines = summary(clusters, list(clusters), check_mode=False)
    assert lines[5:7] == ["kubeconfigs in /home/ops/.kube/retail/ are a, b", "kubeconfigs in /srv/ are c"]
    assert not any("/x" in line for line in lines)
    assert not any("kubeconfigs" in line for line in summary(clusters, list(clusters), check_mode=True))


def test_the_summary_waits_for_the_last_cluster_unless_one_has_failed() -> None:
    done = {**AWS, "palette__cluster": SUBMITTED, "palette__ready": READY}
    assert summary({"a": done, "b": AWS}, ["a", "b"], check_mode=False) == []
    failed = {**AWS, "palette__cluster": {"failed": True, "msg": "no"}}
    lines = summary({"a": failed, "b": AWS}, ["a", "b"], check_mode=False)
    assert [line.split()[0] for line in lines] == ["cluster", "a", "b", "a:"]
    assert lines[2].endswith("not reached")


def test_the_summary_shows_a_repave_that_waits_in_place_of_the_health() -> None:
    waiting = {"failed": True, "msg": "approve it", "cluster": {**READY["cluster"], "repave": "Pending"}}  # type: ignore[dict-item]
    lines = summary({"a": {**AWS, "palette__cluster": SUBMITTED, "palette__ready": waiting}}, ["a"], check_mode=False)
    assert "repave waits" in lines[1]


@pytest.mark.parametrize(
    "results, check_mode, state",
    [
        ({"cluster": SUBMITTED}, False, "submitted"),
        ({"cluster": SUBMITTED}, True, "change foretold"),
        ({"cluster": {"changed": False}}, True, "unchanged"),
        ({"cluster": SUBMITTED, "gone": {"changed": False}}, False, "gone"),
        ({"cluster": SUBMITTED, "gone": {"changed": False}}, True, "deletion foretold"),
        ({"cluster": {"changed": False}, "gone": {"changed": False}}, False, "gone"),
        ({"cluster": SUBMITTED, "ready": {"skipped": True}}, False, "submitted"),
    ],
)
def test_the_summary_says_what_came_of_clusters_that_were_not_waited_for(
    results: dict[str, Any], check_mode: bool, state: str
) -> None:
    variables = {**AWS, **{f"palette__{name}": result for name, result in results.items()}}
    assert summary({"a": variables}, ["a"], check_mode)[1].split(maxsplit=3)[3] == state
