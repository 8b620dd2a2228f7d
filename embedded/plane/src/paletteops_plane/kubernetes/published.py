# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfigs that hosts publish for their cluster. Users' tools do what a kubeconfig says, so it may not say much.

Taken is what kubeadm writes, and what the simulated engine of the embedded agent does: one cluster, one user with a
certificate or a token, one context. No commands, no paths of files, no proxy, no API but the cluster's own.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from paletteops_plane.errors import invalid
from paletteops_plane.resources import edge_values


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("is to be printable")
    return text


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("is no base64") from None
    return text


Name = Annotated[str, Field(max_length=255), AfterValidator(_printable)]
Data = Annotated[str, Field(min_length=1), AfterValidator(_base64)]
Token = Annotated[str, AfterValidator(_printable)]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, hide_input_in_errors=True, alias_generator=lambda name: name.replace("_", "-")
    )


class Server(_Part):
    certificate_authority_data: Data | None = None
    server: str
    tls_server_name: Name | None = None


class Credentials(_Part):
    client_certificate_data: Data | None = None
    client_key_data: Data | None = None
    token: Token | None = None


class Choice(_Part):
    cluster: Name
    user: Name
    namespace: Name | None = None


class NamedServer(_Part):
    cluster: Server
    name: Name


class NamedCredentials(_Part):
    name: Name
    user: Credentials


class NamedChoice(_Part):
    context: Choice
    name: Name


class Kubeconfig(_Part):
    """In the order in which kubeadm writes it."""

    api_version: Annotated[Literal["v1"], Field(alias="apiVersion")]
    clusters: Annotated[list[NamedServer], Field(max_length=1)]
    contexts: Annotated[list[NamedChoice], Field(max_length=1)]
    current_context: Name = ""
    kind: Literal["Config"]
    preferences: Annotated[dict[str, Any], Field(max_length=0)] = {}
    users: Annotated[list[NamedCredentials], Field(max_length=1)]


def checked(text: str, endpoint: str, port: int) -> str:
    """A published kubeconfig, written anew, so that nobody reads more in it than was checked here; 422.

    ``endpoint`` and ``port`` are those at which the cluster's control plane is reached.
    """
    try:
        known = Kubeconfig.model_validate(edge_values.load(text))
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])) or 'the whole'}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False, include_input=False)[:5]
        ]
        raise _refused("; ".join(problems)) from None
    address = f"[{endpoint}]:{port}" if ":" in endpoint else f"{endpoint}:{port}"
    for item in known.clusters:
        _check_server(item.cluster.server, address)
    data = known.model_dump(by_alias=True, exclude_none=True, exclude_unset=True)
    # In the form in which it came, JSON or YAML.
    if text.lstrip().startswith("{"):
        return json.dumps(data, indent=1) + "\n"
    written: str = yaml.safe_dump(data, sort_keys=False)
    return written


def _check_server(server: str, address: str) -> None:
    try:
        parts = urlsplit(server)
        host = parts.hostname
    except ValueError:
        host = None
    if host and server in (f"{scheme}://{parts.netloc}{end}" for scheme in ("https", "http") for end in ("", "/")):
        if "@" not in parts.netloc and _is_loopback(host):
            return  # the simulated engine's, whose API is on the machine of whoever tries it
        if parts.netloc.lower() == address.lower() and parts.scheme == "https":
            return
    raise _refused(f"clusters.0.cluster.server: {server[:200]!r} is not the cluster's own endpoint, https://{address}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(reason: str) -> Exception:
    return invalid(
        f"content: this is no kubeconfig that a plane hands to users: {reason}; it holds one cluster (server, "
        "certificate-authority-data, tls-server-name), one user (client-certificate-data and client-key-data, or "
        "token) and one context",
        field="content",
    )
