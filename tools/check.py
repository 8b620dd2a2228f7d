#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the parts of the test, two at a time, and close with a table: `check.py [--show] [PART …] [-- ARGUMENTS]`.

Without names every part runs whose files are there. What a part writes goes to .cache/logs/PART.log, and is shown when
it fails (with --show, always). ARGUMENTS are added to the part's command, where it takes some (pytest, ansible-test).
The last line sums up: N passed, N failed, N skipped.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import bootstrap
import distribution
import environments
import tree

ROOT = Path(environments.ROOT)
CACHE = Path(environments.CACHE)
LOGS = CACHE / "logs"
#: ansible-test, ansible-lint and the importer keep what they cache below a HOME of the work tree's own
HOME = CACHE / "home"
PYTHONS = CACHE / "pythons"

#: processors that the parts share; a part says how many it keeps busy
SLOTS = max(2, os.cpu_count() or 2)
#: of a failing part's output, what is shown
SHOWN_LINES = 200

MAIN = environments.MAIN
IN_CI = os.environ.get("CI") == "true"

# ansible-test fetches this script, which installs pip into the environments that it makes, from a host of its own.
# Python brings a pip for that, so a stand-in works everywhere. The wheel is fetched once, and then only unpacked: it is
# wanted some thirty times.
GET_PIP = """\
import os
import subprocess
import sys
import sysconfig
import tempfile
import zipfile

wanted = next(argument for argument in sys.argv if argument.startswith("pip=="))
folder = os.path.dirname(os.path.abspath(__file__))
wheel = os.path.join(folder, "pip-" + wanted.split("==")[1] + "-py3-none-any.whl")
if os.path.exists(wheel):
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(sysconfig.get_paths()["purelib"])
else:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(dir=folder) as fetched:
        subprocess.check_call([*pip, "download", "--quiet", "--no-deps", "--dest", fetched, wanted])
        os.replace(os.path.join(fetched, os.path.basename(wheel)), wheel)
    subprocess.check_call([*pip, "install", "--quiet", wheel])
"""
#: the pip that ansible-core 2.19, and 2.20 to 2.22, ask for
GET_PIP_NAMES = ("get_pip_24_2.py", "get_pip_25_2.py")


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)


@dataclass
class Part:
    """A part of the test.

    run      does it, and returns what it counted; what it writes goes through the Log
    needs    patterns below the root: the part is there when each finds something
    slots    how many processors it keeps busy
    lock     parts with the same lock do not run side by side
    """

    name: str
    run: Callable[[Log, Sequence[str]], Counts]
    needs: tuple[str, ...] = ()
    slots: int = 1
    lock: str = ""
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def is_there(self) -> bool:
        return all(next(ROOT.glob(pattern), None) for pattern in self.needs)


class Log:
    """Where a part writes, and how it starts commands. All that still run are ended when the run is."""

    running: set[subprocess.Popen[bytes]] = set()  # of all parts

    def __init__(self, part: Part) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        self.part = part
        self.path = LOGS / f"{part.name}.log"
        self.stream = self.path.open("wb")

    def write(self, text: str) -> None:
        self.stream.write(text.encode())
        self.stream.flush()

    def command(self, arguments: Sequence[str], cwd: Path = ROOT, **environment: str) -> tuple[bool, str]:
        """Run a command with the main environment first; whether it succeeded, and what it wrote."""
        env = environments.process_environment(MAIN, **{"HOME": str(HOME), **environment})
        self.write(f"$ {' '.join(arguments)}\n")
        begin = self.stream.tell()
        process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self.stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.running.add(process)
        try:
            code = process.wait()
        finally:
            self.running.discard(process)
        self.stream.seek(0, os.SEEK_END)
        written = self.path.read_bytes()[begin:].decode(errors="replace")
        return code == 0, written

    def each(self, *commands: Sequence[str], cwd: Path = ROOT, **environment: str) -> Counts:
        """Run commands one after the other, also after a failure; each counts as one test."""
        counts = Counts()
        for arguments in commands:
            succeeded, _ = self.command(arguments, cwd=cwd, **environment)
            counts += Counts(passed=1) if succeeded else Counts(failed=1)
        return counts

    @classmethod
    def end_all(cls) -> None:
        for process in list(cls.running):
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                continue


