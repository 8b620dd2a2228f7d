# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs this scenario on a host of its own: `run.py [COMMAND …]`, without one `molecule test`.

Needs root and Debian; see tests/e2e/hosts.py. Molecule runs in the host's network, which ends with it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))
from e2e.hosts import GATEWAY, USER, Hosts, HostsError, ended_by_signals  # noqa: E402

LOGS = ROOT / ".cache" / "logs" / "molecule-agent"


def main(arguments: Sequence[str]) -> int:
    try:
        with ended_by_signals(), Hosts(["machine"], logs=LOGS) as hosts:
            machine = hosts["machine"]
            home = hosts.folder / "home"
            home.mkdir()
            # Molecule keeps what it makes below HOME, so it goes with the host
            own = {
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"),
                "ANSIBLE_PYTHON_INTERPRETER": str(ROOT / ".venv" / "bin" / "python"),
                "ANSIBLE_REMOTE_TMP": "/var/tmp/.ansible",
                "HOME": str(home),
                "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "SCENARIO_ADDRESS": machine.address,
                "SCENARIO_GATEWAY": GATEWAY,
                "SCENARIO_SSH": shlex.join(hosts.ssh_options),
                "SCENARIO_USER": USER,
                "SCENARIO_VIP": f"{GATEWAY.rsplit('.', 1)[0]}.100",
            }
            command = list(arguments) or ["molecule", "test", "--scenario-name", "agent"]
            done = subprocess.run(command, cwd=ROOT / "extensions", env={**os.environ, **own}, check=False)
            if done.returncode:
                hosts.keep_logs(LOGS)
            return done.returncode
    except HostsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
