# SPDX-License-Identifier: GPL-3.0-or-later
"""The command as a process: starting, stopping, being killed, TLS, test controls over real connections."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from paletteops_plane.app import LARGEST_BODY
from paletteops_plane.store import SCHEMA_VERSION

START_WITHIN = 30.0

Start = Callable[..., "Process"]


class Process:
    """A running plane."""

    def __init__(self, data: Path, *options: str) -> None:
        ready = data.with_name("ready.json")
        ready.unlink(missing_ok=True)
        self.data = data
        self.log = data.with_name("log").open("ab")
        command = [sys.executable, "-m", "paletteops_plane", "--listen", "127.0.0.1:0", "--data", str(data)]
        self.process = subprocess.Popen(
            [*command, "--ready-file", str(ready), *options], stdout=self.log, stderr=self.log
        )
        deadline = time.monotonic() + START_WITHIN
        while not ready.exists():
            assert self.process.poll() is None, data.with_name("log").read_text()
            assert time.monotonic() < deadline, "the plane did not become ready"
            time.sleep(0.02)
        self.ready: dict[str, Any] = json.loads(ready.read_text())
        self.url: str = self.ready["url"]
        self.key = data.with_name(data.name + ".key").read_text().strip()
        verify: Any = self.ready["ca_file"] or True
        if verify is not True:
            import ssl

            verify = ssl.create_default_context(cafile=self.ready["ca_file"])
        self.client = httpx.Client(base_url=self.url, headers={"ApiKey": self.key}, verify=verify, timeout=20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def close(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.kill()
        self.log.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def begin(*options: str) -> Process:
        started.append(Process(tmp_path / "plane.sqlite", *options))
        return started[-1]

    yield begin
    for process in started:
        process.close()


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "paletteops_plane", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def create_project(client: httpx.Client, name: str) -> httpx.Response:
    return client.post("/v1/projects", json={"metadata": {"name": name}})


def test_it_serves_says_when_it_is_ready_and_stops_when_asked(start: Start) -> None:
    plane = start()
    assert plane.ready == {"url": plane.url, "pid": plane.process.pid, "ca_file": None}
    assert plane.client.get("/v1/users/info").status_code == 200
    assert plane.stop() == 0
    log = plane.data.with_name("log").read_text()
    assert log == f"paletteops-plane: serving {plane.url}\n"
    assert plane.key not in log
    assert not plane.data.with_name("ready.json").exists()


def test_what_was_answered_survives_being_killed(start: Start) -> None:
    plane = start()
    uid = create_project(plane.client, "kept").json()["uid"]
    plane.kill()
    again = start()
    assert again.client.get(f"/v1/projects/{uid}").json()["metadata"]["name"] == "kept"
    assert again.key == plane.key


def test_of_many_that_make_the_same_one_succeeds(start: Start) -> None:
    plane = start("--no-limits")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: create_project(plane.client, "same"), range(20)))
    made = [answer.json()["uid"] for answer in answers if answer.status_code == 201]
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert (len(made), len(refused)) == (1, 19)
    assert {error["details"]["uid"] for error in refused} == set(made)


def test_tls_by_an_authority_of_its_own(start: Start) -> None:
    plane = start("--tls")
    assert plane.url.startswith("https://")
    assert plane.client.get("/v1/users/info").status_code == 200
    with httpx.Client(base_url=plane.url) as trusting_nobody, pytest.raises(httpx.ConnectError):
        trusting_nobody.get("/v1/health/ping")
    for path in plane.data.parent.glob("*.key.pem"):
        assert path.stat().st_mode & 0o077 == 0
    assert Path(plane.ready["ca_file"]).stat().st_mode & 0o777 == 0o644, "clients are other users"
    authority = Path(plane.ready["ca_file"]).read_bytes()
    plane.stop()
    assert Path(start("--tls").ready["ca_file"]).read_bytes() == authority


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        result = run("--listen", address, "--data", str(tmp_path / "d"))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and address in result.stderr
    assert not (tmp_path / "d").exists()


def test_two_planes_do_not_share_a_data_file(start: Start, tmp_path: Path) -> None:
    plane = start()
    result = run("--listen", "127.0.0.1:0", "--data", str(plane.data))
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert f"pid {plane.process.pid}" in result.stderr
    saved = tmp_path / "saved"
    assert run("--data", str(plane.data), "backup", str(saved)).returncode == 0
    assert run("--data", str(plane.data), "restore", str(saved), "--replace").returncode == 2
    plane.kill()
    assert start().client.get("/v1/users/info").status_code == 200


def test_the_log_names_requests_but_no_secrets(start: Start) -> None:
    plane = start("--log-level", "info")
    sign_in = json.loads(plane.data.with_name(plane.data.name + ".admin").read_text())
    token = plane.client.post("/v1/auth/authenticate", json=sign_in).json()["Authorization"]
    assert plane.client.get(f"/v1/auth/refresh/{token}").status_code == 200
    account = {"metadata": {"name": "a"}, "spec": {"accessKey": "AKIA-X", "secretKey": "canary-secret"}}
    plane.client.post("/v1/cloudaccounts/aws?x=canary-query", json=account)
    plane.stop()
    log = plane.data.with_name("log").read_text()
    assert "POST /v1/cloudaccounts/aws 201" in log
    for secret in (plane.key, sign_in["password"], token, "canary-secret", "canary-query"):
        assert secret not in log


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:99999", ":", "127.0.0.1:"])
def test_an_address_that_is_none_is_said_in_one_line(tmp_path: Path, listen: str) -> None:
    result = run("--listen", listen, "--data", str(tmp_path / "d"))
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


def test_a_data_file_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    data = tmp_path / "d"
    data.write_text("a letter\n" * 100)
    result = run("--listen", "127.0.0.1:0", "--data", str(data))
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert data.read_text() == "a letter\n" * 100


def test_backup_and_restore_over_a_running_plane(start: Start, tmp_path: Path) -> None:
    plane = start()
    uid = create_project(plane.client, "kept").json()["uid"]
    saved = tmp_path / "saved"
    assert run("--data", str(plane.data), "backup", str(saved)).returncode == 0
    create_project(plane.client, "later")
    plane.stop()
    refused = run("restore", str(saved), "--data", str(plane.data))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert run("restore", str(saved), "--data", str(plane.data), "--replace").returncode == 0
    again = start()
    items = again.client.get("/v1/dashboard/projects/metadata").json()["items"]
    assert [item["metadata"]["name"] for item in items] == ["Default", "kept"]
    assert items[1]["metadata"]["uid"] == uid


def test_another_key_is_made_by_the_command(start: Start, tmp_path: Path) -> None:
    plane = start()
    key_file = tmp_path / "other.key"
    arguments = ("api-key", "--data", str(plane.data), "--name", "other", "--key-file", str(key_file))
    assert run(*arguments, "--expires-in", "1d").returncode == 0
    assert key_file.stat().st_mode & 0o077 == 0
    key = key_file.read_text().strip()
    assert httpx.get(f"{plane.url}/v1/users/info", headers={"ApiKey": key}).status_code == 200
    again = run(*arguments)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert run(*arguments, "--expires-in", "soon").returncode == 2


def test_routes_are_printed_without_a_data_file(tmp_path: Path) -> None:
    result = run("--routes", env={**os.environ, "HOME": str(tmp_path)})
    assert result.returncode == 0
    assert {
        "GET    /v1/projects/{uid}  (tenant)",
        "PATCH  /v1/edgehosts/{uid}/health  (any, host)",
        "GET    /embedded/v1/hosts/{uid}/desired  (host)",
    } <= set(result.stdout.splitlines())
    assert list(tmp_path.iterdir()) == []


def test_routes_end_quietly_where_nobody_reads_on() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        command = [sys.executable, "-m", "paletteops_plane", "--routes"]
        result = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_without_being_asked_for_there_are_no_controls(start: Start) -> None:
    assert start().client.get("/embedded/v1/clock").status_code == 404


def test_the_clock_can_be_frozen_and_moved(start: Start) -> None:
    plane = start("--test-controls")
    clock = plane.client.put("/embedded/v1/clock", json={"frozen": True, "now": "2030-01-01T00:00:00Z"}).json()
    assert clock == {"now": "2030-01-01T00:00:00Z", "frozen": True}
    plane.client.put("/embedded/v1/clock", json={"advance_seconds": 90})
    uid = create_project(plane.client, "p").json()["uid"]
    metadata = plane.client.get(f"/v1/projects/{uid}").json()["metadata"]
    assert metadata["creationTimestamp"] == "2030-01-01T00:01:30.000Z"
    plane.kill()
    assert start("--test-controls").client.get("/embedded/v1/clock").json()["now"] == "2030-01-01T00:01:30Z"


def faults(plane: Process, *wanted: dict[str, Any]) -> None:
    response = plane.client.put("/embedded/v1/faults", json=list(wanted))
    assert response.status_code == 200, response.text


def test_a_status_can_be_asked_for_so_many_times(start: Start) -> None:
    plane = start("--test-controls")
    fault = {
        "kind": "http",
        "method": "GET",
        "path": "^/v1/users",
        "status": 503,
        "times": 2,
        "headers": {"Retry-After": "1"},
    }
    faults(plane, fault)
    assert plane.client.get("/v1/dashboard/projects/metadata").status_code == 200
    answers = [plane.client.get("/v1/users/info") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["retry-after"] == "1"
    assert answers[0].json()["code"] == "InjectedFault"
    assert plane.client.get("/embedded/v1/faults").json() == []


def test_a_connection_can_be_reset_before_or_after_the_work_is_done(start: Start) -> None:
    plane = start("--test-controls")
    for when, done in (("before", False), ("after", True)):
        faults(plane, {"kind": "http", "method": "POST", "path": "^/v1/projects$", "reset": True, "when": when})
        with pytest.raises(httpx.TransportError):
            create_project(plane.client, when)
        items = plane.client.get("/v1/dashboard/projects/metadata").json()["items"]
        assert (when in [item["metadata"]["name"] for item in items]) is done
    log = plane.data.with_name("log").read_text()
    assert "Traceback" not in log and "ERROR" not in log


def test_an_answer_can_be_slow_and_some_requests_can_pass_before(start: Start) -> None:
    plane = start("--test-controls")
    faults(plane, {"kind": "http", "path": "ping", "delay_seconds": 0.3, "skip": 1})
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert plane.client.get("/v1/health/ping").status_code == 200
        took.append(time.monotonic() - began >= 0.3)
    assert took == [False, True, False]


@pytest.mark.parametrize(
    "fault",
    [{"kind": "http", "path": "["}, {"kind": "other"}, {"kind": "http", "status": 200}, {"kind": "http", "typo": 1}],
)
def test_a_fault_that_makes_no_sense_is_refused(start: Start, fault: dict[str, Any]) -> None:
    assert start("--test-controls").client.put("/embedded/v1/faults", json=[fault]).status_code == 422


def test_requests_are_recorded_without_bodies_and_keys(start: Start) -> None:
    plane = start("--test-controls")
    plane.client.delete("/embedded/v1/requests")
    create_project(plane.client, "p")
    plane.client.get("/v1/edgehosts?limit=1", headers={"ProjectUid": "0" * 24, "User-Agent": "me"})
    plane.client.get("/v1/auth/refresh/a-token")
    records = plane.client.get("/embedded/v1/requests")
    shown = [(item["method"], item["path"], item["query"], item["status"]) for item in records.json()]
    assert shown[:3] == [
        ("POST", "/v1/projects", "", 201),
        ("GET", "/v1/edgehosts", "limit=1", 501),
        ("GET", "/v1/auth/refresh/***", "", 401),
    ]
    assert records.json()[1]["project_uid"] == "0" * 24 and records.json()[1]["user_agent"] == "me"
    assert plane.key not in records.text and "a-token" not in records.text


def test_the_controls_have_a_description_of_their_own(start: Start) -> None:
    plane = start("--test-controls")
    described = plane.client.get("/embedded/v1/openapi.json").json()
    own = {path for path in described["paths"] if not path.startswith("/hosts/")}
    assert own == {"/clock", "/faults", "/requests"}
    assert not any("embedded" in path for path in plane.client.get("/openapi.json").json()["paths"])


def registered(plane: Process, uid: str) -> dict[str, str]:
    """A host that is registered; the header that it calls with."""
    made = plane.client.post("/v1/edgehosts/tokens", json={"metadata": {"name": uid}, "spec": {}}).json()["uid"]
    token = plane.client.get(f"/v1/edgehosts/tokens/{made}").json()["spec"]["token"]
    body = {"metadata": {"uid": uid}, "spec": {"host": {"hostUid": uid, "hostAddress": "192.0.2.1"}}}
    headers = {"EdgeHostToken": token, "EdgeHostClaim": "a-claim", "ProjectName": "Default"}
    answer = httpx.post(f"{plane.url}/v1/edgehosts/register", headers=headers, json=body).json()
    credential = answer["spec"]["host"]["hostAuthToken"]
    return {"Authorization": f"EdgeHost {uid}:{credential}"}


def desired_requests(plane: Process) -> int:
    records = plane.client.get("/embedded/v1/requests").json()
    return sum(record["path"].endswith("/desired") for record in records)


def test_many_hosts_wait_at_once_and_a_plane_that_ends_answers_them(start: Start) -> None:
    plane = start("--test-controls", "--no-limits")
    headers = registered(plane, "edge-a")
    others = [registered(plane, f"edge-{number}") for number in range(20)]

    def wait(uid: str, header: dict[str, str], known: str) -> httpx.Response:
        url = f"{plane.url}/embedded/v1/hosts/{uid}/desired?known={known}&wait=300"
        return httpx.get(url, headers=header, timeout=60)

    known = wait("edge-a", headers, "").json()["generation"]
    with ThreadPoolExecutor(20) as pool:
        polls = [pool.submit(wait, f"edge-{number}", header, known) for number, header in enumerate(others)]
        deadline = time.monotonic() + START_WITHIN
        while desired_requests(plane) < len(polls) + 1:
            assert time.monotonic() < deadline
        assert not any(poll.done() for poll in polls)
        plane.stop()
        assert [poll.result().status_code for poll in polls] == [204] * len(polls)


def test_hosts_outlive_a_kill_and_their_secrets_are_in_no_log(start: Start) -> None:
    plane = start("--log-level", "debug")
    headers = registered(plane, "edge-a")
    path = "/v1/edgehosts/edge-a/health"
    assert httpx.patch(f"{plane.url}{path}", headers=headers, json={"state": "healthy"}).status_code == 204
    plane.kill()
    again = start("--log-level", "debug")
    assert httpx.patch(f"{again.url}{path}", headers=headers, json={"state": "healthy"}).status_code == 204
    written = plane.data.with_name("log").read_text() + again.data.with_name("log").read_text()
    assert headers["Authorization"].rpartition(":")[2] not in written and "a-claim" not in written


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure(start: Start) -> None:
    plane = start()
    headers = registered(plane, "edge-a")["Authorization"]
    host, port = plane.url.removeprefix("http://").split(":")
    for method, path in (("PATCH", "/v1/edgehosts/edge-a/health"), ("PUT", "/embedded/v1/hosts/edge-a/observed")):
        with socket.create_connection((host, int(port))) as client:
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {headers}\r\nContent-Length: 100\r\n\r\n{{"
            client.sendall(head.encode())
    assert plane.client.get("/v1/users/info").status_code == 200
    plane.stop()
    written = plane.data.with_name("log").read_text()
    assert "Traceback" not in written and "ERROR" not in written


def test_a_body_that_is_too_large_gets_its_answer(start: Start) -> None:
    """By a client that looks for an answer only when all is sent, as most do: an earlier one would be lost."""
    plane = start()
    request = urllib.request.Request(
        f"{plane.url}/v1/projects", b" " * (4 * LARGEST_BODY), {"ApiKey": plane.key, "Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    with refused.value as answer:
        assert (answer.code, json.load(answer)["details"]) == (400, {"bytes": LARGEST_BODY})


def test_a_folder_of_content_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    result = run("--content", str(tmp_path / "none"), "--data", str(tmp_path / "d"))
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


def test_the_schema_of_the_data_file_is_counted(start: Start) -> None:
    import sqlite3
    from contextlib import closing

    plane = start()
    with closing(sqlite3.connect(plane.data)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
