# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one client of the management API: keep-alive, TLS, proxies, scope, retries, the shared rate limit, paging."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils.errors import (
    ApiError,
    PaletteError,
    UncertainError,
    UnreachableError,
    library_missing,
    unknown,
)
from ansible_collections.paletteops.modes.plugins.module_utils.fields import text
from ansible_collections.paletteops.modes.plugins.module_utils.ratelimit import RateLimit
from ansible_collections.paletteops.modes.plugins.module_utils.run import Run

try:
    import urllib3
    import urllib3.exceptions
    import urllib3.util

    URLLIB3_ERROR: str | None = None
except ImportError as error:
    URLLIB3_ERROR = str(error)

#: Where the values come from when no option names them. AWX credential types may inject these names.
ENVIRONMENT = {
    "api_url": "PALETTE_API_URL",
    "api_key": "PALETTE_API_KEY",
    "project": "PALETTE_PROJECT",
    "validate_certs": "PALETTE_VALIDATE_CERTS",
    "ca_path": "PALETTE_CA_PATH",
    "timeout": "PALETTE_TIMEOUT",
    "retries": "PALETTE_RETRIES",
}

RETRIED = frozenset({429, 500, 502, 503, 504})
LONGEST_PAUSE = 30.0
PAGE = 50  #: the API's largest page


@dataclasses.dataclass(frozen=True)
class Connection:
    """How to reach a management plane. ``timeout`` is in seconds, for connecting and for each answer."""

    api_url: str
    api_key: str = dataclasses.field(repr=False)
    project: str | None = None
    validate_certs: bool = True
    ca_path: str | None = None
    timeout: int = 30
    retries: int = 5

    @classmethod
    def of(cls, params: dict[str, Any]) -> Connection:
        """From the connection options of a task. Raises PaletteError where one that is needed is not set."""
        for option in ("api_url", "api_key"):
            if not params.get(option):
                raise PaletteError(
                    f"No {option} is set. Set the option, module_defaults for group/paletteops.modes.palette, "
                    f"or the environment variable {ENVIRONMENT[option]}."
                )
        api_key = str(params["api_key"]).strip()  # files and YAML blocks end in a line break
        if not api_key.isascii() or not api_key.isprintable():
            raise PaletteError(
                f"api_key ({ENVIRONMENT['api_key']}) holds characters that no API key has, such as a line break. "
                "Set it to the key alone."
            )
        url = str(params["api_url"]).strip().rstrip("/")
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PaletteError(
                f"api_url is '{url}', which is not the address of a management plane. "
                "Give scheme and host, such as https://api.spectrocloud.com."
            )
        if parts.path or parts.query or parts.fragment:
            raise PaletteError(
                f"api_url is '{url}', and the management API is at the top of its host. "
                f"Give scheme and host alone: {parts.scheme}://{parts.netloc}."
            )
        if parts.username or parts.password:
            raise PaletteError("api_url carries a user or a password. Take them out: api_key is what signs in.")
        known = {field.name for field in dataclasses.fields(cls)}
        values = {key: params[key] for key in known if params.get(key) is not None}
        for option, least in (("timeout", 1), ("retries", 0)):
            if values.get(option, least) < least:
                raise PaletteError(f"{option} is {values[option]}. Use {least} or more ({ENVIRONMENT[option]}).")
        check_authorities(values.get("ca_path"))
        return cls(**dict(values, api_url=url, api_key=api_key))


