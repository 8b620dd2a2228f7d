# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The deployment modes as data, the inventory's variables as data, and whether the two fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.paletteops.modes.plugins.module_utils import clouds
from ansible_collections.paletteops.modes.plugins.module_utils.cloud_account import CloudAccount
from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import check_pools
from ansible_collections.paletteops.modes.plugins.module_utils.cluster import Cluster, name_findings
from ansible_collections.paletteops.modes.plugins.module_utils.cluster_profile import ClusterProfile
from ansible_collections.paletteops.modes.plugins.module_utils.errors import (
    PaletteError,
    first_line,
    flatten,
    hint,
    nearest,
)
from ansible_collections.paletteops.modes.plugins.module_utils.fields import Values, argument_spec, missing, show
from ansible_collections.paletteops.modes.plugins.module_utils.operation import (
    CONNECTION_SPEC,
    Operation,
    Result,
    Session,
    Spec,
)
from ansible_collections.paletteops.modes.plugins.module_utils.project import Project
from ansible_collections.paletteops.modes.plugins.module_utils.registration_token import RegistrationToken
from ansible_collections.paletteops.modes.plugins.module_utils.resource import Resource, resource_operation

PREFIX = "palette_"

#: What roles and playbooks keep for themselves begins with this; nobody else sets it.
INTERNAL = "palette__"

CONTROLLER, APPLIANCE, AGENT = "controller", "appliance", "agent"


@dataclasses.dataclass(frozen=True)
class Mode:
    """One row of the mode table.

    infrastructure     who brings the machines: ``plane`` or ``user``
    os                 where the operating system comes from
    mutability         ``mutable``, ``immutable`` or ``either``
    cloud_credentials  whether clusters are made with the credentials of a cloud account
    management         how clusters can be managed: ``central``, ``local``
    trusted_boot       with which management Trusted Boot is allowed
    two_node           with which management two-node high availability is allowed
    os_pack            the OS pack of its profiles; empty where it is the cloud's
    cloud              the API's cloud type of its clusters; empty where the inventory names the cloud
    works              whether the playbooks bring clusters up in this mode
    """

    name: str
    infrastructure: str
    os: str
    mutability: str
    cloud_credentials: bool
    management: tuple[str, ...]
    trusted_boot: tuple[str, ...]
    two_node: tuple[str, ...]
    os_pack: str
    cloud: str
    works: bool


MODES: dict[str, Mode] = {
    mode.name: mode
    for mode in (
        Mode(
            CONTROLLER,
            infrastructure="plane",
            os="OS pack, or the user's own image",
            mutability="mutable",
            cloud_credentials=True,
            management=("central",),
            trusted_boot=(),
            two_node=(),
            os_pack="",
            cloud="",
            works=True,
        ),
        Mode(
            APPLIANCE,
            infrastructure="user",
            os="built with EdgeForge",
            mutability="immutable",
            cloud_credentials=False,
            management=("central", "local"),
            trusted_boot=("central",),
            two_node=("central",),
            os_pack="edge-native-byoi",
            cloud="edge-native",
            works=False,
        ),
        Mode(
            AGENT,
            infrastructure="user",
            os="the user's, or an image that includes the agent",
            mutability="either",
            cloud_credentials=False,
            management=("central", "local"),
            trusted_boot=(),
            two_node=(),
            os_pack="edge-native-byoi",
            cloud="edge-native",
            works=True,
        ),
    )
}

EDGE = (APPLIANCE, AGENT)

#: What the playbooks know to manage clusters with.
MANAGED = ("central",)


@dataclasses.dataclass(frozen=True)
class Variable:
    """A variable of the inventory.

    name    without its prefix; the same as the option it becomes, where it becomes one
    spec    its type, as an entry of an argument spec
    modes   the modes that allow it; empty for every mode
    rule    why the other modes do not allow it
    needed  the modes in which a cluster must have it
    items   the resource that each item of the list describes, for shared objects
    """

    name: str
    spec: dict[str, Any]
    modes: tuple[str, ...] = ()
    rule: str = ""
    needed: tuple[str, ...] = ()
    items: type[Resource] | None = None

    @property
    def secret(self) -> bool:
        return bool(self.spec.get("no_log"))


