#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the content bundle of a Kubernetes version from the upstream projects' own Go modules.

`payload.py [VERSION …]`. What a version is made of stands in payload/releases.toml; the sources' checksums in
payload/modules/*/go.sum, which Go compares. What was built is kept in a cache outside the work tree
(PALETTEOPS_CACHE, or paletteops/ in XDG_CACHE_HOME), where versions share what they have in common. The last line
printed is the bundle's path. What Go keeps for itself meanwhile, some 5 GB a version, goes when all is built.

A bundle is one file, NAME-VERSION-ARCHITECTURE.tar.zst: bundle.json, its signature (`openssl dgst -sha256`), and the
members in the order in which bundle.json lists them with size, SHA-256 and mode. The public key lies beside it.

Without Go, `--from FOLDER` takes the binaries from the upstream projects' release files, whose checksums a SHA256SUMS
in that folder pins; or use a bundle that somebody else built.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "payload"
RELEASES = HERE / "releases.toml"
MODULES = HERE / "modules"
PAUSE = HERE / "pause" / "pause.c"

NAME = "edge-k8s"
FORMAT = 1
PUBLIC_KEY = "signing.pub"
CHECKSUMS = "SHA256SUMS"
#: of the machine's name for its processor, the one that Go and images use
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
#: Debian's package for each program that building needs
PACKAGES = {
    "go": "golang-go",
    "cc": "gcc",
    "nft": "nftables",
    "zstd": "zstd",
    "openssl": "openssl",
    "ldd": "libc-bin",
    "seccomp.h": "libseccomp-dev",
    "libseccomp.a": "libseccomp-dev",
    "libc.a": "libc6-dev",
}
#: what writing a bundle needs, and what compiling its members needs besides
WRITING = ["zstd", "openssl", "nft", "ldd"]
COMPILING = ["go", "cc", "seccomp.h", "libseccomp.a", "libc.a"]


class PayloadError(Exception):
    """What is wrong, with the value, and the way out."""


# -- what a release is made of ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Project:
    """An upstream project at a version: `commands` are packages by the name of their binary."""

    name: str
    version: str
    module: str
    commands: Mapping[str, str]
    flags: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    c: bool = False

    @property
    def folder(self) -> Path:
        return MODULES / f"{self.name}-{self.version}"

    def linker_flags(self) -> str:
        major, minor = self.version.split(".")[:2]
        words = ["-s", "-w"]
        for flag in self.flags:
            words += ["-X", flag.format(version=self.version, major=major, minor=minor)]
        if self.c:
            words += ["-linkmode", "external", "-extldflags", "-static"]
        return " ".join(words)


@dataclass(frozen=True)
class ImagePlan:
    """An image with the binary of its name.

    `programs` of the building machine go in with their libraries, `files` of this folder by their path in the image.
    """

    name: str
    reference: str
    programs: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    entrypoint: bool = False


@dataclass(frozen=True)
class Release:
    version: str
    projects: tuple[Project, ...]
    images: tuple[ImagePlan, ...]
    #: path in the bundle by name of the binary
    paths: Mapping[str, str]
    #: version of pause, which is built here
    pause: str


def load_releases(path: Path = RELEASES) -> dict[str, Any]:
    with path.open("rb") as source:
        data: dict[str, Any] = tomllib.load(source)
    return data


def known_versions(data: Mapping[str, Any]) -> list[str]:
    return sorted(data["releases"], key=lambda version: tuple(int(part) for part in version.split(".")))


def release(data: Mapping[str, Any], version: str) -> Release:
    version = version.removeprefix("v")
    if version not in data["releases"]:
        known = ", ".join(known_versions(data))
        raise PayloadError(f"there are no pins for Kubernetes {version}: take one of {known}, or add it with --pin")
    versions = {"kubernetes": version, **data["releases"][version]}
    projects = tuple(
        Project(
            name=name,
            version=versions[name],
            module=plan["module"],
            commands=plan["commands"],
            flags=tuple(plan.get("flags", ())),
            tags=tuple(plan.get("tags", ())),
            also=tuple(plan.get("also", ())),
            c=plan.get("c", False),
        )
        for name, plan in data["projects"].items()
    )
    images = tuple(
        ImagePlan(
            name=name,
            reference=plan["reference"].format(**versions),
            programs=tuple(plan.get("programs", ())),
            files=tuple(plan.get("files", {}).items()),
            entrypoint=plan.get("entrypoint", False),
        )
        for name, plan in data["images"].items()
    )
    paths = {binary: f"{folder}/{binary}" for folder, names in data["layout"].items() for binary in names}
    return Release(version, projects, images, paths, versions["pause"])


# -- the machine ---------------------------------------------------------------------------------------------------


def architecture() -> str:
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise PayloadError(f"bundles are built on {' and '.join(ARCHITECTURES)}, not on {machine}")
    return ARCHITECTURES[machine]


def cache_folder() -> Path:
    own = os.environ.get("PALETTEOPS_CACHE")
    if own:
        return Path(own) / "payload"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "paletteops" / "payload"


def missing_here(wanted: Sequence[str]) -> list[str]:
    """Of programs, headers (*.h) and static libraries (*.a), those that this machine lacks."""
    missing = []
    for name in wanted:
        if name.endswith(".a"):
            found = shutil.which("cc") and _run(["cc", f"-print-file-name={name}"]).strip() != name
        elif name.endswith(".h"):
            found = Path("/usr/include", name).exists()
        else:
            found = bool(shutil.which(name, path=search_path()))
        if not found:
            missing.append(name)
    return missing


def search_path() -> str:
    """PATH, and the folders for administrators' programs, which PATH of a normal user lacks."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def require(wanted: Sequence[str]) -> None:
    missing = missing_here(wanted)
    if not missing:
        return
    packages = " ".join(sorted({PACKAGES[name] for name in missing if name != "go"}))
    ways = [f"on Debian: apt install {packages}"] if packages else []
    if "go" in missing:
        ways.append(
            "install Go, or take the projects' release files (--from FOLDER), or a bundle that was built elsewhere"
        )
    raise PayloadError(f"building a bundle needs {', '.join(missing)}; {'; '.join(ways)}")


def check_go(projects: Sequence[Project]) -> None:
    """Go as new as the newest project asks for; it does not fetch another one by itself."""
    have = _run(["go", "env", "GOVERSION"]).strip().removeprefix("go")
    newest = max((_go_line(project.folder / "go.mod") for project in projects), key=_numbers)
    if _numbers(have) < _numbers(newest):
        raise PayloadError(
            f"the projects need Go {newest}, this is {have}: update it, or let it update itself with GOTOOLCHAIN=auto"
        )


def _go_line(path: Path) -> str:
    if not path.exists():
        raise PayloadError(f"there is no {path.relative_to(HERE.parent.parent)}: make it with --pin")
    found = re.search(r"(?m)^go (\S+)$", path.read_text("utf-8"))
    return found[1] if found else "1"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _run(command: Sequence[str], **more: Any) -> str:
    """Standard output of a command that succeeds."""
    done = subprocess.run(list(command), capture_output=True, text=True, **more)
    if done.returncode:
        raise PayloadError(f"{' '.join(command[:3])} … failed ({done.returncode}): {done.stderr.strip()[-2000:]}")
    return str(done.stdout)


class Progress:
    """Lines with the time since the start."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self.start:7.1f} s] {text}", file=sys.stderr, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        begun = time.monotonic()
        self(f"{text} …")
        yield
        self(f"{text}: {time.monotonic() - begun:.1f} s")


# -- binaries ------------------------------------------------------------------------------------------------------


@dataclass
class Built:
    """A binary and what it came from, as a key: two of the same key are the same file."""

    path: Path
    key: str


@dataclass
class Builder:
    """Compiles what is not in the cache yet."""

    cache: Path
    progress: Progress
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # writable, so that removing the cache takes no more than rm
        flags = " ".join([os.environ.get("GOFLAGS", ""), "-modcacherw", "-mod=readonly"]).strip()
        self.environment = {
            **os.environ,
            "GOCACHE": str(self.cache / "go" / "build"),
            "GOMODCACHE": str(self.cache / "go" / "modules"),
            "GOFLAGS": flags,
            "GOWORK": "off",
            "GOOS": "linux",
        }

    def project(self, project: Project) -> dict[str, Built]:
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            digest.update((project.folder / name).read_bytes())
        parts = [project.linker_flags(), *project.tags, architecture(), _run(["go", "env", "GOVERSION"])]
        digest.update("\0".join(parts).encode())
        key = f"{project.name}-{project.version}-{digest.hexdigest()[:16]}"
        folder = self.cache / "built" / key
        folder.mkdir(parents=True, exist_ok=True)
        for name, package in project.commands.items():
            if not (folder / name).exists():
                with self.progress.step(f"{name} {project.version}"):
                    self._compile(project, package, folder / name)
        return {name: Built(folder / name, f"{key}/{name}") for name in project.commands}

    def _compile(self, project: Project, package: str, target: Path) -> None:
        environment = {**self.environment, "CGO_ENABLED": "1" if project.c else "0"}
        partial = target.with_name(f".{target.name}.partial")
        command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", project.linker_flags()]
        command += ["-tags", ",".join(project.tags), "-o", str(partial), package]
        if shutil.which("nice"):
            command = ["nice", "-n", "10", *command]
        _run(command, cwd=project.folder, env=environment)
        partial.rename(target)


def build_pause(cache: Path, version: str) -> Built:
    source = PAUSE.read_bytes()
    folder = cache / "built" / f"pause-{version}-{hashlib.sha256(source).hexdigest()[:16]}-{architecture()}"
    target = folder / "pause"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / ".pause.partial"
        flags = ["-std=gnu11", "-Os", "-Wall", "-Werror", "-static", "-s", f'-DVERSION="{version}"']
        _run(["cc", *flags, "-o", str(partial), str(PAUSE)])
        partial.rename(target)
    return Built(target, f"{folder.name}/pause")


# -- binaries of the projects' release files -----------------------------------------------------------------------


def from_release_files(source: Path, names: Sequence[str], cache: Path, goarch: str) -> dict[str, Built]:
    """The binaries of those names, out of what the projects publish.

    A file of the name (`kubeadm`, `runc.amd64`) or a member of that name in a tar archive. Only files that SHA256SUMS
    in the folder lists are looked at, and each must be what is listed.
    """
    sums = read_checksums(source)
    found: dict[str, tuple[Path, str | None]] = {}
    for name in sums:
        path = source / name
        if name.endswith((".tar.gz", ".tgz", ".tar")):
            with tarfile.open(path) as archive:
                for member in archive:
                    base = member.name.rsplit("/", 1)[-1]
                    if member.isreg() and base in names:
                        found.setdefault(base, (path, member.name))
        else:
            base = name.removesuffix(f".{goarch}").removesuffix(f"-{goarch}").removesuffix("-linux")
            if base in names:
                found[base] = (path, None)
    missing = sorted(set(names) - set(found))
    if missing:
        raise PayloadError(f"no file that {source / CHECKSUMS} lists holds {', '.join(missing)}: add the release files")
    built = {}
    for name, (path, inside) in found.items():
        key = f"release-{sums[path.name][:16]}/{name}"
        target = cache / "built" / key
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{name}.partial")
            if inside is None:
                shutil.copyfile(path, partial)
            else:
                with tarfile.open(path) as archive, partial.open("wb") as out:
                    content = archive.extractfile(inside)
                    assert content is not None
                    shutil.copyfileobj(content, out)
            partial.rename(target)
        built[name] = Built(target, key)
    return built


def read_checksums(source: Path) -> dict[str, str]:
    """SHA-256 by file name, of a folder whose files are all as SHA256SUMS in it says."""
    listing = source / CHECKSUMS
    if not listing.exists():
        raise PayloadError(f"there is no {listing}: write one with the checksums that the projects publish")
    sums = {}
    for line in listing.read_text("utf-8").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](\S+)", line)
        if not match or "/" in match[2]:
            raise PayloadError(f"{listing} has a line that is not 'SHA-256  FILE': {line!r}")
        sums[match[2]] = match[1]
    for name, wanted in sums.items():
        path = source / name
        if not path.is_file():
            raise PayloadError(f"{listing} lists {name}, which is not there")
        have = digest_of(path)[1]
        if have != wanted:
            raise PayloadError(f"{path} has the SHA-256 {have}, but {listing} says {wanted}: get it anew")
    return sums


# -- images ----------------------------------------------------------------------------------------------------------


def digest_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256."""
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return path.stat().st_size, digest


def with_libraries(program: str) -> dict[str, Path]:
    """Files of an image, by their path there, for a program of this machine: itself and what ldd names."""
    found = shutil.which(program, path=search_path())
    if not found:
        raise PayloadError(f"there is no {program} on this machine; on Debian: apt install {PACKAGES[program]}")
    files = {f"usr/sbin/{program}": Path(found)}
    # a line of ldd: `libc.so.6 => /lib/…/libc.so.6 (0x…)`, or `/lib64/ld-linux-x86-64.so.2 (0x…)` for the loader
    for path in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", _run(["ldd", found]), re.MULTILINE):
        files[path.lstrip("/")] = Path(path)
    return files


def write_image(
    target: Path, reference: str, files: Mapping[str, Path], config: Mapping[str, Any], goarch: str
) -> None:
    """An image of one layer in the form of `docker save`; the same input gives the same bytes.

    `files` are by their path in the image; `config` is its Entrypoint, Cmd, Env and so on.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        layer = Path(scratch, "layer.tar")
        with tarfile.open(layer, "w", format=tarfile.USTAR_FORMAT) as tar:
            for folder in sorted({parent for name in files for parent in _parents(name)} | {"tmp"}):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
                tar.addfile(entry)
            for name in sorted(files):
                _add(tar, name, files[name], 0o755)
        layer_digest = digest_of(layer)[1]
        body = {
            "architecture": goarch,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], **config},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "paletteops"}],
        }
        encoded = json.dumps(body, sort_keys=True).encode()
        name = f"{hashlib.sha256(encoded).hexdigest()}.json"
        manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{layer_digest}/layer.tar"]}]
        partial = target.with_name(f".{target.name}.partial")
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            _add_bytes(tar, "manifest.json", json.dumps(manifest).encode())
            _add_bytes(tar, name, encoded)
            _add(tar, f"{layer_digest}/layer.tar", layer, 0o644)
        partial.rename(target)


def _parents(name: str) -> Iterator[str]:
    parts = name.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])


def _add(tar: tarfile.TarFile, name: str, path: Path, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = path.stat().st_size, mode
    with path.open("rb") as content:
        tar.addfile(entry, content)


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def build_image(plan: ImagePlan, binary: Built, cache: Path, goarch: str) -> Path:
    files = {f"usr/local/bin/{plan.name}": binary.path}
    for program in plan.programs:
        files.update(with_libraries(program))
    files.update({path: HERE / name for path, name in plan.files})
    digest = hashlib.sha256(f"{plan.reference}\0{binary.key}\0{plan.entrypoint}\0{goarch}".encode())
    for name, path in sorted(files.items()):
        # what was built has its key, which spares reading it
        digest.update(f"\0{name}\0{'' if path == binary.path else digest_of(path)[1]}".encode())
    target = cache / "images" / f"{plan.name}-{digest.hexdigest()[:16]}.tar"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        config = {"Entrypoint": [f"/usr/local/bin/{plan.name}"]} if plan.entrypoint else {}
        write_image(target, plan.reference, files, config, goarch)
    return target


# -- the bundle ------------------------------------------------------------------------------------------------------


def describe(
    version: str, goarch: str, members: Mapping[str, tuple[Path, int]], images: Mapping[str, str], serial: int
) -> dict[str, Any]:
    """bundle.json, without the time of its making. `members` are file and mode by path in the bundle."""
    listed = {}
    for name, (path, mode) in members.items():
        size, digest = digest_of(path)
        listed[name] = {"size": size, "sha256": digest, "mode": f"{mode:04o}"}
    return {
        "format": FORMAT,
        "name": NAME,
        "version": version,
        "architecture": goarch,
        "serial": serial,
        "kubernetes": {"images": dict(images)},
        "members": listed,
    }


def read_description(bundle: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """What stands first in a bundle: its description, the bytes of it, and their signature."""
    with subprocess.Popen(["zstd", "-dcq", str(bundle)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                parts = []
                for expected in ("bundle.json", "bundle.json.sig"):
                    entry = tar.next()
                    content = tar.extractfile(entry) if entry is not None and entry.name == expected else None
                    if content is None:
                        raise PayloadError(f"{bundle} is not a content bundle: {expected} is missing")
                    parts.append(content.read())
        except tarfile.TarError as error:
            raise PayloadError(f"{bundle} is not a content bundle: {error}") from error
        finally:
            process.kill()
    raw, signature = parts
    return json.loads(raw), raw, signature


def sign(content: bytes, key: Path) -> bytes:
    done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(key)], input=content, capture_output=True)
    if done.returncode:
        raise PayloadError(f"{key} does not sign: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def verifies(content: bytes, signature: bytes, public_key: Path) -> bool:
    with tempfile.NamedTemporaryFile() as file:
        file.write(signature)
        file.flush()
        command = ["openssl", "dgst", "-sha256", "-verify", str(public_key), "-signature", file.name]
        return subprocess.run(command, input=content, capture_output=True).returncode == 0


def signing_key(path: Path) -> Path:
    """The private key at that path, made when there is none: EC P-256, readable by its owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with _umask(0o077):
            _run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path)])
    return path


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def write_bundle(
    target: Path, description: Mapping[str, Any], members: Mapping[str, tuple[Path, int]], key: Path
) -> None:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    raw = json.dumps({**description, "created": now}, indent=1).encode()
    signature = sign(raw, key)
    partial = target.with_name(f".{target.name}.partial")
    command = ["zstd", "-q", "-T0", "-3", "-f", "-o", str(partial)]
    if shutil.which("nice"):
        command = ["nice", "-n", "10", *command]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        try:
            with tarfile.open(fileobj=process.stdin, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
                _add_bytes(tar, "bundle.json", raw)
                _add_bytes(tar, "bundle.json.sig", signature)
                for name, (path, mode) in members.items():
                    _add(tar, name, path, mode)
            process.stdin.close()
        except BrokenPipeError:
            pass
        if process.wait():
            partial.unlink(missing_ok=True)
            reason = process.stderr.read().decode(errors="replace").strip()
            raise PayloadError(f"{target} could not be written: {reason}")
    partial.rename(target)


def bundle_is_current(target: Path, description: Mapping[str, Any], public_key: Path) -> tuple[bool, int]:
    """Whether the file there holds just this, signed by this key; and the serial for one that replaces it."""
    if not target.exists():
        return False, 1
    try:
        there, raw, signature = read_description(target)
    except (PayloadError, ValueError):
        return False, 1
    same = {**there, "serial": 0, "created": ""} == {**description, "serial": 0, "created": ""}
    serial = int(there.get("serial", 0))
    return same and verifies(raw, signature, public_key), serial if same else serial + 1


def assemble(
    wanted: Release, binaries: Mapping[str, Built], cache: Path, output: Path, key: Path, progress: Progress
) -> Path:
    """The bundle of a release from its binaries, in the output folder, with the public key beside it."""
    goarch = architecture()
    members = {path: (binaries[name].path, 0o755) for name, path in wanted.paths.items()}
    for plan in wanted.images:
        members[f"images/{plan.name}.tar"] = (build_image(plan, binaries[plan.name], cache, goarch), 0o644)
    output.mkdir(parents=True, exist_ok=True)
    public_key = output / PUBLIC_KEY
    public = _run(["openssl", "pkey", "-in", str(key), "-pubout"])
    if not public_key.exists() or public_key.read_text("ascii") != public:
        public_key.write_text(public, "ascii")
    target = output / f"{NAME}-{wanted.version}-{goarch}.tar.zst"
    images = {plan.name: plan.reference for plan in wanted.images}
    description = describe(wanted.version, goarch, members, images, serial=0)
    current, serial = bundle_is_current(target, description, public_key)
    if not current:
        with progress.step(f"{target.name}"):
            write_bundle(target, {**description, "serial": serial}, members, key)
    return target


# -- pins ------------------------------------------------------------------------------------------------------------


def pin(project: Project, builder: Builder) -> None:
    """Write go.mod and go.sum of a project at a version.

    A module of its own around each project, since Go takes a project's own replace lines only where it is the main
    module: Kubernetes' point at folders of its repository, and are here the published modules of the same version.
    """
    environment = {**builder.environment, "GOFLAGS": "-modcacherw"}
    coordinate = f"{project.module}@v{project.version}"
    answer = json.loads(_run(["go", "mod", "download", "-json", coordinate], cwd="/", env=environment))
    text = Path(answer["GoMod"]).read_text("utf-8")
    lines = [f"module paletteops/payload/{project.name}", "", f"go {_go_line_of(text)}", "", "tool ("]
    lines += [f"\t{package}" for package in project.commands.values()]
    lines += [")", "", "require ("]
    lines += [f"\t{module} v{project.version}" for module in (project.module, *project.also)]
    lines += [")"]
    staged = re.findall(r"(?m)^\s*(\S+) => \./staging/", text)
    if staged:
        library = f"v0.{project.version.split('.', 1)[1]}"
        lines += ["", "replace (", *(f"\t{module} => {module} {library}" for module in staged), ")"]
    project.folder.mkdir(parents=True, exist_ok=True)
    (project.folder / "go.mod").write_text("\n".join(lines) + "\n", "utf-8")
    _run(["go", "mod", "tidy"], cwd=project.folder, env=environment)


def _go_line_of(text: str) -> str:
    found = re.search(r"(?m)^go (\S+)$", text)
    return found[1] if found else "1.24"


# -- the command -----------------------------------------------------------------------------------------------------


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="payload.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="of Kubernetes; the newest when none is given")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="for bundles; bundles/ in the cache by default")
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key that signs; one in the cache by default")
    parser.add_argument("--from", dest="source", type=Path, metavar="FOLDER", help="the projects' release files")
    parser.add_argument("--keep-go", action="store_true", help="keep Go's own caches, for the next version's sake")
    parser.add_argument("--list", action="store_true", help="say which versions there are pins for")
    parser.add_argument("--pin", action="store_true", help="for developers: write what is missing in payload/modules")
    return parser.parse_args(arguments)


@contextmanager
def locked(cache: Path, progress: Progress) -> Iterator[None]:
    """One at a time: two would compile the same."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another build is under way: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(options: argparse.Namespace) -> list[Path]:
    data = load_releases()
    if options.list:
        print("\n".join(known_versions(data)))
        return []
    progress = Progress()
    wanted = [release(data, version) for version in options.versions or known_versions(data)[-1:]]
    if options.key is not None and not options.key.is_file():
        raise PayloadError(
            f"there is no key {options.key}; make one with: openssl genpkey -algorithm EC …, or omit --key"
        )
    cache = cache_folder()
    require([*WRITING, *(COMPILING if options.source is None else [])])
    made = []
    with locked(cache, progress):
        builder = Builder(cache, progress)
        if options.pin:
            for project in {project.folder: project for each in wanted for project in each.projects}.values():
                if not (project.folder / "go.sum").exists():
                    with progress.step(f"pins of {project.name} {project.version}"):
                        pin(project, builder)
            return []
        key = options.key or signing_key(cache / "signing.pem")
        output = (options.output or cache / "bundles").resolve()
        for each in wanted:
            made.append(assemble(each, _binaries(each, options.source, builder), cache, output, key, progress))
            progress(f"Kubernetes {each.version}: {made[-1].stat().st_size / 1e6:.0f} MB")
        if not options.keep_go:
            shutil.rmtree(cache / "go", ignore_errors=True)
    return made


def _binaries(wanted: Release, source: Path | None, builder: Builder) -> dict[str, Built]:
    binaries: dict[str, Built] = {}
    if source is None:
        check_go(wanted.projects)
        for project in wanted.projects:
            binaries.update(builder.project(project))
        binaries["pause"] = build_pause(builder.cache, wanted.pause)
        return binaries
    names = [name for project in wanted.projects for name in project.commands]
    if "pause" in read_checksums(source):
        names.append("pause")
    else:
        require(["cc", "libc.a"])
        binaries["pause"] = build_pause(builder.cache, wanted.pause)
    return {**binaries, **from_release_files(source, names, builder.cache, architecture())}


def main(arguments: Sequence[str]) -> int:
    try:
        for path in run(parse(arguments)):
            print(path)
    except PayloadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
