# SPDX-License-Identifier: GPL-3.0-or-later
"""Running commands: a deadline for each, errors that carry what the command said, secrets by standard input only."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paletteops_agent.engine import EngineError

log = logging.getLogger(__name__)

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SAID_LINES = 12
# warnings and hints of kubeadm, which would hide what went wrong
NOISE = re.compile(r"^\s*\[WARNING |^To see the stack trace|^[WI]\d{4} ")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    def said(self) -> str:
        """The last lines that the command wrote, for a message."""
        text = self.err.strip() or self.out.strip()
        lines = [line for line in text.splitlines() if line.strip() and not NOISE.match(line)]
        return "\n".join(lines[-SAID_LINES:])


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    deadline: float = 60.0,
    path: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    reason: str = "CommandFailed",
) -> Result:
    """Run ``argv`` for at most ``deadline`` seconds; with ``check``, raise EngineError(reason) when it fails.

    The environment is made anew: a proxy of the caller's would otherwise end up in static pods. ``path`` comes first
    in PATH.
    """
    words = [str(word) for word in argv]
    environment = {
        "PATH": f"{path}:{SYSTEM_PATH}" if path else SYSTEM_PATH,
        "HOME": "/root",
        "LC_ALL": "C",
        **(env or {}),
    }
    log.debug("runs %s", " ".join(words))
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        if check:
            raise EngineError("CommandMissing", f"{words[0]}: {error.strerror}") from error
        return Result(127, "", f"{words[0]}: {error.strerror}")
    try:
        out, err = process.communicate(stdin, timeout=deadline)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        result = Result(124, out, f"{err}\nno end after {deadline:.0f} s")
    else:
        result = Result(process.returncode, out, err)
    if check and not result.ok:
        raise EngineError(reason, f"{Path(words[0]).name} {' '.join(words[1:3])}: {result.said()}")
    return result


def wait_until(
    condition: Callable[[], bool],
    *,
    deadline: float,
    reason: str,
    message: str | Callable[[], str],
    every: float = 1.0,
) -> None:
    """Ask ``condition`` until it holds; EngineError(reason, message) after ``deadline`` seconds."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() >= end:
            raise EngineError(reason, message() if callable(message) else message)
        time.sleep(every)