_CLUSTER: Spec = resource_operation(Cluster).options

#: Options of the cluster module that a playbook sets by itself: what is done follows from the playbook.
_NOT_INVENTORY = ("state", "wait", "upgrade")

_CLOUD_RULE = "takes no cloud account: its machines are the user's"
_NEEDED = {"cloud": (CONTROLLER,), "cloud_account": (CONTROLLER,), "profiles": tuple(MODES), "pools": tuple(MODES)}
_CONTROLLER_ONLY = ("cloud", "cloud_account")

_ADDRESS_RULE = "has the address of its control plane in palette_cloud_config, if it has one to name"
_HOST_RULE = "has no hosts of the user's in the inventory"
_AGENT_RULE = "installs no agent on hosts"

_ENDPOINT: Spec = argument_spec(field for field in clouds.table("edge-native", "cluster") if field.name == "endpoint")

#: Variables of hosts, and of clusters that are made of them: name, type, modes, and the rule of the other modes.
_OF_HOSTS: tuple[tuple[str, dict[str, Any], tuple[str, ...], str], ...] = (
    ("vip", {"type": "str"}, EDGE, _ADDRESS_RULE),
    ("endpoint", _ENDPOINT["endpoint"], EDGE, _ADDRESS_RULE),
    ("registration_token", {"type": "str", "no_log": False}, EDGE, _HOST_RULE),
    ("host_uid", {"type": "str"}, EDGE, _HOST_RULE),
    ("host_name", {"type": "str"}, EDGE, _HOST_RULE),
    ("host_tags", {"type": "dict"}, EDGE, _HOST_RULE),
    ("host_wait_timeout", {"type": "int"}, EDGE, _HOST_RULE),
    *(
        (f"agent_{name}", spec, (AGENT,), _AGENT_RULE)
        for name, spec in (
            ("install", {"type": "bool"}),
            ("architecture", {"type": "str", "choices": ["amd64", "arm64"]}),
            ("version", {"type": "str"}),
            ("url", {"type": "str"}),
            ("file", {"type": "path"}),
            ("archive", {"type": "path"}),
            ("checksum", {"type": "str"}),
            ("source", {"type": "str"}),
            ("endpoint", {"type": "str"}),
            ("fips", {"type": "bool"}),
            ("user_data", {"type": "dict", "no_log": True}),
            ("environment", {"type": "dict", "no_log": True}),
            (
                "requirements",
                {
                    "type": "dict",
                    "options": {"cpus": {"type": "int"}, "memory_mib": {"type": "int"}, "disk_gib": {"type": "int"}},
                },
            ),
            ("ignore", {"type": "list", "elements": "str"}),
            ("ranges", {"type": "list", "elements": "str"}),
            ("install_packages", {"type": "bool"}),
            ("remove_packages", {"type": "bool"}),
            ("uninstall", {"type": "bool"}),
            ("deregister", {"type": "bool"}),
        )
    ),
    *(
        (f"patch_{name}", spec, (AGENT,), "has no operating system of the user's to patch")
        for name, spec in (
            ("tasks", {"type": "path"}),
            ("pending", {"type": "path"}),
            ("needed", {"type": "bool"}),
            ("round", {"type": "str"}),
            ("batch", {"type": "raw"}),
            ("drain_timeout", {"type": "int"}),
            ("reboot", {"type": "str", "choices": ["auto", "always", "never"]}),
            ("reboot_needed", {"type": "bool"}),
            ("reboot_timeout", {"type": "int"}),
        )
    ),
)


