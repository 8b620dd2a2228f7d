#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the embedded agent as it is brought to hosts: `agent.py [FOLDER]`, by default dist/.

palette-agent-linux-ARCH     one file that any Python from 3.9 on runs: a zipapp with the agent and PyYAML in it
agent-mode-linux-ARCH.tar    for hosts without a network, to be unpacked at /: the same file, the folder from which it
                             installs itself, and a unit that does so at the next boot

Each has its checksum beside it, in a file with .sha256 at its end. The files are the same for every architecture, since
they are Python, and byte for byte the same when they are built again from the same sources.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import importlib.metadata
import io
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import environments

ROOT = Path(environments.ROOT)
PROJECT = ROOT / "embedded/agent"
SOURCES = PROJECT / "src"
ARCHITECTURES = ("amd64", "arm64")
#: of all entries: the oldest that a zip archive can say
DATE = (1980, 1, 1, 0, 0, 0)

# Read by whatever python3 there is, so in the syntax of old ones.
MAIN = """\
# SPDX-License-Identifier: GPL-3.0-or-later
import os
import sys

if sys.version_info < (3, 9):
    for minor in range(20, 8, -1):
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
            other = os.path.join(folder, "python3.%d" % minor)
            if os.access(other, os.X_OK):
                os.execv(other, [other] + sys.argv)
    sys.exit("error: palette-agent needs Python 3.9 or newer, and this is %d.%d" % sys.version_info[:2])

from paletteops_agent.cli import main

sys.exit(main())
"""


class CannotBuild(Exception):
    """What is missing, in one line."""


def locked_version(name: str) -> str:
    """The version that the lock of .venv names."""
    text = Path(environments.lock(environments.MAIN)).read_text("utf-8")
    found = re.search(rf"^{name}==([^\s;\\]+)", text, re.MULTILINE | re.IGNORECASE)
    if found is None:
        raise CannotBuild(f"the lock does not name {name}")
    return found[1]


def yaml_files() -> Iterator[tuple[str, bytes]]:
    """PyYAML as it was installed from the lock, without its C extension; each file is what its hash says."""
    wheel = importlib.metadata.distribution("PyYAML")
    if wheel.version != locked_version("pyyaml"):
        raise CannotBuild(
            f"PyYAML {wheel.version} is installed, and {locked_version('pyyaml')} is locked; run make venv"
        )
    for name, stated, _ in csv.reader(io.StringIO(wheel.read_text("RECORD") or "")):
        licence = name.endswith("/LICENSE")
        if not licence and not re.fullmatch(r"yaml/\w+\.py", name):
            continue
        content = Path(str(wheel.locate_file(name))).read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        if stated != f"sha256={digest}":
            raise CannotBuild(f"{name} was changed since it was installed; run make clean venv")
        yield ("licenses/PyYAML" if licence else name), content


def entries() -> dict[str, bytes]:
    """What is in the file, by name."""
    found = {"__main__.py": MAIN.encode(), "licenses/paletteops-agent": (ROOT / "LICENSE").read_bytes()}
    for path in sorted(SOURCES.rglob("*.py")):
        found[path.relative_to(SOURCES).as_posix()] = path.read_bytes()
    found.update(yaml_files())
    return found


def program() -> bytes:
    """The zipapp."""
    stream = io.BytesIO()
    stream.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(entries().items()):
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return stream.getvalue()


def archive_of(agent: bytes) -> bytes:
    """The tar archive for hosts without a network."""
    sys.path.insert(0, str(SOURCES))
    from paletteops_agent.install import INIT_UNIT_TEXT
    from paletteops_agent.paths import INIT_UNIT

    contents = [
        ("etc/systemd/system/" + INIT_UNIT, INIT_UNIT_TEXT.encode(), 0o644),
        ("opt/spectrocloud/bin/palette-agent", agent, 0o755),
        ("var/lib/spectro/stylus/palette-agent", agent, 0o755),
    ]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content, mode in contents:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("etc/systemd/system/multi-user.target.wants/" + INIT_UNIT)
        link.type, link.linkname, link.mode = tarfile.SYMTYPE, f"/etc/systemd/system/{INIT_UNIT}", 0o777
        archive.addfile(link)
    return stream.getvalue()


def build(target: Path) -> list[Path]:
    """Write the files; those that were written."""
    target.mkdir(parents=True, exist_ok=True)
    agent = program()
    archive = archive_of(agent)
    written = []
    for architecture in ARCHITECTURES:
        for name, content in (
            (f"palette-agent-linux-{architecture}", agent),
            (f"agent-mode-linux-{architecture}.tar", archive),
        ):
            path = target / name
            path.write_bytes(content)
            path.chmod(0o644 if name.endswith(".tar") else 0o755)
            checksum = path.with_name(path.name + ".sha256")
            checksum.write_text(f"{hashlib.sha256(content).hexdigest()}  {name}\n", "ascii")
            written += [path, checksum]
    return written


def main() -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist", metavar="FOLDER")
    options = parser.parse_args()
    try:
        for path in build(options.folder.resolve()):
            print(f"{path.stat().st_size / 1024:8.0f} KiB  {path}")
    except CannotBuild as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