class Client:
    """Calls the management API in a project's or in the tenant's scope.

    An answer is its parsed JSON (None where it is empty). Errors are those of the errors module.
    """

    def __init__(self, connection: Connection, run: Run, check_mode: bool = False) -> None:
        if URLLIB3_ERROR:
            raise library_missing("urllib3", URLLIB3_ERROR)
        self.connection = connection
        self.run = run
        self.check_mode = check_mode
        #: The project is one that an earlier task of the run would make: nothing is in it yet.
        self.foretold = False
        self.limit = RateLimit(connection.api_url)
        self._pool: Any = None
        self._project_uid: str | None = None

    # --- scope ---

    @property
    def scope(self) -> str:
        """The project's name; empty for the tenant."""
        return self.connection.project or ""

    def projects(self) -> list[dict[str, str]]:
        """All projects as ``{name, uid}``."""
        answer = self.get("/v1/dashboard/projects/metadata", tenant=True)
        return [item["metadata"] for item in answer["items"]]

    def project_uid(self) -> str | None:
        """The uid of the project in whose scope calls are made; None for the tenant. Raises where it does not exist.

        In check mode a project that an earlier task of the run would make counts. Until then what it will see is what
        the tenant has.
        """
        if not self.scope or self.foretold:
            return None
        if self._project_uid is None:
            index = self.run.index(self.key("project"), self.projects)
            found = index.find(name=self.scope)
            if found is None and self.check_mode:
                foretold = self.run.predicted(self.key("project"), self.scope)
                if foretold and foretold["spec"]:
                    self.foretold = True
                    return None
            if found is None:
                raise unknown(
                    "project",
                    self.scope,
                    [item["name"] for item in index.entries()],
                    "Correct the option project (or PALETTE_PROJECT), or make it with paletteops.modes.project.",
                )
            self._project_uid = found["uid"]
        return self._project_uid

    def key(self, name: str, tenant: bool = True) -> str:
        """The name under which tasks of one run share an answer: it differs by plane, who asks, and scope."""
        caller = hashlib.sha256(self.connection.api_key.encode()).hexdigest()
        return f"{self.connection.api_url}|{caller}|{'' if tenant else self.scope}|{name}"

    # --- calls ---

    def get(self, path: str, query: dict[str, Any] | None = None, tenant: bool = False) -> Any:
        return self.request("GET", path, query=query, tenant=tenant)

    def search(self, path: str, body: Any, query: dict[str, Any] | None = None, tenant: bool = False) -> Any:
        """A POST that only reads."""
        return self.request("POST", path, body=body, query=query, tenant=tenant, repeatable=True)

    def create(self, path: str, body: Any, query: dict[str, Any] | None = None, tenant: bool = False) -> str:
        """A POST that makes something; returns its uid. Not repeated: see UncertainError."""
        answer = self.request("POST", path, body=body, query=query, tenant=tenant, repeatable=False)
        return str((answer or {}).get("uid") or "")

    def put(self, path: str, body: Any, tenant: bool = False) -> None:
        self.request("PUT", path, body=body, tenant=tenant)

    def patch(self, path: str, body: Any = None, tenant: bool = False) -> None:
        self.request("PATCH", path, body=body, tenant=tenant)

    def delete(self, path: str, query: dict[str, Any] | None = None, body: Any = None, tenant: bool = False) -> bool:
        """Returns False where there was nothing to delete, a repeated call that had been carried out included."""
        try:
            self.request("DELETE", path, query=query, body=body, tenant=tenant)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    def find(self, path: str, query: dict[str, Any] | None = None, tenant: bool = False) -> Any:
        """Like get, None where it does not exist."""
        try:
            return self.get(path, query=query, tenant=tenant)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    def pages(self, path: str, body: Any = None, tenant: bool = False) -> Iterator[Any]:
        """The items of a list, page after page, by GET or (with a body) by a POST that searches."""
        query: dict[str, Any] = {"limit": PAGE}
        while True:
            answer = self.get(path, query, tenant) if body is None else self.search(path, body, query, tenant)
            yield from answer.get("items") or []
            token = (answer.get("listmeta") or {}).get("continue")
            if not token or token == query.get("continue"):
                return
            query["continue"] = token

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, Any] | None = None,
        tenant: bool = False,
        repeatable: bool = True,
    ) -> Any:
        """One call, repeated where that is safe.

        A 429 was not carried out, so it is always safe to repeat. After any other failure only a call whose repetition
        changes nothing is repeated; otherwise UncertainError tells the caller to look before it tries again.
        """
        headers = {"ApiKey": self.connection.api_key, "Accept": "application/json", "User-Agent": "paletteops.modes"}
        if not tenant:
            project_uid = self.project_uid()
            if project_uid:
                headers["ProjectUid"] = project_uid
        data: bytes | None = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        url = self.connection.api_url + path
        if query:
            url += "?" + urllib.parse.urlencode({key: text(value) for key, value in query.items()})
        asked = 0.0
        for attempt in range(self.connection.retries + 1):
            last = attempt == self.connection.retries
            self.limit.wait(path, asked)
            try:
                answer = self.pool().request(method, url, body=data, headers=headers)
            except urllib3.exceptions.HTTPError as error:
                problem = self.unreachable(error)
                if isinstance(error, urllib3.exceptions.SSLError) or "certificate" in str(error).lower():
                    raise problem from None
                sent = not isinstance(
                    root(error), (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
                )
                if sent and not repeatable:
                    raise UncertainError(problem.message) from None
                if last:
                    raise problem from None
                time.sleep(self.pause(attempt, None))
                continue
            if answer.status < 300:
                return parse(answer.data)
            refusal = ApiError(answer.status, parse(answer.data), method, path)
            if answer.status not in RETRIED or last:
                raise explain(refusal)
            if answer.status != 429 and not repeatable:
                raise UncertainError(refusal.message, **refusal.details)
            pause = self.pause(attempt, answer.headers.get("Retry-After"))
            if answer.status == 429:
                asked = pause  # all processes stay away, not this one alone
            else:
                asked = 0.0
                time.sleep(pause)
        raise UnreachableError(
            f"No call to {self.connection.api_url} was allowed: retries is {self.connection.retries}."
        )

    @staticmethod
    def pause(attempt: int, retry_after: str | None) -> float:
        """Seconds before the next try: what the plane asks for, or a doubling time with jitter."""
        try:
            asked = float(retry_after or "")
        except ValueError:
            asked = 0.5 * 2**attempt
        return float(min(asked, LONGEST_PAUSE) * random.uniform(1.0, 1.25))

    def pool(self) -> Any:
        """The pool of kept connections: directly, or by the proxy which the environment names for this address."""
        if self._pool is None:
            parts = urllib.parse.urlsplit(self.connection.api_url)
            options: dict[str, Any] = {
                "retries": False,
                "timeout": urllib3.util.Timeout(connect=self.connection.timeout, read=self.connection.timeout),
                "maxsize": 4,
            }
            if parts.scheme == "https":
                options["cert_reqs"] = "CERT_REQUIRED" if self.connection.validate_certs else "CERT_NONE"
                if self.connection.ca_path:
                    options["ca_certs"] = self.connection.ca_path
                if not self.connection.validate_certs:
                    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            proxy = urllib.request.getproxies().get(parts.scheme)
            if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
                self._pool = urllib3.ProxyManager(proxy, **options)
            else:
                self._pool = urllib3.PoolManager(**options)
        return self._pool

    def unreachable(self, error: Exception) -> UnreachableError:
        """The error for a connection that did not come about or broke off: what happened and what to look at."""
        url = self.connection.api_url
        cause = root(error)
        said = str(cause)
        if "certificate" in said.lower():
            return UnreachableError(
                f"The certificate of {url} is not trusted: {said}. Name the file of its certificate authority with "
                "ca_path (PALETTE_CA_PATH)."
            )
        refused = isinstance(cause, urllib3.exceptions.NewConnectionError)  # a kind of time-out in urllib3 1.x
        if isinstance(cause, urllib3.exceptions.TimeoutError) and not refused:
            return UnreachableError(
                f"{url} did not answer within {self.connection.timeout} s. Look whether it runs and is reachable from "
                "here, or raise timeout (PALETTE_TIMEOUT)."
            )
        if url.startswith("http:") and isinstance(cause, urllib3.exceptions.ProtocolError):
            return UnreachableError(
                f"The management plane at {url} cannot be reached: {said}. If it speaks TLS, write https in api_url."
            )
        return UnreachableError(
            f"The management plane at {url} cannot be reached: {said}. Look whether it runs, whether api_url is right "
            "and whether a proxy is needed (HTTPS_PROXY, NO_PROXY)."
        )


def check_authorities(path: str | None) -> None:
    """Raises PaletteError where the file of trusted authorities is not what it should be."""
    if not path:
        return
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # that of OpenSSL is one, too
        problem = "there is no such file" if not os.path.isfile(path) else f"it cannot be read as certificates: {error}"
        raise PaletteError(f"ca_path is '{path}', and {problem}. Name a file of certificates in PEM.") from None


def root(error: BaseException) -> BaseException:
    """What urllib3 wrapped."""
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, BaseException) else error


def explain(refusal: ApiError) -> ApiError:
    """Adds the way out to a refused sign-in."""
    if refusal.status == 401:
        refusal.message += ". Look at api_key (PALETTE_API_KEY): it may be mistyped, expired or switched off."
    return refusal


def parse(data: bytes) -> Any:
    if not data:
        return None
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")
