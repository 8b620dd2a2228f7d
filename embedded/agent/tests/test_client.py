# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to a plane: what happens when the network, a proxy or the plane misbehaves."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import FakePlane, refusal, until

from paletteops_agent.plane_client import Backoff, Connection, Plane, Refused, Unreachable, bypasses, make_context


class Raw:
    """A TCP server that does with each connection what a test says."""

    def __init__(self, behave: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._behave = behave
        self._context = context
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            with connection:
                if self._context:
                    connection = self._context.wrap_socket(connection, server_side=True)
                self._behave(connection)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def raw() -> Iterator[Callable[..., Raw]]:
    made = []

    def make(behave: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Raw:
        made.append(Raw(behave, context))
        return made[-1]

    yield make
    for server in made:
        server.close()


def answer_once(text: str) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text.encode())

    return behave


def connect(port: int, **options: Any) -> Connection:
    return Connection(Plane(f"http://127.0.0.1:{port}", answer_seconds=2.0, connect_seconds=2.0, **options))


def test_one_connection_serves_many_requests(raw: Any) -> None:
    def behave(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    server = raw(behave)
    connection = connect(server.port)
    for _ in range(5):
        assert connection.request("GET", "/").json() == {}
    assert server.connections == 1


def test_a_connection_that_was_closed_while_idle_is_opened_anew(raw: Any) -> None:
    server = raw(answer_once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    connection = connect(server.port)
    connection.request("GET", "/")
    time.sleep(0.1)  # until the server's end is known here
    connection.request("POST", "/", {"a": 1})
    assert server.connections == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "127.0.0.1"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "cut off"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "cut off"),
        ("hello\r\n\r\n", "127.0.0.1"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "no JSON: is this address a management plane's"),
    ],
)
def test_answers_that_are_none(text: str, said: str, raw: Any) -> None:
    server = raw(answer_once(text))
    with pytest.raises(Unreachable, match=said):
        connect(server.port).request("GET", "/").json()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}: .*refused"):
        connect(port).request("GET", "/")


def test_a_plane_that_never_answers(raw: Any) -> None:
    server = raw(lambda connection: time.sleep(30))
    began = time.monotonic()
    with pytest.raises(Unreachable, match="did not answer in time"):
        connect(server.port).request("GET", "/")
    assert time.monotonic() - began < 10


def test_a_plane_that_drips(raw: Any) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"x" * 16384)
            time.sleep(0.2)

    server = raw(behave)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"took too long|in time"):
        connect(server.port).request("GET", "/")
    assert time.monotonic() - began < 10


def test_an_answer_without_end(raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paletteops_agent.plane_client.MAX_ANSWER", 100_000)

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with pytest.raises(Unreachable, match="larger than"):
        connect(raw(behave).port).request("GET", "/")


def test_errors_of_the_api(plane: FakePlane) -> None:
    plane.answers = lambda *_: refusal(429, "TooManyRequests", "slow down", **{"Retry-After": "7"})
    with pytest.raises(Refused) as caught:
        Connection(Plane(plane.url)).request("GET", "/")
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (429, "TooManyRequests", 7.0)


def test_an_error_without_a_body(plane: FakePlane) -> None:
    plane.answers = lambda *_: (502, {}, b"<html>")
    with pytest.raises(Refused, match="502 Unknown: Bad Gateway"):
        Connection(Plane(plane.url)).request("GET", "/")


def test_redirects_are_not_followed(plane: FakePlane) -> None:
    plane.answers = lambda *_: (302, {"Location": "http://127.0.0.1:1/"}, b"")
    with pytest.raises(Refused, match="redirect, which is not followed"):
        Connection(Plane(plane.url)).request("GET", "/")


def test_waiting_ends_at_once_when_the_agent_ends(raw: Any) -> None:
    server = raw(lambda connection: time.sleep(30))
    connection = Connection(Plane(f"http://127.0.0.1:{server.port}"))
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(Unreachable):
            connection.request("GET", "/", wait=300)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    until(lambda: server.connections)
    time.sleep(0.05)
    connection.abort()
    assert ended.wait(5)
    with pytest.raises(Unreachable, match="ending"):
        connection.request("GET", "/")


# --- TLS ---


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, and one that is of another name."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, names in (("here", "IP:127.0.0.1"), ("elsewhere", "DNS:elsewhere.example")):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={names}"]
        command += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run(command, check=True, capture_output=True)
    return folder


def secure(raw: Any, certificates: Path, name: str) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return int(raw(answer_once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), context).port)


@pytest.mark.parametrize("form", ["pem", "base64 of pem", "base64 of der"])
def test_a_certificate_authority_of_ones_own(form: str, raw: Any, certificates: Path) -> None:
    pem = (certificates / "here.pem").read_text()
    given = {
        "pem": pem,
        "base64 of pem": base64.encodebytes(pem.encode()).decode(),
        "base64 of der": base64.b64encode(ssl.PEM_cert_to_DER_cert(pem)).decode(),
    }[form]
    port = secure(raw, certificates, "here")
    plane = Plane(f"https://127.0.0.1:{port}", ca_certificates=[given])
    assert Connection(plane).request("GET", "/").status == 200


