# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An operation is what a module does: an argument spec and a function of a session. Module and action run the same."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import Any, Callable, NoReturn

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible_collections.paletteops.modes.plugins.module_utils.client import ENVIRONMENT, Client, Connection
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, library_missing, summary
from ansible_collections.paletteops.modes.plugins.module_utils.fields import YAML_ERROR
from ansible_collections.paletteops.modes.plugins.module_utils.run import RUN_FOLDER, Run

try:
    import jmespath
    import jmespath.exceptions

    JMESPATH_ERROR: str | None = None
except ImportError as error:
    JMESPATH_ERROR = str(error)

Spec = dict[str, dict[str, Any]]
Result = dict[str, Any]

_CONNECTION_TYPES: Spec = {
    "api_url": {"type": "str"},
    "api_key": {"type": "str", "no_log": True},
    "project": {"type": "str"},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "timeout": {"type": "int", "default": 30},
    "retries": {"type": "int", "default": 5},
}

#: The options by which every module reaches the plane.
CONNECTION_SPEC: Spec = {
    name: dict(entry, fallback=(env_fallback, [ENVIRONMENT[name]])) for name, entry in _CONNECTION_TYPES.items()
}

INFO_SPEC: Spec = {"name": {"type": "str"}, "query": {"type": "str"}}


@dataclasses.dataclass
class Session:
    """What an operation works with.

    params      the task's options, typed
    check_mode  nothing may be written
    diff        whether the task shows a diff
    client      the management API
    run         what the tasks of this run share
    tell        shows the user a line of progress
    warn        shows the user a warning
    hide        names a secret that the argument spec cannot know: it is taken out of whatever the task returns
    """

    params: dict[str, Any]
    check_mode: bool
    diff: bool
    client: Client
    run: Run
    tell: Callable[[str], None]
    warn: Callable[[str], None]
    hide: Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Operation:
    """``run`` returns the task's result and raises PaletteError where it fails.

    connects         whether it calls the management plane
    returns_secrets  keys of results that hold a secret: a result with one of them is not displayed
    """

    options: Spec
    run: Callable[[Session], Result]
    required_if: tuple[Any, ...] = ()
    required_one_of: tuple[tuple[str, ...], ...] = ()
    connects: bool = True
    returns_secrets: tuple[str, ...] = ()

    @property
    def argument_spec(self) -> Spec:
        return dict(self.options, **CONNECTION_SPEC) if self.connects else dict(self.options)

    @property
    def constraints(self) -> dict[str, list[Any]]:
        return {"required_if": list(self.required_if), "required_one_of": list(self.required_one_of)}


def session_of(
    operation: Operation,
    params: dict[str, Any],
    check_mode: bool,
    diff: bool,
    folder: str | None,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
    hide: Callable[[str], None],
) -> Session:
    if YAML_ERROR:
        raise library_missing("PyYAML", YAML_ERROR)
    run = Run(folder)
    connection = Connection.of(params) if operation.connects else Connection("http://none.invalid", "none")
    client = Client(connection, run, check_mode)
    return Session(params, check_mode, diff, client, run, tell, warn, hide)


class QuietModule(AnsibleModule):
    """A module that echoes none of its options, into neither its result nor the target's log.

    Which of them are secret is known only once the plane has been asked: the values of a profile's sensitive variables
    look like any other.
    """

    def __init__(self, operation: Operation) -> None:
        super().__init__(
            argument_spec=operation.argument_spec, supports_check_mode=True, no_log=True, **operation.constraints
        )

    def exit_json(self, **kwargs: Any) -> NoReturn:
        super().exit_json(**dict(kwargs, invocation={}))

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
        super().fail_json(msg, **dict(kwargs, invocation={}))


def run_module(operation: Operation) -> None:
    """A module's main: runs the operation in a process of its own."""
    module = QuietModule(operation)
    try:
        session = session_of(
            operation,
            plain(module.params),
            module.check_mode,
            module._diff,
            os.environ.get(RUN_FOLDER),
            tell=lambda line: None,
            warn=module.warn,
            hide=module.no_log_values.add,
        )
        result = operation.run(session)
    except Exception as error:
        # A traceback could show a secret that a library was handed; a message is scrubbed like any result.
        module.fail_json(**summary(error))
    module.exit_json(**result)


def plain(value: Any) -> Any:
    """The value without Ansible's tags on strings and containers, which other libraries do not know."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def shape(query: str | None) -> Callable[[list[dict[str, Any]]], Any]:
    """What a JMESPath query makes of a list; the list itself where there is none. Raises where it is not valid."""
    if not query:
        return lambda items: items
    if JMESPATH_ERROR:
        raise library_missing("jmespath", JMESPATH_ERROR, " by the option query")
    try:
        expression = jmespath.compile(query)
    except jmespath.exceptions.JMESPathError as error:
        raise PaletteError(f"query is not a valid JMESPath expression: {error}. Correct '{query}'.") from None

    def search(items: list[dict[str, Any]]) -> Any:
        try:
            return expression.search(items)
        except jmespath.exceptions.JMESPathError as error:
            raise PaletteError(f"query '{query}' does not fit what was found: {error}.") from None

    return search


def info_operation(
    plural: str, read: Callable[[Session], Iterable[dict[str, Any]]], options: Spec | None = None
) -> Operation:
    """An operation that only reads: the items of ``read``, as ``plural``, shaped by the option ``query``."""

    def run(session: Session) -> Result:
        shaped = shape(session.params["query"])
        return {"changed": False, plural: shaped(list(read(session)))}

    return Operation(dict(INFO_SPEC, **(options or {})), run)