def _variables() -> Iterator[Variable]:
    yield Variable("mode", {"type": "str", "choices": list(MODES)}, needed=tuple(MODES))
    for name, spec in CONNECTION_SPEC.items():
        yield Variable(name, {key: value for key, value in spec.items() if key != "fallback"})
    for name, spec in _CLUSTER.items():
        if name in _CONTROLLER_ONLY:
            yield Variable(name, spec, (CONTROLLER,), _CLOUD_RULE, needed=_NEEDED.get(name, ()))
        elif name not in _NOT_INVENTORY:
            yield Variable(name, spec, needed=_NEEDED.get(name, ()))
    # shared objects: what one variable holds is seen by clusters of all modes
    for name, resource in (
        ("projects", Project),
        ("cloud_accounts", CloudAccount),
        ("cluster_profiles", ClusterProfile),
        ("registration_tokens", RegistrationToken),
    ):
        yield Variable(name, {"type": "list", "elements": "dict", "no_log": False}, items=resource)
    # what the playbooks do
    yield Variable("verify", {"type": "str", "choices": ["plane", "nodes", "none"]})
    yield Variable("kubeconfig", {"type": "path"})
    yield Variable("kubeconfig_admin", {"type": "bool"})
    yield Variable("serial", {"type": "raw"})
    yield Variable("confirm_teardown", {"type": "str"})
    # the user's hosts
    for name, spec, modes, rule in _OF_HOSTS:
        yield Variable(name, spec, modes, rule)
    yield Variable("management", {"type": "str", "choices": ["central", "local"]})
    yield Variable("trusted_boot", {"type": "bool"}, (APPLIANCE,), "has no Trusted Boot")
    yield Variable("two_node", {"type": "bool"}, (APPLIANCE,), "has no two-node high availability")


