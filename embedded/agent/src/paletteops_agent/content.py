# SPDX-License-Identifier: GPL-3.0-or-later
"""Content bundles: one file ``PACK-VERSION-ARCH.tar.zst`` for all that a host needs of a Kubernetes version.

The archive begins with ``bundle.json`` and ``bundle.json.sig``; then come the members in the order in which
``bundle.json`` lists them with size, hash and mode. It is read as a stream. Nothing is written before the signature
holds, and every member must be the one that is listed next, a plain file, exactly its size, with its hash: so no name,
link, device or size in the archive is believed. What was written before a mistake is removed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from . import files
from .config import Trust
from .engine import Bundle

FORMAT = 1
SUFFIX = ".tar.zst"
MANIFEST, SIGNATURE = "bundle.json", "bundle.json.sig"
#: what the parts that are read before the signature holds may be large at most
MAX_MANIFEST = 4 << 20
MAX_SIGNATURE = 16 << 10
MAX_MEMBERS = 10_000
MAX_MEMBER = 16 << 30
#: left free on the disk, so that the host goes on working
RESERVE = 256 << 20
_BLOCK = 512
_PIECE = 1 << 18
_ZEROS = b"\0" * _BLOCK

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_FOLDERS = ("bin", "cni", "images", "manifests")
_HASH = re.compile(r"[0-9a-f]{64}")
_MODES = ("0644", "0755", "0444", "0555", "0600", "0700")


_ANEW = "build the bundle anew, or copy it anew from where it is whole"
#: by a reason, what to do about it, where the message does not say it
_WAYS_OUT = {
    "BundleTruncated": _ANEW,
    "BundleDamaged": _ANEW,
    "BundleRefused": _ANEW,
    "SizeWrong": _ANEW,
    "HashWrong": _ANEW,
    "BundleUnsigned": "sign it, or set content.allow_unsigned in the agent's configuration",
    "SignatureWrong": "take the bundle as it was published, or set content.public_key in the agent's configuration to"
    " the key of its signer",
}


class ContentError(Exception):
    """Why a bundle is not used. ``reason`` is one CamelCase word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class InUse:
    """What a new bundle must not be older than; empty strings and 0 where nothing is known."""

    version: str = ""
    serial: int = 0  # the highest that was taken over of the same version


@dataclass(frozen=True)
class Unpacked:
    """A verified bundle in a folder of its own."""

    folder: Path
    bundle: Bundle


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    sha256: str
    mode: int


def version_key(version: str) -> tuple[int, ...]:
    """For comparing versions: the numbers at the beginning; a pre-release comes before its release."""
    plain, dash, _ = version.lstrip("v").partition("-")
    return (*(int(part) for part in re.findall(r"\d+", plain)[:4]), -1 if dash else 0)


def bundle_name(pack: str, version: str, architecture: str) -> str:
    return f"{pack}-{version}-{architecture}"


def unpack(
    path: Path,
    target: Path,
    trust: Trust,
    architecture: str,
    in_use: Callable[[str, str], InUse] = lambda pack, version: InUse(),
    expected: tuple[str, str] | None = None,
    report: Callable[[str], None] = lambda step: None,
) -> Unpacked:
    """Verify and unpack a bundle into ``target/PACK-VERSION-ARCH``; raises ContentError and leaves nothing behind.

    ``in_use(pack, version)`` tells what it may not be older than; ``expected`` is (pack, version) where it is known
    which one this should be.
    """
    for command in ("zstd", "openssl"):
        if shutil.which(command) is None:
            raise ContentError("CommandMissing", f"this host has no {command}: install the package that holds it")
    files.make_folder(target)
    staging = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target))
    try:
        with _decompressed(path) as stream:
            bundle, members = _head(stream, trust, staging)
            _accept(bundle, trust, architecture, in_use, expected)
            _room(staging, members)
            for place, member in enumerate(members, 1):
                report(f"unpacking {bundle.name} {bundle.version} ({place} of {len(members)})")
                _take(stream, staging, member)
            _end(stream)
        final = target / bundle_name(bundle.name, bundle.version, bundle.architecture)
        files.write_json(staging / MANIFEST, asdict(bundle))
        os.chmod(staging, 0o755)
        files.sync_folder(staging)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(staging, final)
        files.sync_folder(target)
        return Unpacked(final, bundle)
    except ContentError as error:
        way_out = _WAYS_OUT.get(error.reason)
        message = f"{path.name}: {error.message}" + (f"; {way_out}" if way_out else "")
        raise ContentError(error.reason, message) from None
    except OSError as error:
        raise _disk_error(error, target) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def unpacked(target: Path, pack: str, version: str, architecture: str) -> Unpacked | None:
    """A bundle that was verified and unpacked before, for example when the host's image was built."""
    folder = target / bundle_name(pack, version, architecture)
    try:
        content = files.read_json(folder / MANIFEST)
        return Unpacked(folder, Bundle(**content)) if content else None
    except (OSError, ValueError, TypeError):
        return None


