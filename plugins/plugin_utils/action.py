# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one action base: runs a module's operation in the controller's process.

A module process costs some 200 ms a task and host, this some 15 ms; what is done is the same function. Where the task
is asynchronous, or delegated to another machine, the ordinary module runs.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator, ValidationResult
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, summary
from ansible_collections.paletteops.modes.plugins.module_utils.fields import misfit
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Operation, plain, session_of
from ansible_collections.paletteops.modes.plugins.module_utils.run import RUN_FOLDER

CENSORED = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def run_folder() -> str:
    """The folder that the tasks of this run share: in the one that Ansible makes for a run and removes at its end."""
    return os.path.join(constants.DEFAULT_LOCAL_TMP, "paletteops")  # type: ignore[attr-defined]  # constants are set at run time


class PaletteAction(ActionBase):
    """A subclass names the module's operation and nothing else."""

    operation: ClassVar[Operation]

    _supports_check_mode = True
    _supports_async = True
    _supports_diff = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        away = self._task.async_val or self._elsewhere()
        result.update(self._as_module(task_vars) if away else self._here(result))
        if any(result.get(key) for key in self.operation.returns_secrets):
            result["_ansible_no_log"] = True  # it can be registered, and is not displayed
        return result

    def _elsewhere(self) -> bool:
        return bool(self._task.delegate_to) and self._connection.transport != "local"

    def _refusal(self, validated: ValidationResult) -> str:
        """What is wrong with the options, in AnsibleModule's words, with the names that may have been meant."""
        texts = []
        for error in validated.errors.errors:
            if isinstance(error, UnsupportedError):
                name = str(self._task.action).rsplit(".", 1)[-1]
                texts.append(f"Unsupported parameters for ({name}) module: {error.msg}")
            else:
                texts.append(error.msg)
        return "; ".join(texts)

    def _as_module(self, task_vars: Any) -> dict[str, Any]:
        if self._connection.transport == "local":
            self._task.environment = [*(self._task.environment or []), {RUN_FOLDER: run_folder()}]
        module: dict[str, Any] = self._execute_module(
            module_name=self._task.resolved_action or self._task.action,
            module_args=self._task.args,
            task_vars=task_vars,
            wrap_async=self._task.async_val,
        )
        return module

    def _here(self, result: dict[str, Any]) -> dict[str, Any]:
        display = Display()
        quiet = bool(self._task.no_log)
        title = self._task.args.get("name") or self._task.args.get("uid")

        def tell(line: str) -> None:
            if not quiet:
                display.display(f"  {title}: {line}" if title else f"  {line}")

        def warn(line: str) -> None:
            display.warning(line)

        # Each task runs in a process of its own, so its environment may be laid over the process's.
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        saved = {name: os.environ.get(name) for name in environment}
        os.environ.update({str(name): str(value) for name, value in environment.items()})
        secrets: set[str] = set()
        try:
            validator = ArgumentSpecValidator(self.operation.argument_spec, **self.operation.constraints)
            arguments = plain(dict(self._task.args))
            wrong = misfit(self.operation.argument_spec, arguments)
            if wrong:
                return {"failed": True, "changed": False, "msg": wrong}
            validated = validator.validate(arguments)
            secrets = {str(value) for value in validated._no_log_values if value}
            if validated.error_messages:
                return scrubbed({"failed": True, "changed": False, "msg": self._refusal(validated)}, secrets)
            session = session_of(
                self.operation,
                plain(validated.validated_parameters),
                bool(self._task.check_mode),
                bool(self._task.diff),
                run_folder(),
                tell,
                warn,
                secrets.add,
            )
            done = self.operation.run(session)
        except PaletteError as error:
            return scrubbed({"changed": False, **summary(error), "failed": True}, secrets)
        except Exception as error:
            # A traceback could show a secret that a library was handed; its text is scrubbed like any answer.
            raise AnsibleActionFail(scrub(f"{type(error).__name__}: {error}", secrets)) from None
        finally:
            for name, value in saved.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        return scrubbed(done, secrets)


def scrubbed(result: dict[str, Any], secrets: set[str]) -> dict[str, Any]:
    """A task's result without the secrets of the task."""
    return {key: scrub(value, secrets) for key, value in result.items()}


def scrub(value: Any, secrets: set[str]) -> Any:
    """The value with every secret of the task taken out of its texts, as an ordinary module's result has it."""
    if not secrets:
        return value
    if isinstance(value, dict):
        return {key: scrub(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(item, secrets) for item in value]
    if isinstance(value, str):
        for secret in sorted(secrets, key=len, reverse=True):
            value = CENSORED if value == secret else value.replace(secret, "********")
    return value
