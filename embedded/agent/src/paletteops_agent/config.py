# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's own configuration file, ``/etc/spectro/paletteops-agent.yaml``: which engine runs, and which content is
trusted. It comes to a host by a ``stages`` entry of user-data or in its image, never with content.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .engine import ENGINES

DEFAULT_ENGINE = "kubeadm"

_PEM = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


class ConfigurationError(Exception):
    """The file does not hold what it should; the message names path, key, value and what is allowed."""


@dataclass(frozen=True)
class Trust:
    """Which content is accepted. ``public_key``: PEM, empty where there is none."""

    public_key: str = ""
    allow_older: bool = False
    allow_unsigned: bool = False


@dataclass(frozen=True)
class Configuration:
    engine: str = DEFAULT_ENGINE
    trust: Trust = field(default_factory=Trust)
    options: Mapping[str, Any] = field(default_factory=dict)  # of the engine


def read(path: Path) -> Configuration:
    """The configuration; the defaults where there is no file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Configuration()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    return parse(path, data)


def parse(path: Path, data: bytes) -> Configuration:
    """The configuration that a file of this content holds."""
    try:
        content = yaml.safe_load(data.decode("utf-8")) or {}
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must hold a map with the keys engine and content")
    known = {"engine", "content", *ENGINES}
    for name in content:
        if name not in known:
            raise ConfigurationError(f"{path}: {name} is unknown; there are {', '.join(sorted(known))}")
    engine = content.get("engine", DEFAULT_ENGINE)
    if engine not in ENGINES:
        raise ConfigurationError(f"{path}: engine is {engine!r}; allowed are {', '.join(ENGINES)}")
    return Configuration(engine, _trust(path, content.get("content") or {}), _options(path, content, engine))


def _trust(path: Path, content: Any) -> Trust:
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: content must be a map")
    for name, value in content.items():
        if name not in ("public_key", "allow_older", "allow_unsigned"):
            raise ConfigurationError(
                f"{path}: content.{name} is unknown; there are public_key, allow_older, allow_unsigned"
            )
        if name != "public_key" and not isinstance(value, bool):
            raise ConfigurationError(f"{path}: content.{name} is {value!r}; allowed are true and false")
    key = content.get("public_key")
    return Trust(**{**content, "public_key": "" if key is None else _public_key(path, key)})


def _public_key(path: Path, value: Any) -> str:
    """A public key as openssl reads it: an indented text is fine, one that was cut or changed is not."""
    lines = [line.strip() for line in value.strip().splitlines()] if isinstance(value, str) else []
    try:
        whole = len(lines) > 2 and (lines[0], lines[-1]) == _PEM
        data = base64.b64decode("".join(lines[1:-1]), validate=True) if whole else b""
    except (binascii.Error, ValueError):
        data = b""
    # a DER sequence that says its own length
    if len(data) < 2 or data[0] != 0x30 or (data[1] < 0x80 and len(data) != data[1] + 2):
        raise ConfigurationError(
            f"{path}: content.public_key is no public key in PEM form; write it whole, from {_PEM[0]} to {_PEM[1]}"
        )
    return "\n".join(lines) + "\n"


def _options(path: Path, content: Mapping[str, Any], engine: str) -> Mapping[str, Any]:
    options = content.get(engine) or {}
    if not isinstance(options, dict):
        raise ConfigurationError(f"{path}: {engine} must be a map")
    return options