def remove(ready: Unpacked) -> None:
    """Remove an unpacked bundle that was taken over."""
    shutil.rmtree(ready.folder, ignore_errors=True)


def clean(target: Path) -> None:
    """Remove what an unpacking that was killed left behind."""
    for folder in target.glob(".unpacking-*"):
        shutil.rmtree(folder, ignore_errors=True)


# --- reading ---


class _Stream:
    """The decompressed archive; says what is wrong when it ends too early."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._ahead: list[tuple[str, int]] = []

    def put_back(self, entry: tuple[str, int]) -> None:
        """Let ``entry`` return it once more."""
        self._ahead.append(entry)

    def exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            piece = self._pipe.read(size)
            if not piece:
                raise ContentError("BundleTruncated", "the bundle ends before its content does, or is damaged")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def pieces(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.exactly(min(size, _PIECE))
            size -= len(piece)
            yield piece

    def rest(self) -> bytes:
        return self._pipe.read(1)

    def entry(self) -> tuple[str, int] | None:
        """Name and size of the next member; None at the archive's end. Anything but a plain file is refused."""
        if self._ahead:
            return self._ahead.pop()
        header = self.exactly(_BLOCK)
        if header == _ZEROS:
            return None
        if header[257:262] != b"ustar":
            raise ContentError("BundleDamaged", "this is no tar archive of the ustar form")
        try:
            stated, size = _octal(header[148:156]), _octal(header[124:136])
            name = header[:100].split(b"\0")[0].decode("utf-8")
            prefix = header[345:500].split(b"\0")[0].decode("utf-8") if header[263:265] == b"00" else ""
        except (ValueError, UnicodeDecodeError):
            raise ContentError("BundleDamaged", "a header of the archive cannot be read") from None
        if stated != sum(header[:148]) + 8 * 32 + sum(header[156:]):
            raise ContentError("BundleDamaged", "the checksum of a header of the archive is wrong")
        name = f"{prefix}/{name}" if prefix else name
        if header[156:157] not in (b"0", b"\0"):
            kinds = {b"1": "a link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder"}
            kind = kinds.get(header[156:157], f"of the kind {header[156:157].decode('latin-1')!r}")
            raise ContentError("BundleRefused", f"the member {name!r} is {kind}; only plain files may be in a bundle")
        return name, size

    def padding(self, size: int) -> None:
        self.exactly(-size % _BLOCK)


def _octal(field: bytes) -> int:
    """A number of a header; ValueError for what ``int`` would take besides digits, a sign above all."""
    digits = field.rstrip(b" \0")
    if not digits.isdigit():
        raise ValueError
    return int(digits, 8)


