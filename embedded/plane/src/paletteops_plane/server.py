# SPDX-License-Identifier: GPL-3.0-or-later
"""Serving the application: a socket, uvicorn, and a file that says when it is ready."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from paletteops_plane.app import create_app
from paletteops_plane.plane import Plane, write_private

_CONNECTIONS = 65_536


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; ``OSError`` when the address cannot be had."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    # With the protocol named, asyncio switches Nagle's algorithm off on what it accepts; else answers wait for ACKs.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server that tells when it listens."""

    def __init__(self, config: uvicorn.Config, plane: Plane, ready_file: Path | None, ready: dict[str, object]) -> None:
        super().__init__(config)
        self._plane = plane
        self._ready_file = ready_file
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully, and leave it at that: uvicorn would raise the signal again and end the process by it."""
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready_file is not None:
            write_private(self._ready_file, json.dumps(self._ready) + "\n")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for answer_who_waits in self._plane.ending:
            answer_who_waits()
        await super().shutdown(sockets)


def _allow_many_connections() -> None:
    """Each host that waits holds a connection, and what a process may open is often no more than a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS if hard == resource.RLIM_INFINITY else min(_CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(
    plane: Plane,
    listener: socket.socket,
    host: str,
    ready_file: Path | None = None,
    certificates: tuple[Path, Path, Path] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    config = uvicorn.Config(
        create_app(plane),
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        ssl_certfile=str(certificates[1]) if certificates else None,
        ssl_keyfile=str(certificates[2]) if certificates else None,
    )
    port = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    url = f"{'https' if certificates else 'http'}://{shown}:{port}"
    ready = {"url": url, "pid": os.getpid(), "ca_file": str(certificates[0].resolve()) if certificates else None}
    _allow_many_connections()
    server = _Server(config, plane, ready_file, ready)
    print(f"paletteops-plane: serving {url}", flush=True)
    server.run(sockets=[listener])
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)
    return 0 if server.started else 1