VARIABLES: dict[str, Variable] = {variable.name: variable for variable in _variables()}


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is wrong with one variable: a sentence with the rule and the value, and one with the way out.

    value   None where there is none, or where it may hold a secret
    """

    variable: str
    rule: str
    way_out: str
    value: Any = None

    @property
    def text(self) -> str:
        return f"{self.rule} {self.way_out}".strip()


def check_host(variables: dict[str, Any]) -> list[Finding]:
    """What is wrong with the variables of one host; it may inherit those of its clusters, and its mode is theirs."""
    findings, known = _known(variables)
    for name, value in known.items():
        findings += _value_findings(VARIABLES[name], value)
    mode = MODES.get(str(known.get("mode")))
    if mode is not None and mode.cloud_credentials:
        able = " or ".join(other.name for other in MODES.values() if not other.cloud_credentials)
        findings.append(
            Finding(
                PREFIX + "mode",
                f"{PREFIX}mode is '{mode.name}', and {mode.name} mode {_HOST_RULE}.",
                f"Set it to {able}, or take the host out of the inventory.",
                mode.name,
            )
        )
    return findings


def _known(variables: dict[str, Any]) -> tuple[list[Finding], Values]:
    """The variables without their prefix, and a finding for each that there is not."""
    given = {
        name[len(PREFIX) :]: value
        for name, value in variables.items()
        if name.startswith(PREFIX) and not name.startswith(INTERNAL) and value is not None
    }
    findings = [_unknown(name) for name in sorted(set(given) - set(VARIABLES))]
    return findings, {name: value for name, value in given.items() if name in VARIABLES}


def check_cluster(variables: dict[str, Any]) -> list[Finding]:
    """What is wrong with the variables of one cluster, by their whole names; those without the prefix do not count.

    A finding never holds the value of anything that may be secret.
    """
    findings, known = _known(variables)
    mode = MODES.get(str(known.get("mode")))
    if mode is not None:
        findings += _mode_findings(mode, known)
    elif "mode" not in known:
        findings.append(
            Finding(
                PREFIX + "mode",
                f"{PREFIX}mode is missing, and a cluster has a deployment mode.",
                f"Set it to one of: {', '.join(MODES)}.",
            )
        )
    values: Values = {}
    for name, value in known.items():
        wrong = list(_value_findings(VARIABLES[name], value))
        findings += wrong
        if not wrong:
            values[name] = _converted(VARIABLES[name], value)
    if mode is not None:
        if (values.get("cloud_config") or {}).get("two_node") and not mode.two_node:
            able = " or ".join(other.name for other in MODES.values() if other.two_node)
            findings.append(
                Finding(
                    PREFIX + "cloud_config",
                    f"{PREFIX}cloud_config.two_node is set, and {mode.name} mode has no two-node high availability.",
                    f"Take it out, or set {PREFIX}mode to {able}.",
                )
            )
        cloud = mode.cloud or values.get("cloud")
        if cloud in clouds.CLOUDS and bool(clouds.of(cloud).members) == bool(mode.cloud):
            found = _cloud_findings(cloud, _addressed(values) if mode.cloud else values)
            findings += [_as_written(finding, values) for finding in found] if mode.cloud else found
        elif cloud in clouds.CLOUDS:
            findings.append(
                Finding(
                    PREFIX + "cloud",
                    f"{PREFIX}cloud is '{cloud}', and in {mode.name} mode the management plane provides the machines.",
                    f"Name another cloud, or set {PREFIX}mode to {' or '.join(EDGE)}.",
                    cloud,
                )
            )
    return findings


#: Options of the cloud config that are variables of their own where hosts are brought.
_OWN = ("vip", "endpoint", "two_node")


def _addressed(values: Values) -> Values:
    """The variables with those of hosts where the options have them: in the cloud config."""
    own = {name: values[name] for name in _OWN if values.get(name) is not None}
    return dict(values, cloud_config=dict(values.get("cloud_config") or {}, **own))


def _as_written(finding: Finding, values: Values) -> Finding:
    """A finding in the names of the variables that clusters of hosts have, unless the cloud config was written."""
    for name in _OWN:
        if name not in (values.get("cloud_config") or {}):
            inner = f"cloud_config.{name}"
            rule = finding.rule.replace(PREFIX + inner, PREFIX + name).replace(inner, PREFIX + name)
            if rule != finding.rule and finding.rule.startswith(PREFIX + inner):
                finding = dataclasses.replace(finding, variable=PREFIX + name)
            finding = dataclasses.replace(finding, rule=rule)
    return finding


def _unknown(name: str) -> Finding:
    close = [PREFIX + one for one in nearest(name, VARIABLES)]
    return Finding(
        PREFIX + name,
        f"There is no variable {PREFIX}{name}, and names that begin with {PREFIX} belong to this collection.",
        f"Did you mean one of: {', '.join(close)}?" if close else "Take it out, or give it another prefix.",
    )


def _mode_findings(mode: Mode, known: Values) -> Iterator[Finding]:
    """What the mode does not allow, and what it lacks."""
    management = str(known.get("management") or "central")
    for name, value in sorted(known.items()):
        variable = VARIABLES[name]
        if variable.modes and mode.name not in variable.modes:
            yield Finding(
                PREFIX + name,
                f"{PREFIX}{name} is {_shown(variable, value)}, and {mode.name} mode {variable.rule}.",
                f"Take it out, or set {PREFIX}mode to {' or '.join(variable.modes)}.",
                _public(variable, value),
            )
    if "management" in known and management not in mode.management:
        able = [other.name for other in MODES.values() if management in other.management]
        yield Finding(
            PREFIX + "management",
            f"{PREFIX}management is '{management}', and {mode.name} mode is managed "
            f"{' or '.join(mode.management)} only: it has no Local UI.",
            f"Take it out, or set {PREFIX}mode to {' or '.join(able)}." if able else "Use central or local.",
            management,
        )
    elif mode.works and management not in MANAGED:
        yield Finding(
            PREFIX + "management",
            f"{PREFIX}management is '{management}', which this version of the collection does not have yet.",
            f"Take it out, or use {' or '.join(MANAGED)}.",
            management,
        )
    for name, allowed in (("trusted_boot", mode.trusted_boot), ("two_node", mode.two_node)):
        if known.get(name) and allowed and management not in allowed:
            yield Finding(
                PREFIX + name,
                f"{PREFIX}{name} is {show(known[name])}, and {mode.name} mode allows it with {' or '.join(allowed)} "
                f"management only; {PREFIX}management is '{management}'.",
                "Take one of them out.",
                known[name],
            )
    for name, variable in VARIABLES.items():
        if mode.name in variable.needed and name not in known:
            yield Finding(
                PREFIX + name,
                f"{PREFIX}{name} is missing, and a cluster in {mode.name} mode needs it.",
                "Set it for the cluster or for a group of it.",
            )


def _shown(variable: Variable, value: Any) -> str:
    return "set" if _public(variable, value) is None else f"'{show(value)}'"


def _public(variable: Variable, value: Any) -> Any:
    """The value where it cannot hold a secret: a single one, and meant to be one, that is not secret itself."""
    several = variable.spec["type"] in ("dict", "list") or isinstance(value, (dict, list))
    return None if variable.secret or several else value


# --- values ---


def _value_findings(variable: Variable, value: Any) -> Iterator[Finding]:
    """Misspelt keys and values of the wrong type, down to the last item."""
    name = PREFIX + variable.name
    wrong = list(_wrong_keys(name, variable.spec, value, name))
    yield from wrong
    if wrong:
        return
    for error in _type_errors({variable.name: variable.spec}, {variable.name: value}):
        yield Finding(name, f"{name}: {error}.", "Correct it.", _public(variable, value))
    if variable.items is not None and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _shared_findings(variable, variable.items, number, item)


def _wrong_keys(variable: str, spec: dict[str, Any], value: Any, where: str) -> Iterator[Finding]:
    """Keys that an argument spec does not know, and what stands where a map with keys belongs, at any depth."""
    options = spec.get("options")
    if not options or value is None:
        return
    if isinstance(value, str):
        return  # Ansible reads lists and maps in texts, or refuses them
    several = spec["type"] == "list"
    if several and not isinstance(value, list):
        yield Finding(variable, f"{where} is of type {type(value).__name__}, and a list belongs there.", "Correct it.")
        return
    for number, item in enumerate(value if several else [value]):
        own = f"{where}.{_called(item, number)}" if several else where
        if isinstance(item, str):
            continue
        if not isinstance(item, dict):
            yield Finding(variable, f"{own} is of type {type(item).__name__}, and a map belongs there.", "Correct it.")
            continue
        for key, content in item.items():
            if key in options:
                yield from _wrong_keys(variable, options[key], content, f"{own}.{key}")
            else:
                yield Finding(variable, f"There is no {own}.{key}.", hint(str(key), options).strip())


def _called(item: Any, number: int) -> Any:
    """How an item of a list is called in messages: by its name, or else its place."""
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) and name else number


def _type_errors(spec: Spec, values: Values) -> list[str]:
    """What an argument spec has against the values, one line each, without values that may be secret."""
    errors = ArgumentSpecValidator(spec).validate(values).error_messages
    return [first_line(error).rstrip(".") for error in errors]


def _converted(variable: Variable, value: Any) -> Any:
    validated = ArgumentSpecValidator({variable.name: variable.spec}).validate({variable.name: value})
    return validated.validated_parameters[variable.name]


def _shared_findings(variable: Variable, resource: type[Resource], number: int, item: Any) -> Iterator[Finding]:
    """What is wrong with one shared object of the inventory."""
    name = PREFIX + variable.name
    if not isinstance(item, dict):
        return  # the type of the list's items is refused already
    where = f"{name}.{_called(item, number)}"
    spec: Spec = dict(resource_operation(resource).options)
    if not resource.tenant:
        spec["project"] = {"type": "str"}
    wrong = list(_wrong_keys(name, {"type": "dict", "options": spec}, item, where))
    yield from wrong
    if wrong:
        return
    for error in _type_errors(spec, item):
        yield Finding(name, f"{where}: {error}.", "Correct it.")
    cloud, credentials = item.get("cloud"), item.get("credentials")
    if cloud in clouds.CLOUDS and isinstance(credentials, dict):
        yield from _typed(name, str(cloud), "account", credentials, f"{where}.credentials")


def _typed(name: str, cloud: str, aspect: str, values: Values, where: str) -> Iterator[Finding]:
    try:
        clouds.typed(cloud, aspect, values, where)
    except PaletteError as error:
        yield _refused(name, error)


def _refused(name: str, error: PaletteError) -> Finding:
    rule, dot, way_out = error.message.partition(". ")
    return Finding(name, rule + dot.strip(), way_out or "Correct it.")


def _cloud_findings(cloud: str, values: Values) -> Iterator[Finding]:
    """Whether cloud config and pools fit the cloud, and whether a cluster can be made of them."""
    config = values.get("cloud_config") or {}
    wrong = list(_typed(PREFIX + "cloud_config", cloud, "cluster", config, PREFIX + "cloud_config"))
    yield from wrong
    unfit = bool(wrong)
    if not wrong:
        for lacking in missing(clouds.table(cloud, "cluster"), config, PREFIX + "cloud_config."):
            yield _lacking("cloud_config", lacking, cloud)
    members = clouds.of(cloud).members
    pools = [pool for pool in values.get("pools") or [] if pool.get("state") != "absent"]
    for pool in pools:
        where = f"{PREFIX}pools.{pool['name']}"
        try:
            typed = clouds.typed_pool(cloud, pool, where)
        except PaletteError as error:
            unfit = True
            yield _refused(PREFIX + "pools", error)
            continue
        if members:
            yield from _count(pool, typed, cloud, where)
        sized = dict(pool, size=1) if members else pool
        for lacking in missing(clouds.of(cloud).pool_fields, sized, where + "."):
            # Hosts that are chosen are known by the plane alone.
            if lacking != f"{where}.{members}" or pool[members] is not None:
                yield _lacking("pools", lacking, cloud)
    sentences = check_pools(pools, None, members, bool(config.get("two_node"))) if pools else []
    if not unfit:
        sentences += clouds.of(cloud).check_cluster(config, [pool for pool in pools if pool.get(members)])
    for sentence in sentences:
        yield _sentence(sentence)


def _count(pool: Values, typed: Values, cloud: str, where: str) -> Iterator[Finding]:
    """Gives a pool of hosts its size, which is their number; None where the plane alone knows it."""
    members, size = clouds.of(cloud).members, pool.get("size")
    named = [item for item in typed[members] or [] if item.get("state") != "absent"]
    chosen = any(typed[field.name] for field in clouds.of(cloud).selectors)
    pool[members] = named or (None if chosen else [])
    pool["size"] = None if chosen or typed[members] is None else len(named)
    if size is not None and size != pool["size"]:
        yield Finding(
            PREFIX + "pools", f"{where}.size is {size}, and the number of its {members} is its size.", "Take it out."
        )


def _sentence(sentence: str) -> Finding:
    """A finding of the clouds' rules, in the names of the inventory."""
    rule, dot, way_out = sentence.rpartition(". ")
    rule = (rule + dot.strip()) if rule else sentence
    variable = "cloud_config" if rule.startswith("cloud_config") else "pools"
    shown = PREFIX + rule if rule.startswith(("cloud_config", "pools")) else f"{PREFIX}pools: {rule}"
    return Finding(PREFIX + variable, shown, way_out)


def _lacking(variable: str, option: str, cloud: str) -> Finding:
    return Finding(PREFIX + variable, f"{option} is missing, and {cloud} needs it.", "Name it.")


def check_inventory(session: Session) -> Result:
    of_host = session.params["kind"] == "host"
    findings = (check_host if of_host else check_cluster)(session.params["variables"])
    name = session.params["name"]
    if name is not None and not of_host:
        for sentence in name_findings(name):
            rule, dot, way_out = sentence.rpartition(". ")
            findings.append(Finding(PREFIX + "name", f"The {rule}{dot.strip()}", way_out, name))
    if findings:
        raise PaletteError(
            flatten(finding.text for finding in findings),
            findings=[dataclasses.asdict(finding) for finding in findings],
        )
    return {"changed": False}


#: A cluster's variables hold secrets among much that is not. Were the option a secret of the spec, every value would be
#: masked wherever it is shown, names and numbers too. So the findings hold none that may be secret.
INVENTORY_CHECK = Operation(
    {
        "name": {"type": "str"},
        "kind": {"type": "str", "choices": ["cluster", "host"], "default": "cluster"},
        "variables": {"type": "dict", "required": True, "no_log": False},
    },
    check_inventory,
    connects=False,
)
