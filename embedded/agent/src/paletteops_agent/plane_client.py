# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to a management plane: keep-alive, verified TLS, proxies, time limits for connecting, waiting and the whole
answer. One ``Connection`` belongs to one thread; what they share (TLS settings, proxies) is in ``Plane``.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import ipaddress
import json
import os
import random
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from . import __version__
from .masking import hide

if TYPE_CHECKING:
    from .userdata import UserData

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
MAX_ANSWER = 64 << 20
#: of one read while a file comes
STALL_SECONDS = 60.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: what a text does not need, and a plane need not take: all control characters but newlines, and halves of characters
_UNWANTED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Unreachable(Exception):
    """No answer, or no whole one: the network, the plane or its certificate. The request may have been carried out."""


class Refused(Exception):
    """An answer that says no. ``code`` is the API's error code."""

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


class Backoff:
    """How long to wait before the next try: doubled each time, with jitter, so that a fleet does not come at once."""

    def __init__(self, first: float = 1.0, longest: float = 120.0) -> None:
        self._first = first
        self._longest = longest
        self._tries = 0

    def reset(self) -> None:
        self._tries = 0

    def next(self, at_least: float = 0.0) -> float:
        limit = min(self._longest, self._first * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return at_least + limit * random.uniform(0.5, 1.0)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        if not self.body:
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            raise Unreachable("the answer is no JSON: is this address a management plane's?") from None


@dataclass
class Plane:
    """How a plane is reached. ``endpoint``: URL without a slash at its end."""

    endpoint: str
    ca_certificates: Sequence[str] = ()
    verify: bool = True
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    connect_seconds: float = CONNECT_SECONDS
    answer_seconds: float = ANSWER_SECONDS
    context: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.secure else 80)
        self.prefix = parts.path.rstrip("/")
        self.host_header = parts.netloc
        if self.secure and self.context is None:
            self.context = make_context(self.ca_certificates, self.verify)

    @property
    def proxy(self) -> str:
        """The proxy's URL, or nothing where the plane is reached directly."""
        given = self.https_proxy if self.secure else self.http_proxy
        return "" if not given or bypasses(self.host, self.no_proxy) else given


def make_plane(data: UserData) -> Plane:
    """How user-data, and the environment where user-data names no proxy, say that the plane is reached."""

    def proxy(key: str, variable: str) -> str:
        return str(
            data.get(f"site.network.{key}") or os.environ.get(variable) or os.environ.get(variable.lower()) or ""
        )

    return Plane(
        endpoint=data.endpoint,
        ca_certificates=[str(one) for one in data.get("site.caCerts", [])],
        verify=not data.get("site.insecureSkipVerify", False),
        http_proxy=proxy("httpProxy", "HTTP_PROXY"),
        https_proxy=proxy("httpsProxy", "HTTPS_PROXY"),
        no_proxy=proxy("noProxy", "NO_PROXY"),
    )


def make_context(ca_certificates: Sequence[str], verify: bool) -> ssl.SSLContext:
    """``ca_certificates``: PEM, or PEM (or DER) in base64, added to those of the system; else ValueError."""
    context = ssl.create_default_context()
    for place, given in enumerate(ca_certificates):
        text = given.strip()
        data: str | bytes = text
        if "-----BEGIN CERTIFICATE-----" not in text:
            try:
                raw = base64.b64decode("".join(text.split()), validate=True)
            except (binascii.Error, ValueError):
                raise ValueError(f"stylus.site.caCerts[{place}] is neither PEM nor base64 of it") from None
            data = raw.decode("ascii", "replace") if raw.lstrip().startswith(b"-----BEGIN") else raw
        try:
            context.load_verify_locations(cadata=data)
        except (ssl.SSLError, ValueError):
            raise ValueError(f"stylus.site.caCerts[{place}] holds no certificate that can be read") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def bypasses(host: str, no_proxy: str) -> bool:
    """Whether a host is reached without the proxy: by name, by domain, by address or by range."""
    host = host.lower()
    with contextlib.suppress(ValueError):
        here = ipaddress.ip_address(host)
        for entry in no_proxy.split(","):
            with contextlib.suppress(ValueError):
                if here in ipaddress.ip_network(entry.strip(), strict=False):
                    return True
    for entry in no_proxy.lower().split(","):
        name = entry.strip().partition(":")[0].lstrip("*").lstrip(".")
        if entry.strip() == "*" or (name and (host == name or host.endswith("." + name))):
            return True
    return False


