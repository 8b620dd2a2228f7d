# SPDX-License-Identifier: GPL-3.0-or-later
"""An embedded plane in a process of its own, for tests that speak to it over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class PlaneError(Exception):
    """The plane did not start or stop; the message holds what it wrote."""


#: The server closes a connection that nobody used for five seconds; clients let go of it before.
KEPT = httpx.Limits(keepalive_expiry=2.0)


class RunningPlane:
    """One plane on a free loopback port. Its data live in ``directory`` and outlive ``stop`` and ``kill``."""

    def __init__(
        self,
        directory: Path,
        *,
        speed: float = 60.0,
        limits: bool = True,
        test_controls: bool = True,
        tls: bool = False,
        listen: str = "127.0.0.1:0",
    ) -> None:
        self.directory = directory
        self.data = directory / "plane.sqlite"
        self.key_file = directory / "plane.key"
        self.log = directory / "plane.log"
        self.url = ""
        self.ca_file: str | None = None
        self._listen = listen
        self._options = ["--speed", str(speed)]
        self._options += [] if limits else ["--no-limits"]
        self._options += ["--test-controls"] if test_controls else []
        self._options += ["--tls"] if tls else []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def key(self) -> str:
        """The API key of the tenant's administrator."""
        return self.key_file.read_text("utf-8").strip()

    def sign_in(self) -> dict[str, str]:
        """What the administrator signs in with: the body of ``POST /v1/auth/authenticate``."""
        body: dict[str, str] = json.loads(self.data.with_name(self.data.name + ".admin").read_text("utf-8"))
        return body

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "paletteops_plane", "--listen", self._listen, "--data", str(self.data)]
        command += ["--key-file", str(self.key_file), "--ready-file", str(ready), *self._options]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"}
            )
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self._process.poll() is not None:
                raise PlaneError(f"the plane ended with {self._process.returncode}:\n{self.output()}")
            if time.monotonic() > deadline:
                self.kill()
                raise PlaneError(f"the plane was not ready after {START_SECONDS:.0f} s:\n{self.output()}")
            time.sleep(0.02)
        state: dict[str, Any] = json.loads(ready.read_text("utf-8"))
        self.url = state["url"].rstrip("/")
        self.ca_file = state.get("ca_file")
        # The same address after a restart, as a client would expect.
        self._listen = self.url.split("://", 1)[1]
        return self

    def output(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def stop(self) -> None:
        """Ask the plane to end, and wait for it."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise PlaneError(f"the plane went on {STOP_SECONDS:.0f} s after SIGTERM:\n{self.output()}") from None

    def kill(self) -> None:
        """End the plane as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def client(self, project: str = "", headers: dict[str, str] | None = None) -> httpx.Client:
        """An HTTP client that is signed in, in the tenant's or a project's scope."""
        sent = {"ApiKey": self.key} | ({"ProjectUid": project} if project else {}) | (headers or {})
        return self.anonymous(sent)

    def controls(self) -> httpx.Client:
        """A client for the test controls."""
        return self.anonymous(below="/embedded/v1")

    def anonymous(self, headers: dict[str, str] | None = None, below: str = "") -> httpx.Client:
        """An HTTP client that is nobody yet."""
        # Without TLS nothing is verified, and reading the system's authorities is most of what a client costs.
        verify: Any = self.ca_file or False
        return httpx.Client(
            base_url=self.url + below, headers=headers, timeout=30.0, verify=verify, trust_env=False, limits=KEPT
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