# --- the parts ---


def tool(command: str, environment: str = MAIN) -> str:
    return environments.executable(environment, command)


def run_pytest(
    log: Log, folders: Sequence[str], arguments: Sequence[str], environment: str = MAIN, workers: int = 0
) -> Counts:
    """Run pytest, and count from its report: an error is a failure."""
    report = LOGS / f"{log.part.name}.xml"
    report.unlink(missing_ok=True)
    command = [tool("python", environment), "-m", "pytest", "-q", f"--junitxml={report}"]
    command += ["-n", str(workers), "--dist", "loadscope"] if workers else []
    with tempfile.TemporaryDirectory(prefix="po-home-") as home:
        succeeded, _ = log.command([*command, *folders, *arguments], HOME=home)
    if not report.exists():
        return Counts(failed=1)
    counts = Counts()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        total, failed, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "skipped"))
        failed += int(suite.get("errors", 0))
        counts += Counts(total - failed - skipped, failed, skipped)
    if not succeeded and not counts.failed:
        counts.failed = 1
    return counts


def pytest_part(name: str, folder: str, workers: int = 0) -> Part:
    def run(log: Log, arguments: Sequence[str]) -> Counts:
        return run_pytest(log, [folder], arguments, workers=workers)

    # its workers wait for clusters half of the time, so one slot is what they fill
    return Part(name, run, needs=(f"{folder}/test_*.py",))


def contract(log: Log, arguments: Sequence[str]) -> Counts:
    counts = run_pytest(log, ["tests/contract"], arguments)
    if IN_CI and counts.skipped:
        log.part.notes.append("a contract test that is skipped in CI is a failure")
        counts = Counts(counts.passed, counts.failed + counts.skipped, 0)
    return counts


def lint(log: Log, _: Sequence[str]) -> Counts:
    collection = tree.refresh()
    counts = log.each(
        [tool("ruff"), "check", "--no-cache", "."],
        [tool("ruff"), "format", "--no-cache", "--check", "."],
        [tool("yamllint"), "--strict", "."],
        [tool("shellcheck"), ".ci/run"],
    )
    own = {"ANSIBLE_COLLECTIONS_PATH": str(collection.parents[2]), "NO_COLOR": "1"}
    return counts + log.each([tool("ansible-lint"), "--offline", "--profile", "production"], cwd=collection, **own)


def typecheck(log: Log, _: Sequence[str]) -> Counts:
    collection = ROOT / ".venv/collections/ansible_collections/paletteops/modes"
    counts = log.each(
        [tool("mypy"), str(collection / "plugins")],
        [tool("mypy"), "embedded/plane/src"],
        [tool("mypy"), "embedded/agent/src"],
        [tool("mypy"), "tools"],
    )
    # tests import their neighbours by their plain names, unless the folder is a package
    for folder in [*ROOT.glob("embedded/*/tests"), *sorted({path.parent for path in ROOT.glob("tests/*/*.py")})]:
        within = sorted({str(path.parent) for path in folder.rglob("*.py")})
        neighbours = "" if (folder / "__init__.py").exists() else os.pathsep.join(within)
        counts += log.each([tool("mypy"), "--follow-imports=silent", str(folder)], MYPYPATH=neighbours)
    return counts


def docs(log: Log, _: Sequence[str]) -> Counts:
    collection = tree.refresh()
    own = {"ANSIBLE_COLLECTIONS_PATH": str(collection.parents[2])}
    return log.each(
        [tool("antsibull-docs"), "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=dependent", "."],
        [tool("antsibull-changelog"), "lint"],
        [tool("python"), str(ROOT / "tools/pages.py"), str(CACHE / "html")],
        cwd=collection,
        **own,
    )