class Connection:
    """Requests one after the other over one connection, which is opened when needed and closed when idle for long."""

    IDLE_SECONDS = 240.0

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self._lock = threading.Lock()
        self._http: http.client.HTTPConnection | None = None
        self._used = 0.0
        self._aborted = False

    # --- the connection ---

    def abort(self) -> None:
        """From another thread: what waits for an answer gets Unreachable at once, and nothing more is sent."""
        with self._lock:
            self._aborted = True
            if self._http is not None and self._http.sock is not None:
                with contextlib.suppress(OSError):
                    self._http.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            if self._http is not None:
                self._http.close()
                self._http = None

    def _connection(self) -> http.client.HTTPConnection:
        with self._lock:
            if self._aborted:
                raise Unreachable("the agent is ending")
            if self._http is not None and self._is_stale():
                self._http.close()
                self._http = None
            if self._http is None:
                self._http = self._make()
            return self._http

    def _is_stale(self) -> bool:
        """A server that closed an idle connection has made it readable: nothing else can have come unasked."""
        assert self._http is not None
        if self._http.sock is None:
            return False
        if time.monotonic() - self._used > self.IDLE_SECONDS:
            return True
        try:
            return bool(select.select([self._http.sock], [], [], 0)[0])
        except (OSError, ValueError):
            return True

    def _make(self) -> http.client.HTTPConnection:
        plane, proxy = self.plane, self.plane.proxy
        host, port = plane.host, plane.port
        headers = {}
        if proxy:
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            host, port = parts.hostname or "", parts.port or 3128
            if parts.username:
                user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                headers["Proxy-Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
                hide(unquote(parts.password or ""), parts.password or "")
        connection: http.client.HTTPConnection
        if plane.secure:
            assert plane.context is not None
            connection = http.client.HTTPSConnection(host, port, timeout=plane.connect_seconds, context=plane.context)
            if proxy:
                connection.set_tunnel(plane.host, plane.port, headers)
            self._proxy_headers: dict[str, str] = {}
        else:
            connection = http.client.HTTPConnection(host, port, timeout=plane.connect_seconds)
            self._proxy_headers = headers
        return connection

    # --- requests ---

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        accept: Sequence[int] = (),
    ) -> Answer:
        """Send a request and read its answer. ``wait``: how long the plane may take before it answers, beyond the
        usual. An answer of 400 and above is Refused, unless its status is in ``accept``.
        """
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(_cleaned(body)).encode()
        sent = {"Content-Type": "application/json", **(headers or {})} if data is not None else dict(headers or {})
        deadline = time.monotonic() + self.plane.answer_seconds + wait
        with self._exchange(method, path, data, sent, deadline) as response:
            content = self._read(response, deadline)
            answer = Answer(response.status, _headers(response), content)
        if answer.status >= 300 and answer.status not in accept:
            raise refusal(answer)
        return answer

    @contextlib.contextmanager
    def download(
        self, path: str, headers: Mapping[str, str], accept: Sequence[int] = ()
    ) -> Iterator[tuple[Answer, http.client.HTTPResponse]]:
        """The head of an answer whose body the caller reads from the response, in pieces."""
        deadline = time.monotonic() + self.plane.answer_seconds
        with self._exchange("GET", path, None, dict(headers), deadline) as response:
            head = Answer(response.status, _headers(response), b"")
            if head.status >= 300 and head.status not in accept:
                raise refusal(Answer(head.status, head.headers, self._read(response, deadline)))
            self._set_timeout(STALL_SECONDS)
            yield head, response

    def upload(self, method: str, path: str, stream: BinaryIO, size: int, headers: Mapping[str, str]) -> Answer:
        """Send a file."""
        deadline = time.monotonic() + self.plane.answer_seconds + size / (64 << 10)
        sent = {**headers, "Content-Length": str(size)}
        with self._exchange(method, path, stream, sent, deadline) as response:
            answer = Answer(response.status, _headers(response), self._read(response, deadline))
        if answer.status >= 300:
            raise refusal(answer)
        return answer

    @contextlib.contextmanager
    def _exchange(
        self, method: str, path: str, data: bytes | BinaryIO | None, headers: dict[str, str], deadline: float
    ) -> Iterator[http.client.HTTPResponse]:
        plane = self.plane
        target = plane.prefix + path
        if plane.proxy and not plane.secure:
            target = f"http://{plane.host_header}{target}"
        whole = False
        try:
            connection = self._connection()
            sent = {"User-Agent": f"palette-agent/{__version__}", "Accept": "application/json", **headers}
            if plane.proxy and not plane.secure:
                sent.update(self._proxy_headers)
            if connection.sock is None:
                connection.timeout = plane.connect_seconds
                connection.connect()
                _keep_alive(connection.sock)
                if self._aborted:
                    raise Unreachable("the agent is ending")
            self._set_timeout(max(1.0, deadline - time.monotonic()))
            connection.request(method, target, data, _encoded(sent))
            response = connection.getresponse()
            yield response
            whole = response.isclosed() and not response.will_close
        except Unreachable:
            raise
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # UnicodeError: no name of a host
            raise Unreachable(_reason(error, plane)) from None
        finally:
            self._used = time.monotonic()
            if not whole:
                self.close()

    def _set_timeout(self, seconds: float) -> None:
        if self._http is not None and self._http.sock is not None:
            self._http.sock.settimeout(seconds)

    def _read(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        pieces, size = [], 0
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unreachable("the answer took too long")
            self._set_timeout(max(0.1, left))
            piece = response.read(1 << 14)
            if not piece:
                break
            size += len(piece)
            if size > MAX_ANSWER:
                raise Unreachable(f"the answer is larger than {MAX_ANSWER} bytes")
            pieces.append(piece)
        if response.length:  # what the server still owed when it closed the connection
            raise Unreachable("the answer was cut off")
        return b"".join(pieces)


def _keep_alive(connected: socket.socket | None) -> None:
    """Probes on a connection that waits for long: routers keep it, and a plane that vanished is noticed."""
    if connected is not None:
        for level, option, value in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
        ):
            connected.setsockopt(level, option, value)


