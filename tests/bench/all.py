# Copyright: (c) 2026, the paletteops.modes contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures all that is measured, part by part: `all.py [PART…]`.

calls     API calls, wall time and overhead of clusters (bench.py)
hosts     what a plane pays for 1,000 hosts at rest (hosts.py)
role      the role `agent` against Ansible itself, on 50 real hosts (role.py)
cluster   a cluster of three real hosts against kubeadm by hand (tests/e2e/compare.py)

Without a name all parts; those with real hosts only as root on Debian, since the hosts are machines of systemd-nspawn.
Ends with 1 where a part could not be measured; no figure is judged.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = {
    "calls": HERE / "bench.py",
    "hosts": HERE / "hosts.py",
    "role": HERE / "role.py",
    "cluster": HERE.parent / "e2e" / "compare.py",
}
ON_REAL_HOSTS = ("role", "cluster")


def no_real_hosts() -> str:
    """Why this machine can have no real hosts; empty where it can."""
    if os.geteuid():
        return "not root"
    release = Path("/etc/os-release")
    lines = release.read_text("utf-8").splitlines() if release.exists() else []
    return "" if any(line.replace('"', "") == "ID=debian" for line in lines) else "not Debian"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="all.py", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=", ".join(PARTS) + "; without, all that can be measured"
    )
    options = parser.parse_args(arguments)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    wanted, reason = options.parts or list(PARTS), no_real_hosts()
    left_out = [part for part in wanted if part in ON_REAL_HOSTS] if reason and not options.parts else []
    failed = []
    for part in wanted:
        if part in left_out:
            continue
        print(f"== {part}", flush=True)
        if subprocess.run([sys.executable, str(PARTS[part])]).returncode:
            failed.append(part)
        print(flush=True)
    if left_out:
        print(f"left out, {reason} (real hosts need root on Debian): {', '.join(left_out)}")
    if failed:
        print(f"could not be measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
