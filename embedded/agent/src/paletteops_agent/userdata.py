# SPDX-License-Identifier: GPL-3.0-or-later
"""User-data: a ``#cloud-config`` file whose ``stylus`` part is for the agent.

``STYLUS`` is the table of keys (as the vendor's installer reference names them), ``STAGE_NAMES``, ``STEPS`` and
``INSTALL`` are the tables of what is supported below ``stages`` and ``install``. An unknown key of ``stylus`` is a
warning, so that files for newer agents go on working; any other mistake is an error, before anything is touched.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from .masking import hide

HEADER = "#cloud-config"
MAX_BYTES = 4 << 20


class UserDataError(Exception):
    """What is wrong with user-data, one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("user-data: " + "; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class Kind:
    """What a value may be. ``each`` is the kind of the items of a list or the values of a map."""

    name: str
    keys: Mapping[str, Key] = field(default_factory=dict)
    each: Kind | None = None


@dataclass(frozen=True)
class Key:
    """A key of the table.

    allowed   the values that it may have, where that is a closed list
    pattern   what a string must look like, with the words for it
    inert     known, and of no effect with this agent: said in a warning
    refused   values that the agent cannot do, with the reason
    """

    kind: Kind
    allowed: tuple[Any, ...] = ()
    pattern: tuple[str, str] = ("", "")
    inert: bool = False
    refused: Mapping[Any, str] = field(default_factory=dict)


TEXT, BOOLEAN, WHOLE = Kind("a string"), Kind("true or false"), Kind("a whole number")
#: a text that loses the white space around it: ``key: |`` in YAML ends it with a newline
LINE = Kind("a string")
TEXTS = Kind("a list of strings", each=TEXT)
SCALAR = Kind("a string, a number or true or false")
LABELS = Kind("a map of strings", each=SCALAR)


def a_map(**keys: Key) -> Kind:
    return Kind("a map", {name.replace("__", "-"): key for name, key in keys.items()})


def list_of(kind: Kind) -> Kind:
    return Kind("a list of maps", each=kind)


LOCAL_REFUSED = "the embedded agent is managed centrally only for now: set managementMode: central"
_UID = (r"\$random|[A-Za-z0-9_-]{1,128}", "at most 128 letters, digits, - or _, or $random")
#: what goes into a header of HTTP as it is, and what goes there as UTF-8
_WORD = (r"[!-~]+", "printable ASCII without spaces")
_NAME = (r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+", "one line without control characters")
_CREDENTIALS = a_map(
    domain=Key(TEXT),
    username=Key(TEXT),
    password=Key(TEXT),
    encodedPassword=Key(BOOLEAN),
    insecure=Key(BOOLEAN),
)
_NIC = a_map(
    type=Key(TEXT, ("dhcp", "static")),
    ipAddress=Key(TEXT),
    mask=Key(TEXT),
    gateway=Key(TEXT),
    nameserver=Key(TEXT),
)

SITE = a_map(
    paletteEndpoint=Key(LINE),
    edgeHostToken=Key(LINE, pattern=_WORD),
    projectName=Key(LINE, pattern=_NAME),
    projectUid=Key(LINE, pattern=_WORD),
    name=Key(LINE, pattern=_UID),
    hostName=Key(
        LINE, pattern=(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*", "a host name")
    ),
    prefix=Key(LINE, pattern=(r"[A-Za-z0-9-]{1,64}", "letters, digits and -")),
    deviceUIDPaths=Key(list_of(a_map(name=Key(LINE), regex=Key(TEXT)))),
    tags=Key(LABELS),
    tagsFromFile=Key(a_map(fileName=Key(LINE), delimiter=Key(TEXT), separator=Key(TEXT))),
    tagsFromScript=Key(a_map(scriptName=Key(LINE), timeout=Key(WHOLE))),
    caCerts=Key(TEXTS),
    insecureSkipVerify=Key(BOOLEAN),
    disableAutoRegister=Key(BOOLEAN),
    ntpServers=Key(TEXTS, inert=True),
    registrationURL=Key(TEXT, inert=True),
    remoteShell=Key(a_map(disable=Key(BOOLEAN)), inert=True),
    clusterId=Key(TEXT, inert=True),
    clusterName=Key(TEXT, inert=True),
    users=Key(Kind("a list", each=None), inert=True),
    network=Key(
        a_map(
            httpProxy=Key(LINE),
            httpsProxy=Key(LINE),
            noProxy=Key(LINE),
            nameserver=Key(TEXT, inert=True),
            interfaces=Key(Kind("a map", each=_NIC), inert=True),
        )
    ),
)

STYLUS = a_map(
    managementMode=Key(LINE, ("central", "local"), refused={"local": LOCAL_REFUSED}),
    installationMode=Key(LINE, ("connected", "airgap"), refused={"airgap": LOCAL_REFUSED}),
    site=Key(SITE),
    debug=Key(BOOLEAN),
    trace=Key(BOOLEAN),
    path=Key(TEXT),
    vip=Key(a_map(skip=Key(BOOLEAN))),
    enableMultiNode=Key(BOOLEAN, inert=True),
    featureGate=Key(TEXT, inert=True),
    includeTui=Key(BOOLEAN, inert=True),
    disableTui=Key(BOOLEAN, inert=True),
    disablePasswordUpdate=Key(BOOLEAN, inert=True),
    localUI=Key(
        a_map(
            port=Key(WHOLE),
            login=Key(
                a_map(
                    disableRateLimiting=Key(BOOLEAN),
                    attemptsBeforeExponentialDelayStarts=Key(WHOLE),
                    maxFailedAttemptsBeforeLockout=Key(WHOLE),
                    lockoutDurationInMinutes=Key(WHOLE),
                )
            ),
        ),
        inert=True,
    ),
    registryCredentials=Key(_CREDENTIALS, inert=True),
    externalRegistries=Key(
        a_map(
            registries=Key(
                list_of(
                    a_map(
                        domain=Key(TEXT),
                        username=Key(TEXT),
                        password=Key(TEXT),
                        repositoryName=Key(TEXT),
                        certificates=Key(TEXTS),
                        insecure=Key(BOOLEAN),
                        encodedPassword=Key(BOOLEAN),
                    )
                )
            ),
            registryMappingRules=Key(LABELS),
        ),
        inert=True,
    ),
    imageRedirectWebhook=Key(a_map(enable=Key(BOOLEAN), port=Key(WHOLE)), inert=True),
)

#: stages in the order in which they run; each also as NAME.before and NAME.after
STAGE_NAMES = ("initramfs", "boot", "network", "reconcile")

_FILE = a_map(
    path=Key(TEXT),
    content=Key(TEXT),
    permissions=Key(SCALAR),
    owner=Key(WHOLE),
    group=Key(WHOLE),
    owner_string=Key(TEXT),
    encoding=Key(TEXT, ("", "base64", "b64")),
)
#: what a step of a stage may hold
STEPS = a_map(
    name=Key(TEXT),
    **{"if": Key(TEXT)},
    files=Key(list_of(_FILE)),
    directories=Key(list_of(a_map(path=Key(TEXT), permissions=Key(SCALAR), owner=Key(WHOLE), group=Key(WHOLE)))),
    commands=Key(TEXTS),
    sysctl=Key(LABELS),
    hostname=Key(TEXT),
    modules=Key(TEXTS),
    environment=Key(LABELS),
    environment_file=Key(TEXT),
    systemctl=Key(a_map(enable=Key(TEXTS), disable=Key(TEXTS), start=Key(TEXTS), mask=Key(TEXTS))),
)
INSTALL = a_map(reboot=Key(BOOLEAN), poweroff=Key(BOOLEAN))


@dataclass(frozen=True)
class UserData:
    """User-data that holds to the tables. ``warnings``: one line each, for people."""

    stylus: Mapping[str, Any]
    stages: Mapping[str, list[Mapping[str, Any]]]
    install: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    def get(self, path: str, default: Any = None) -> Any:
        """A value below ``stylus``: ``site.network.httpProxy``."""
        value: Any = self.stylus
        for part in path.split("."):
            if not isinstance(value, Mapping) or value.get(part) is None:
                return default
            value = value[part]
        return value

    def steps(self, stage: str) -> Iterator[Mapping[str, Any]]:
        """The steps of a stage, those of ``.before`` first and of ``.after`` last."""
        for name in (f"{stage}.before", stage, f"{stage}.after"):
            yield from self.stages.get(name, [])

    @property
    def endpoint(self) -> str:
        """The plane's address as a URL, without a slash at its end."""
        return endpoint_url(str(self.get("site.paletteEndpoint", "")))

    @property
    def token(self) -> str:
        return str(self.get("site.edgeHostToken", ""))


def is_word(value: Any) -> bool:
    """Whether a header can hold it as it is."""
    return isinstance(value, str) and re.fullmatch(_WORD[0], value) is not None


def endpoint_url(given: str) -> str:
    """``HOST[:PORT]`` means https, as in the vendor's pages; a whole URL is taken as it stands."""
    if not given:
        return ""
    url = (given if "://" in given else f"https://{given}").rstrip("/")
    parts = urlsplit(url)
    plain = is_word(url) and not (parts.query or parts.fragment or parts.username)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        shown = re.sub(r"(^|//)[^/]*@", r"\1********@", given)
        raise ValueError(f"{shown!r} is neither HOST[:PORT] nor an http or https URL")
    parts.port  # noqa: B018 - raises ValueError for what is no port
    return url


class _Loader(yaml.SafeLoader):
    """YAML without the same key twice, which would silently lose one of them; errors never quote the text."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (str, int)) and key in seen:
            line = key_node.start_mark.line + 1
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice (line {line})")
        if isinstance(key, (str, int)):
            seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


def _construct(loader: _Loader, node: yaml.MappingNode) -> Iterator[dict[Any, Any]]:
    data: dict[Any, Any] = {}
    yield data
    loader.flatten_mapping(node)
    data.update(_mapping(loader, node))


_Loader.add_constructor("tag:yaml.org,2002:map", _construct)


def parse(text: str) -> UserData:
    """User-data from its text; raises UserDataError that lists every mistake."""
    if len(text) > MAX_BYTES:
        raise UserDataError([f"it is larger than {MAX_BYTES} bytes"])
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if not re.match(rf"{HEADER}(\s|$)", first):
        raise UserDataError([f"its first line must be {HEADER}"])
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        where = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise UserDataError([f"it is not YAML: {error.problem}{where}"]) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserDataError([f"it is not YAML: {type(error).__name__}"]) from None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise UserDataError([f"it must be a map with the key stylus, not {_what(document)}"])
    mistakes: list[str] = []
    warnings: list[str] = []
    for name in document:
        if name not in ("stylus", "stages", "install"):
            warnings.append(f"{name}: the agent does not act on it (it acts on stylus, stages and install)")
    for name in ("stylus", "stages", "install"):
        if document.get(name) is None:
            document[name] = {}
    _check("stylus", document["stylus"], STYLUS, mistakes, warnings, strict=False)
    _check("install", document["install"], INSTALL, mistakes, warnings, strict=True)
    stages = _check_stages(document["stages"], mistakes, warnings)
    if mistakes:
        raise UserDataError(mistakes)
    data = UserData(document["stylus"], stages, document["install"], tuple(warnings))
    _check_values(data, mistakes)
    if mistakes:
        raise UserDataError(mistakes)
    hide(data.token)
    return data


def _check_stages(stages: Any, mistakes: list[str], warnings: list[str]) -> dict[str, list[Mapping[str, Any]]]:
    if not isinstance(stages, dict):
        mistakes.append(f"stages must be a map, not {_what(stages)}")
        return {}
    kept: dict[str, list[Mapping[str, Any]]] = {}
    for name, steps in stages.items():
        base = str(name).partition(".")
        if base[0] not in STAGE_NAMES or base[2] not in ("", "before", "after"):
            mistakes.append(f"stages.{name} is not supported; there are {', '.join(STAGE_NAMES)}")
        elif not isinstance(steps, list):
            mistakes.append(f"stages.{name} must be a list, not {_what(steps)}")
        else:
            for place, step in enumerate(steps):
                where = f"stages.{name}[{place}]"
                _check(where, step, STEPS, mistakes, warnings, strict=True)
                if isinstance(step, dict):
                    _check_step(where, step, mistakes)
            kept[str(name)] = steps
    return kept


def _check_step(where: str, step: Mapping[str, Any], mistakes: list[str]) -> None:
    for kind in ("files", "directories"):
        items = step.get(kind)
        for place, item in enumerate(items if isinstance(items, list) else []):
            if not isinstance(item, dict):
                continue
            at = f"{where}.{kind}[{place}]"
            path = str(item.get("path") or "")
            if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
                mistakes.append(f"{at}.path must be an absolute path without .., not {path!r}")
            try:
                permissions(item.get("permissions"), 0)
            except ValueError as error:
                mistakes.append(f"{at}.permissions: {error}")
            try:
                content_of(item)
            except ValueError as error:
                mistakes.append(f"{at}.content {error}")
    for name in step.get("sysctl") or {} if isinstance(step.get("sysctl"), dict) else ():
        if not re.fullmatch(r"[a-z0-9_]+([./][A-Za-z0-9_*-]+)+", str(name)):
            mistakes.append(f"{where}.sysctl: {name!r} is no name of a kernel setting")
    host_name = step.get("hostname")
    if isinstance(host_name, str) and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62})", host_name):
        mistakes.append(f"{where}.hostname: {host_name!r} is no host name")


def content_of(file: Mapping[str, Any]) -> bytes:
    """What a file of a step is to hold. ValueError says what is wrong with it, and shows none of it."""
    try:
        content = str(file.get("content") or "").encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
    if not file.get("encoding"):
        return content
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        raise ValueError("is no base64; write it as base64 does, or leave encoding away") from None


def permissions(given: Any, default: int) -> int:
    """A file mode from a string of octal digits (``"0644"``), or from the number that YAML makes of 0644."""
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        raise ValueError(f"{given!r} is no file mode such as 0644")
    if isinstance(given, int):
        mode = given
    else:
        try:
            mode = int(given.strip().lower().replace("0o", ""), 8)
        except ValueError:
            raise ValueError(f"{given!r} is no file mode such as 0644") from None
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"{given!r} is no file mode such as 0644")
    return mode


def _check_values(data: UserData, mistakes: list[str]) -> None:
    """What a single key cannot tell."""
    try:
        data.endpoint  # noqa: B018 - raises
    except ValueError as error:
        mistakes.append(f"stylus.site.paletteEndpoint: {error}")
    if data.get("site.projectUid") and data.get("site.projectName"):
        mistakes.append("stylus.site: give projectUid or projectName, not both")
    for place, entry in enumerate(data.get("site.deviceUIDPaths", [])):
        try:
            re.compile(str(entry.get("regex") or ""))
        except re.error as error:
            mistakes.append(f"stylus.site.deviceUIDPaths[{place}].regex: {error}")
        if not entry.get("name"):
            mistakes.append(f"stylus.site.deviceUIDPaths[{place}].name is missing")
    for name in ("httpProxy", "httpsProxy"):
        proxy = data.get(f"site.network.{name}", "")
        try:
            endpoint = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            if proxy and (endpoint.scheme != "http" or not endpoint.hostname):
                raise ValueError
        except ValueError:
            mistakes.append(f"stylus.site.network.{name} must be a URL such as http://proxy.example:3128")


def require_central(data: UserData) -> None:
    """What an agent that is managed centrally cannot do without."""
    missing = [f"stylus.site.{key}" for key in ("paletteEndpoint", "edgeHostToken") if not data.get(f"site.{key}")]
    if missing:
        raise UserDataError([f"{name} is missing" for name in missing])


def _what(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {dict: "a map", list: "a list", str: "a string", bool: "true or false"}
    return names.get(type(value), f"a {type(value).__name__}")


def _check(where: str, value: Any, kind: Kind, mistakes: list[str], warnings: list[str], strict: bool) -> None:
    """Hold a value against its kind. ``strict``: an unknown key is a mistake, not a warning."""
    if not _fits(value, kind):
        mistakes.append(f"{where} must be {kind.name}, not {_shown(where, value, kind)}")
        return
    if kind.keys:
        for name, item in value.items():
            key = kind.keys.get(name)
            path = f"{where}.{name}"
            if key is None:
                known = ", ".join(sorted(kind.keys))
                if strict:
                    mistakes.append(f"{path} is not supported; there are {known}")
                else:
                    warnings.append(f"{path}: unknown key, ignored")
                continue
            if item is None:
                continue
            if key.kind is LINE and isinstance(item, str):
                item = value[name] = item.strip()
            before = len(mistakes)
            _check(path, item, key.kind, mistakes, warnings, strict)
            if len(mistakes) > before:
                continue
            _check_key(path, item, key, mistakes, warnings)
    elif kind.each is not None:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            _check(
                f"{where}.{name}" if isinstance(value, dict) else f"{where}[{name}]",
                item,
                kind.each,
                mistakes,
                warnings,
                strict,
            )


def _check_key(path: str, value: Any, key: Key, mistakes: list[str], warnings: list[str]) -> None:
    if key.allowed and value not in key.allowed:
        allowed = ", ".join(repr(one) for one in key.allowed if one != "")
        mistakes.append(f"{path} is {value!r}; allowed are {allowed}")
    elif isinstance(value, str) and value in key.refused:
        mistakes.append(f"{path} is {value!r}: {key.refused[value]}")
    elif key.pattern[0] and isinstance(value, str) and value and not re.fullmatch(key.pattern[0], value):
        shown = "" if _SECRET.search(path) else f"is {value!r}; it "
        mistakes.append(f"{path} {shown}must be {key.pattern[1]}")
    elif key.inert:
        warnings.append(f"{path}: known, and of no effect with this agent")


def _fits(value: Any, kind: Kind) -> bool:
    if kind is TEXT or kind is LINE:
        return isinstance(value, str)
    if kind is BOOLEAN:
        return isinstance(value, bool)
    if kind is WHOLE:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if kind is SCALAR:
        return isinstance(value, (str, int, float))
    if kind.keys or kind.name.startswith("a map"):
        return isinstance(value, dict) and all(isinstance(name, str) for name in value)
    return isinstance(value, list)


#: keys whose values may be secret
_SECRET = re.compile(r"(?i)(token|password|secret|content|commands|environment|caCerts)")


def _shown(where: str, value: Any, kind: Kind) -> str:
    """A wrong value for a message: never that of a key that may hold a secret, nor a text where a list or a map
    belongs, as credentials are written by mistake.
    """
    if _SECRET.search(where):
        return _what(value)
    plain = isinstance(value, (int, float, bool)) or (isinstance(value, str) and kind in (BOOLEAN, WHOLE))
    return f"{_what(value)} ({value!r})" if plain else _what(value)