def _cleaned(body: Any) -> Any:
    """A body whose texts no plane refuses for their characters, whatever a command said."""
    if isinstance(body, str):
        return _UNWANTED.sub(lambda found: "\ufffd" if "\ud800" <= found[0] <= "\udfff" else " ", body)
    if isinstance(body, Mapping):
        return {_cleaned(key): _cleaned(value) for key, value in body.items()}
    return [_cleaned(item) for item in body] if isinstance(body, (list, tuple)) else body


def _encoded(headers: Mapping[str, str]) -> dict[str, bytes]:
    """Values as UTF-8, as the vendor's agent sends them: http.client would take Latin-1, and show what is not."""
    for name, value in headers.items():
        if _CONTROL.search(value):
            raise Unreachable(f"the header {name} holds what no header can")  # without it: it may be a secret
    return {name: value.encode("utf-8", "replace") for name, value in headers.items()}


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def refusal(answer: Answer) -> Refused:
    """The API's error in an answer: {code, message}."""
    code, message = "", ""
    with contextlib.suppress(ValueError, AttributeError):
        content = json.loads(answer.body)
        code, message = str(content.get("code") or ""), str(content.get("message") or "")
    if not message and 300 <= answer.status < 400:
        message = "the address answers with a redirect, which is not followed: give the plane's own address"
    retry_after = None
    with contextlib.suppress(ValueError):
        retry_after = max(0.0, float(answer.headers.get("retry-after", "")))
    return Refused(
        answer.status, code or "Unknown", message or http.client.responses.get(answer.status, ""), retry_after
    )


def _reason(error: Exception, plane: Plane) -> str:
    where = f"{plane.host}:{plane.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        more = ""
        if error.verify_code in (9, 10):  # not yet valid, expired
            more = f"; this host's clock says {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"
        return f"the certificate of {where} is not trusted: {error.verify_message}{more}"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return f"{where} did not answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer was cut off"
    via = f" (by the proxy {urlsplit(plane.proxy).hostname})" if plane.proxy else ""
    return f"{where}{via}: {error or type(error).__name__}"


def segment(text: str) -> str:
    """A part of a path."""
    return quote(text, safe="")