def importer(log: Log, _: Sequence[str]) -> Counts:
    make_environment(log, "importer")
    target = CACHE / "importer"
    tarball = next(path for path in distribution.build(target) if path.suffixes[-2:] == [".tar", ".gz"])
    path = os.pathsep.join([str(Path(tool("python", "importer")).parent), "/usr/local/bin", "/usr/bin", "/bin"])
    command = [tool("python", "importer"), "-m", "galaxy_importer.main", str(tarball)]
    # it writes its result into the folder where it runs
    succeeded, written = log.command(command, cwd=target, PATH=path)
    if re.search(r"^(WARNING|ERROR)", written, re.MULTILINE):
        log.part.notes.append("what the importer warns of counts as a failure")
        succeeded = False
    return Counts(passed=1) if succeeded else Counts(failed=1)


def molecule(log: Log, arguments: Sequence[str]) -> Counts:
    counts = Counts()
    # a scenario with a run.py needs a host of its own, and root: `make molecule-agent`
    folders = sorted(path.parent for path in (ROOT / "extensions/molecule").glob("*/molecule.yml"))
    scenarios = [folder.name for folder in folders if not (folder / "run.py").exists()]
    own = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections"), "ANSIBLE_PYTHON_INTERPRETER": tool("python")}
    for scenario in scenarios:
        command = [tool("molecule"), "test", "--scenario-name", scenario, *arguments]
        with tempfile.TemporaryDirectory(prefix="po-home-") as home:
            # Ansible takes the user's entry in the password file for the home of modules, whatever HOME says
            own["ANSIBLE_REMOTE_TMP"] = f"{home}/.ansible/tmp"
            succeeded, _ = log.command(command, cwd=ROOT / "extensions", HOME=home, **own)
        counts += Counts(passed=1) if succeeded else Counts(failed=1)
    return counts


# --- ansible-test ---


def prepare_ansible_test() -> None:
    """A HOME with the stand-in, the user's settings of pip, and a folder of interpreters by their plain names."""
    cache = HOME / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in GET_PIP_NAMES:
        (cache / name).write_text(GET_PIP, encoding="utf-8")
    for setting in (".config/pip", ".pip", ".cache/pip"):
        theirs, ours = Path.home() / setting, HOME / setting
        if theirs.is_dir() and not ours.exists():
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(theirs)
    PYTHONS.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    for candidate in bootstrap.possible_interpreters(newest_minor=20, oldest_minor=8):
        described = bootstrap.describe(candidate)
        if described and described["plain"] and not described["missing"]:
            found.setdefault("python{}.{}".format(*described["version"]), described["path"])
    for name, path in found.items():
        link = PYTHONS / name
        link.unlink(missing_ok=True)
        link.symlink_to(path)


def ansible_test_sanity(log: Log, environment: str, arguments: Sequence[str]) -> Counts:
    collection = tree.refresh()
    prepare_ansible_test()
    # not the environment of the whole run: ansible-test takes the first ansible of the path for its own
    folders = [str(Path(tool("python", environment)).parent), str(PYTHONS), "/usr/local/bin", "/usr/bin", "/bin"]
    command = [tool("ansible-test", environment), "sanity", "--local", "--color", "no", *arguments]
    succeeded, written = log.command(command, cwd=collection, PATH=os.pathsep.join(folders))
    names = set(re.findall(r'^Running sanity test "([^"]+)"', written, re.MULTILINE))
    bad = set(re.findall(r"^ERROR: Found \d+ (\S+) issue", written, re.MULTILINE))
    listed = re.search(r"^ERROR: The \d+ sanity test\(s\) listed below .* failed.*?:\n(.*)", written, re.M | re.S)
    bad |= set(re.findall(r"^([a-z0-9-]+)", listed.group(1), re.MULTILINE)) if listed else set()
    left_out = sorted(set(re.findall(r'^WARNING: Skipping sanity test "([^"]+)"(?! on Python)', written, re.MULTILINE)))
    if left_out:
        log.part.notes.append("sanity tests left out: " + ", ".join(left_out))
    pythons = sorted(set(re.findall(r'^WARNING: Skipping sanity test "[^"]+" on Python (\S+)', written, re.MULTILINE)))
    if pythons:
        log.part.notes.append("not here, so left out of compile and import: Python " + ", ".join(pythons))
    failed = max(len(bad), 0 if succeeded else 1)
    return Counts(max(len(names) - failed - len(left_out), 0), failed, len(left_out))