def test_certificates_are_verified_by_default(raw: Any, certificates: Path) -> None:
    port = secure(raw, certificates, "here")
    with pytest.raises(Unreachable, match=r"certificate of 127\.0\.0\.1:.* is not trusted: self-signed"):
        Connection(Plane(f"https://127.0.0.1:{port}")).request("GET", "/")


def test_the_name_is_verified(raw: Any, certificates: Path) -> None:
    port = secure(raw, certificates, "elsewhere")
    given = [(certificates / "elsewhere.pem").read_text()]
    with pytest.raises(Unreachable, match="is not trusted: IP address mismatch"):
        Connection(Plane(f"https://127.0.0.1:{port}", ca_certificates=given)).request("GET", "/")


def test_without_verification(raw: Any, certificates: Path) -> None:
    port = secure(raw, certificates, "elsewhere")
    assert Connection(Plane(f"https://127.0.0.1:{port}", verify=False)).request("GET", "/").status == 200


@pytest.mark.parametrize("given", ["hello", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", "aGVsbG8="])
def test_what_is_no_certificate(given: str) -> None:
    with pytest.raises(ValueError, match=r"stylus\.site\.caCerts\[0\]"):
        make_context([given], True)


# --- proxies ---


def test_http_goes_through_a_proxy_with_its_password(plane: FakePlane) -> None:
    target = Plane("http://plane.example:8080/base", http_proxy=f"http://me:p%40ss@127.0.0.1:{plane.port}")
    Connection(target).request("PATCH", "/v1/x", {})
    _, path, headers, _ = plane.requests[0]
    assert path == "http://plane.example:8080/base/v1/x"
    assert base64.b64decode(headers["proxy-authorization"].partition(" ")[2]) == b"me:p@ss"
    assert headers["host"] == "plane.example:8080"


def test_https_goes_through_a_tunnel(raw: Any, certificates: Path) -> None:
    asked = []
    port = secure(raw, certificates, "here")

    def behave(connection: socket.socket) -> None:
        asked.append(connection.recv(65536).decode())
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as inner:
            threading.Thread(target=_copy, args=(inner, connection), daemon=True).start()
            _copy(connection, inner)

    proxy = raw(behave)
    target = Plane(f"https://127.0.0.1:{port}", verify=False, https_proxy=f"http://me:secret@127.0.0.1:{proxy.port}")
    assert Connection(target).request("GET", "/").status == 200
    assert asked[0].startswith(f"CONNECT 127.0.0.1:{port} ")
    assert "Proxy-Authorization: Basic" in asked[0]


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass


def test_a_proxy_that_refuses(raw: Any) -> None:
    proxy = raw(answer_once("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
    target = Plane("https://plane.example", https_proxy=f"http://me:secret@127.0.0.1:{proxy.port}")
    with pytest.raises(Unreachable, match=r"by the proxy 127\.0\.0\.1.*407") as caught:
        Connection(target).request("GET", "/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("plane.example", "", False),
        ("plane.example", "plane.example", True),
        ("plane.example", ".example", True),
        ("plane.example", "*.example, other", True),
        ("plane.example", "example", True),
        ("plane.example", "lane.example", False),
        ("plane.example", "*", True),
        ("192.0.2.9", "192.0.2.0/24", True),
        ("192.0.2.9", "192.0.2.9", True),
        ("192.0.3.9", "192.0.2.0/24", False),
        ("2001:db8::1", "2001:db8::/32", True),
    ],
)
def test_what_is_reached_without_the_proxy(host: str, no_proxy: str, direct: bool) -> None:
    assert bypasses(host, no_proxy) is direct


def test_back_off_grows_with_jitter_and_has_an_end() -> None:
    backoff = Backoff(1.0, 60.0)
    waits = [backoff.next() for _ in range(12)]
    assert all(0.5 * min(60, 2**n) <= wait <= min(60, 2**n) for n, wait in enumerate(waits))
    assert 100 < backoff.next(at_least=100) <= 160
    backoff.reset()
    assert backoff.next() <= 1.0
    assert len({Backoff().next() for _ in range(50)}) > 40


@pytest.mark.parametrize("value", ["canary\n", "a\rcanary", "canary\0", "\x7fcanary"])
def test_a_header_that_cannot_be_sent_is_told_by_its_name(value: str, plane: FakePlane) -> None:
    with pytest.raises(Unreachable, match="the header EdgeHostToken") as caught:
        Connection(Plane(plane.url)).request("GET", "/", headers={"EdgeHostToken": value})
    assert "canary" not in str(caught.value) and plane.requests == []


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("a\x00b\x1b[31mc\x7f\x85", "a b [31mc  "),
        ("one\r\ntwo\tthree\u2028four", "one \ntwo three four"),
        ("half \ud83d of \udcff", "half \ufffd of \ufffd"),
        ("Łódź 🙂\n", "Łódź 🙂\n"),
    ],
)
def test_texts_of_bodies_are_cleaned(text: str, sent: str, plane: FakePlane) -> None:
    Connection(Plane(plane.url)).request("PUT", "/x", {text: [text, {"a": text}, 1, None, True]})
    assert plane.requests[0][3] == {sent: [sent, {"a": sent}, 1, None, True]}


def test_bodies_are_json(plane: FakePlane) -> None:
    Connection(Plane(plane.url)).request("PUT", "/x", {"a": [1]})
    assert plane.requests[0][3] == {"a": [1]}
    assert json.dumps(plane.requests[0][2]).count("application/json") == 2