@contextlib.contextmanager
def _decompressed(path: Path) -> Iterator[_Stream]:
    with path.open("rb") as source:
        process = subprocess.Popen(
            # the window is what decompression may use of memory: 128 MiB is zstd's own limit
            ["zstd", "-dcq", "--memory=128MB"],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            yield _Stream(process.stdout)  # type: ignore[arg-type]
            if process.wait(timeout=60) != 0:
                raise ContentError("BundleDamaged", f"zstd says: {_said(process.stderr)}")
        except ContentError as error:
            if error.reason == "BundleTruncated" and _failed(process):
                raise ContentError("BundleTruncated", f"{error.message}; zstd says: {_said(process.stderr)}") from None
            raise
        finally:
            process.kill()
            process.stdout.close()
            process.stderr.close()
            process.wait()


def _failed(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process whose output has ended failed; one that still writes did not."""
    try:
        return process.wait(timeout=5) != 0
    except subprocess.TimeoutExpired:
        return False


def _said(pipe: Any) -> str:
    return str(pipe.read(2000).decode(errors="replace").strip().replace("\n", " ")) or "nothing"


def _head(stream: _Stream, trust: Trust, staging: Path) -> tuple[Bundle, list[_Member]]:
    """bundle.json and its signature, verified before anything in it is looked at."""
    texts = {MANIFEST: b"", SIGNATURE: b""}
    for name, limit in ((MANIFEST, MAX_MANIFEST), (SIGNATURE, MAX_SIGNATURE)):
        entry = stream.entry()
        if name == SIGNATURE and (entry is None or entry[0] != SIGNATURE):
            if entry is not None:
                stream.put_back(entry)
            break
        if entry is None or entry[0] != name:
            found = "nothing" if entry is None else repr(entry[0])
            raise ContentError("BundleRefused", f"{name} must come first in the archive, and {found} does")
        if entry[1] > limit:
            raise ContentError("BundleRefused", f"{name} is larger than {limit} bytes")
        texts[name] = stream.exactly(entry[1])
        stream.padding(entry[1])
    _verify(texts[MANIFEST], texts[SIGNATURE], trust, staging)
    return _manifest(texts[MANIFEST])


def _verify(content: bytes, signature: bytes, trust: Trust, staging: Path) -> None:
    if not signature.strip() and trust.allow_unsigned:
        return
    if not signature.strip():
        raise ContentError("BundleUnsigned", "the bundle is not signed, and the configuration does not allow that")
    if not trust.public_key:
        if trust.allow_unsigned:
            return
        raise ContentError(
            "NoPublicKey", "no public key is configured: set content.public_key in /etc/spectro/paletteops-agent.yaml"
        )
    with tempfile.TemporaryDirectory(prefix=".verify-", dir=staging) as folder:
        key, sign, data = (Path(folder, name) for name in ("key", "signature", "data"))
        key.write_text(trust.public_key, "ascii")
        sign.write_bytes(signature)
        data.write_bytes(content)
        command = ["openssl", "dgst", "-sha256", "-verify", str(key), "-signature", str(sign), str(data)]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
    if done.returncode != 0:
        raise ContentError(
            "SignatureWrong", "the bundle's signature is not by the configured public key, or its content was changed"
        )


def _manifest(text: bytes) -> tuple[Bundle, list[_Member]]:
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ContentError(
                "FormatUnknown",
                f"the bundle's format is {content['format']!r}; this agent knows {FORMAT}, a newer one more",
            )
        members = [_member(name, entry) for name, entry in content["members"].items()]
        images = content.get("kubernetes", {}).get("images", {})
        bundle = Bundle(
            name=_word(content["name"]),
            version=_word(content["version"]),
            architecture=_word(content["architecture"]),
            serial=_serial(content.get("serial", 0)),
            images={str(name): str(reference) for name, reference in images.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ContentError("BundleRefused", f"{MANIFEST} does not hold what it should: {error!r}") from None
    if len(members) > MAX_MEMBERS:
        raise ContentError("BundleRefused", f"{MANIFEST} lists more than {MAX_MEMBERS} members")
    return bundle, members


def _word(value: Any) -> str:
    if not isinstance(value, str) or not _SEGMENT.fullmatch(value):
        raise ValueError(f"{value!r} is no name or version")
    return value


def _serial(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"the serial is {value!r}")
    return value


def _member(name: str, entry: Mapping[str, Any]) -> _Member:
    parts = name.split("/")
    if len(parts) < 2 or parts[0] not in _FOLDERS or not all(_SEGMENT.fullmatch(part) for part in parts):
        raise ContentError("BundleRefused", f"{MANIFEST} lists {name!r}; members are below {', '.join(_FOLDERS)}")
    size, sha256, mode = entry["size"], entry["sha256"], str(entry.get("mode", "0644"))
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_MEMBER:
        raise ContentError("BundleRefused", f"{MANIFEST}: the size of {name} is {size!r}")
    if not isinstance(sha256, str) or not _HASH.fullmatch(sha256):
        raise ContentError("BundleRefused", f"{MANIFEST}: the hash of {name} is {sha256!r}")
    if mode not in _MODES:
        raise ContentError("BundleRefused", f"{MANIFEST}: the mode of {name} is {mode!r}; allowed: {', '.join(_MODES)}")
    return _Member(name, size, sha256, int(mode, 8))


def _accept(
    bundle: Bundle,
    trust: Trust,
    architecture: str,
    in_use: Callable[[str, str], InUse],
    expected: tuple[str, str] | None,
) -> None:
    """Whether this bundle is for this host, and now."""
    if bundle.architecture != architecture:
        raise ContentError(
            "ArchitectureWrong",
            f"the bundle is for {bundle.architecture}, and this host is {architecture}: take the one for that",
        )
    if expected is not None and (bundle.name, bundle.version) != expected:
        raise ContentError(
            "BundleUnexpected", f"this is {bundle.name} {bundle.version}, and {' '.join(expected)} was asked for"
        )
    if trust.allow_older:
        return
    here = in_use(bundle.name, bundle.version)
    if here.version and version_key(bundle.version) < version_key(here.version):
        raise ContentError(
            "BundleOlder",
            f"the bundle has version {bundle.version}, and {here.version} is in use; content.allow_older allows it",
        )
    if bundle.serial < here.serial:
        raise ContentError(
            "BundleOlder",
            f"the bundle of {bundle.version} has serial {bundle.serial}, and {here.serial} was already taken over;"
            " content.allow_older allows it",
        )


def _room(folder: Path, members: list[_Member]) -> None:
    needed = sum(member.size for member in members)
    free = shutil.disk_usage(folder).free
    if needed + RESERVE > free:
        raise ContentError(
            "DiskFull",
            f"the bundle unpacks to {needed >> 20} MiB, and {folder.parent} has {free >> 20} MiB free"
            f" ({RESERVE >> 20} MiB must stay free)",
        )


def _take(stream: _Stream, staging: Path, member: _Member) -> None:
    entry = stream.entry()
    if entry is None:
        raise ContentError("BundleTruncated", f"the member {member.name} is missing")
    name, size = entry
    if name != member.name:
        raise ContentError("BundleRefused", f"the member {name!r} stands where {member.name!r} should")
    if size != member.size:
        raise ContentError("SizeWrong", f"{name} has {size} bytes, and {member.size} are listed")
    path = staging / name
    files.make_folder(path.parent)
    digest = hashlib.sha256()
    with open(path, "xb") as out:
        for piece in stream.pieces(size):
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    os.chmod(path, member.mode)
    if digest.hexdigest() != member.sha256:
        raise ContentError("HashWrong", f"{name} is not what its hash in {MANIFEST} says")
    stream.padding(size)


def _end(stream: _Stream) -> None:
    """After the last member come zeros, and then nothing."""
    entry = stream.entry()
    if entry is not None:
        raise ContentError("BundleRefused", f"the member {entry[0]!r} is not listed in {MANIFEST}")
    # an archive is filled up to a multiple of 10 KiB
    for _ in range(64):
        first = stream.rest()
        if not first:
            return
        if first + stream.exactly(_BLOCK - 1) != _ZEROS:
            raise ContentError("BundleRefused", "something follows after the archive's end")
    raise ContentError("BundleRefused", "the archive does not end")


def _disk_error(error: OSError, target: Path) -> ContentError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ContentError("DiskFull", f"the disk of {target} is full; what was unpacked is removed")
    return ContentError("DiskError", f"{error.strerror or error}: {error.filename or target}")