def sanity(log: Log, arguments: Sequence[str]) -> Counts:
    return ansible_test_sanity(log, MAIN, arguments)


def make_environment(log: Log, name: str) -> None:
    done, _ = log.command([sys.executable, str(ROOT / "tools/bootstrap.py"), name], HOME=str(Path.home()))
    if not done:
        raise RuntimeError(f"the environment {name} could not be made")


@dataclass(frozen=True)
class Release:
    """A release of ansible-core in the matrix."""

    version: str
    prerelease: bool = False


RELEASES = (Release("2.19"), Release("2.20"), Release("2.21"), Release("2.22", prerelease=True))

#: sanity tests that say the same of the same text with any release: the one in .venv is enough. For the pylint of 2.22
#: there is a second reason: it wants an archive from a host that is no package index.
SAME_WITH_ANY_RELEASE = ("changelog", "pep8", "pylint", "yamllint")


def matrix_part(release: Release) -> Part:
    environment = f"core-{release.version}"

    def run(log: Log, arguments: Sequence[str]) -> Counts:
        try:
            bootstrap.choose_interpreter(environment)
        except bootstrap.CannotMake as problem:
            log.part.notes.append(f"left out: {problem}")
            return Counts(skipped=1)
        make_environment(log, environment)
        if release.prerelease:
            log.part.notes.append(f"{release.version} is a pre-release")
        # one Python here: all of them are tried with the release in .venv
        own = ["--python", python_release(environment)]
        own += [word for name in SAME_WITH_ANY_RELEASE for word in ("--skip-test", name)]
        counts = ansible_test_sanity(log, environment, [*own, *arguments])
        log.part.notes.append(f"sanity tests left to the release in .venv: {', '.join(SAME_WITH_ANY_RELEASE)}")
        folders = ["tests/unit", "tests/integration/test_four_steps.py"]
        folders = [folder for folder in folders if (ROOT / folder).exists()]
        return counts + run_pytest(log, folders, [], environment=environment)

    return Part(f"matrix-{release.version}", run)


def core_release() -> str:
    """The release of ansible-core in .venv: the line that everything is tested with."""
    code = "import ansible.release as release; print('.'.join(release.__version__.split('.')[:2]))"
    return subprocess.check_output([tool("python"), "-c", code], text=True).strip()


def python_release(environment: str) -> str:
    code = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    return subprocess.check_output([tool("python", environment), "-c", code], text=True).strip()


def parts() -> list[Part]:
    """In the order of the table. The longest are started first, whatever this order."""
    main = core_release()
    return [
        Part("lint", lint),
        Part("typecheck", typecheck),
        Part("docs", docs),
        Part("importer", importer),
        Part("sanity", sanity),
        pytest_part("unit", "tests/unit"),
        pytest_part("plane", "embedded/plane/tests"),
        pytest_part("agent", "embedded/agent/tests", workers=2),
        Part("contract", contract, needs=("tests/contract/test_*.py",)),
        pytest_part("integration", "tests/integration", workers=2),
        Part("molecule", molecule, needs=("extensions/molecule/*/molecule.yml",)),
        *(matrix_part(release) for release in RELEASES if release.version != main),
    ]


#: started in this order; what is not named comes last
LONGEST_FIRST = ("integration", "contract", "matrix", "sanity", "molecule", "plane", "agent", "docs")


# --- running them ---


def rank(part: Part) -> int:
    return next((place for place, name in enumerate(LONGEST_FIRST) if part.name.startswith(name)), len(LONGEST_FIRST))


def run_part(part: Part, arguments: Sequence[str]) -> None:
    started = time.monotonic()
    log = Log(part)
    try:
        part.counts = part.run(log, arguments)
    except Exception as problem:  # one part must not hide the others
        log.write(f"{type(problem).__name__}: {problem}\n")
        part.counts = Counts(failed=1)
    part.seconds = time.monotonic() - started
    log.stream.close()


def row(part: Part) -> str:
    result = "failed" if part.counts.failed else "passed" if part.counts.passed else "left out"
    counts = part.counts
    return f"{part.name:<16}{result:<10}{counts.passed:>7}{counts.failed:>8}{counts.skipped:>9}{part.seconds:>10.1f}"


HEADING = f"{'part':<16}{'result':<10}{'passed':>7}{'failed':>8}{'skipped':>9}{'seconds':>10}"


def report(part: Part, show: bool) -> None:
    """The part's line, and its output where it failed."""
    print(row(part), flush=True)
    path = LOGS / f"{part.name}.log"
    if part.counts.failed or show:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        shown = lines if show else lines[-SHOWN_LINES:]
        print(f"--- {path.relative_to(ROOT)}, {len(shown)} of {len(lines)} lines")
        print("\n".join(shown))
        print("---", flush=True)


def run_all(chosen: list[Part], arguments: Sequence[str], show: bool) -> None:
    """Start parts as processors and locks become free."""
    turn = threading.Condition()
    waiting = sorted(chosen, key=rank)
    free, held = SLOTS, set[str]()

    def work(part: Part) -> None:
        nonlocal free
        run_part(part, arguments)
        with turn:
            report(part, show)
            free += min(part.slots, SLOTS)
            held.discard(part.lock)
            turn.notify_all()

    threads = []
    with turn:
        while waiting:
            fitting = (p for p in waiting if min(p.slots, SLOTS) <= free and not (p.lock and p.lock in held))
            part = next(fitting, None)
            if part is None:
                turn.wait()
                continue
            waiting.remove(part)
            free -= min(part.slots, SLOTS)
            held.add(part.lock)
            threads.append(threading.Thread(target=work, args=(part,), daemon=True))
            threads[-1].start()
    for thread in threads:
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="show what the parts write also where they pass")
    parser.add_argument("names", nargs="*", metavar="PART", help="a name, or the beginning of names: matrix")
    given, arguments = sys.argv[1:], []
    if "--" in given:
        place = given.index("--")
        given, arguments = given[:place], given[place + 1 :]
    options = parser.parse_args(given)
    there = parts()
    chosen = [part for part in there if not options.names or any(part.name.startswith(name) for name in options.names)]
    missing = [name for name in options.names if not any(part.name.startswith(name) for part in chosen)]
    if missing:
        print(f"error: no part {', '.join(missing)}; there are: {', '.join(part.name for part in there)}")
        return 2
    chosen = [part for part in chosen if part.is_there()]

    def stop(number: int, _: object) -> None:
        Log.end_all()
        os._exit(128 + number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    started = time.monotonic()
    HOME.mkdir(parents=True, exist_ok=True)
    print(HEADING, flush=True)
    run_all(chosen, arguments, options.show)
    total = sum((part.counts for part in chosen), Counts())
    if len(chosen) > 1:
        print(f"\nansible-core {core_release()}, {time.monotonic() - started:.0f} seconds in all\n\n{HEADING}")
        for part in chosen:
            print(row(part))
    for part in chosen:
        for note in part.notes:
            print(f"{part.name}: {note}")
    print(f"\n{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
