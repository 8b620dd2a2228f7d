# SPDX-License-Identifier: GPL-3.0-or-later
"""User-data: what is taken, what is warned of, and what is refused before anything is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paletteops_agent.userdata import (
    INSTALL,
    SITE,
    STAGE_NAMES,
    STEPS,
    STYLUS,
    UserData,
    UserDataError,
    endpoint_url,
    parse,
    permissions,
    require_central,
)


def read(**content: Any) -> UserData:
    return parse("#cloud-config\n" + json.dumps(content))


def mistakes(**content: Any) -> str:
    with pytest.raises(UserDataError) as caught:
        read(**content)
    return str(caught.value)


def test_what_the_vendors_reference_names_is_known() -> None:
    top = (
        "debug trace disablePasswordUpdate includeTui installationMode localUI site registryCredentials managementMode"
    )
    assert set(top.split()) <= set(STYLUS.keys)
    site = """caCerts clusterId clusterName deviceUIDPaths edgeHostToken hostName insecureSkipVerify name network
        paletteEndpoint prefix projectName projectUid registrationURL tags tagsFromFile tagsFromScript"""
    assert set(site.split()) <= set(SITE.keys)


def test_values_are_read() -> None:
    data = read(stylus={"site": {"paletteEndpoint": "api.example.com", "tags": {"site": 17}}, "vip": {"skip": True}})
    assert data.endpoint == "https://api.example.com"
    assert data.get("site.tags") == {"site": 17}
    assert data.get("vip.skip") is True
    assert data.get("site.hostName", "none") == "none"
    assert data.warnings == ()


def test_unknown_keys_of_stylus_are_warned_of_by_name() -> None:
    data = read(stylus={"new": 1, "site": {"colour": "red", "network": {"mtu": 9000}}}, users=[])
    assert [warning.partition(":")[0] for warning in data.warnings] == [
        "users",
        "stylus.new",
        "stylus.site.colour",
        "stylus.site.network.mtu",
    ]


def test_keys_without_effect_are_warned_of() -> None:
    data = read(stylus={"localUI": {"port": 5080}, "featureGate": "UserDataForm"})
    assert len(data.warnings) == 2
    assert all("no effect" in warning for warning in data.warnings)


@pytest.mark.parametrize(
    ("stylus", "said"),
    [
        ({"managementMode": "remote"}, "stylus.managementMode is 'remote'; allowed are 'central', 'local'"),
        ({"managementMode": "local"}, "stylus.managementMode is 'local': the embedded agent is managed centrally"),
        (
            {"installationMode": "airgap"},
            "stylus.installationMode is 'airgap': the embedded agent is managed centrally",
        ),
        ({"debug": "yes"}, "stylus.debug must be true or false, not a string ('yes')"),
        ({"site": []}, "stylus.site must be a map, not a list"),
        ({"site": {"name": "a/b"}}, "stylus.site.name is 'a/b'; it must be"),
        ({"site": {"name": "x" * 129}}, "stylus.site.name is"),
        ({"site": {"hostName": "Shop_1"}}, "stylus.site.hostName is 'Shop_1'; it must be a host name"),
        ({"site": {"prefix": "a b"}}, "stylus.site.prefix is 'a b'"),
        ({"site": {"paletteEndpoint": "ftp://x"}}, "stylus.site.paletteEndpoint: 'ftp://x' is neither"),
        ({"site": {"paletteEndpoint": "x:port"}}, "stylus.site.paletteEndpoint"),
        ({"site": {"projectUid": "1", "projectName": "a"}}, "projectUid or projectName, not both"),
        ({"site": {"deviceUIDPaths": [{"name": "/x", "regex": "("}]}}, "stylus.site.deviceUIDPaths[0].regex"),
        ({"site": {"deviceUIDPaths": [{"regex": "x"}]}}, "stylus.site.deviceUIDPaths[0].name is missing"),
        ({"site": {"network": {"httpProxy": "socks://x"}}}, "stylus.site.network.httpProxy must be a URL"),
        ({"site": {"network": {"interfaces": {"eth0": {"type": "auto"}}}}}, "interfaces.eth0.type is 'auto'; allowed"),
        ({"site": {"tagsFromScript": {"timeout": -1}}}, "tagsFromScript.timeout must be a whole number"),
        ({"registryCredentials": "canary"}, "stylus.registryCredentials must be a map, not a string"),
    ],
)
def test_wrong_values_are_refused_with_key_value_and_what_is_allowed(stylus: dict[str, Any], said: str) -> None:
    found = mistakes(stylus=stylus)
    assert said in found and "canary" not in found


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    site = {
        "edgeHostToken": "token\n",
        "paletteEndpoint": " plane.example\n",
        "projectName": "retail \n",
        "name": "a\n",
    }
    more = {"network": {"httpProxy": "http://proxy.example:3128\n"}, "tagsFromFile": {"delimiter": " "}}
    data = read(stylus={"managementMode": "central\n", "site": {**site, **more}})
    assert (data.token, data.endpoint, data.get("site.projectName")) == ("token", "https://plane.example", "retail")
    assert (data.get("site.name"), data.get("managementMode")) == ("a", "central")
    assert data.get("site.network.httpProxy") == "http://proxy.example:3128"
    assert data.get("site.tagsFromFile.delimiter") == " ", "but of what is made of white space"


@pytest.mark.parametrize("token", ["canary one", "canary\tone", "canary\none", "canary\0", "canäry", "canary\u2028x"])
def test_a_token_that_is_none_is_refused_by_its_key_without_its_value(token: str) -> None:
    text = mistakes(stylus={"site": {"edgeHostToken": token}})
    assert "stylus.site.edgeHostToken must be" in text and "can" not in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "köln"),
        ("name", "a\0"),
        ("projectUid", "a b"),
        ("projectUid", "ü"),
        ("projectName", "a\nb"),
        ("projectName", "a\x1b"),
        ("paletteEndpoint", "plane.example/ä"),
        ("paletteEndpoint", "plane.example/a b"),
        ("paletteEndpoint", "plane\n.example"),
    ],
)
def test_what_no_header_can_hold_is_refused(key: str, value: str) -> None:
    assert f"stylus.site.{key}" in mistakes(stylus={"site": {key: value}})


def test_names_of_projects_may_be_of_any_script() -> None:
    assert read(stylus={"site": {"projectName": "Łódź"}}).get("site.projectName") == "Łódź"


def test_all_mistakes_are_told_at_once() -> None:
    text = mistakes(stylus={"debug": 1, "managementMode": "x"}, install={"device": "/dev/sda"}, stages={"rootfs": []})
    for part in ("stylus.debug", "stylus.managementMode", "install.device", "stages.rootfs"):
        assert part in text


def test_a_secret_of_the_wrong_kind_is_not_shown() -> None:
    assert "4711" not in mistakes(stylus={"site": {"edgeHostToken": 4711}})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stylus: {}\n", "first line must be #cloud-config"),
        ("", "first line must be #cloud-config"),
        ("#cloud-config\nstylus: [", "it is not YAML"),
        ("#cloud-config\na: b: c\n", "it is not YAML"),
        ("#cloud-config\nstylus: {}\nstylus: {}\n", "the key 'stylus' stands twice (line 3)"),
        ("#cloud-config\n- a\n", "it must be a map"),
        ("#cloud-config\nstylus: !!python/object:os.system {}\n", "it is not YAML"),
        ("#cloud-config\n" + "[" * 5000, "it is not YAML"),
        ("#cloud-config\n#" + "x" * (5 << 20), "larger than"),
    ],
)
def test_what_is_no_user_data(text: str, said: str) -> None:
    with pytest.raises(UserDataError, match="user-data: ") as caught:
        parse(text)
    assert said in str(caught.value)


def test_a_comment_line_may_stand_before_nothing_else() -> None:
    assert parse("\n#cloud-config\n").stages == {}


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_stages_with_their_befores_and_afters(name: str) -> None:
    one = {"name": "x", "commands": ["true"]}
    data = read(stages={f"{name}.after": [{**one, "name": "c"}], name: [{**one, "name": "b"}], f"{name}.before": [one]})
    assert [step["name"] for step in data.steps(name)] == ["x", "b", "c"]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ({"rootfs": []}, "stages.rootfs is not supported; there are initramfs, boot, network, reconcile"),
        ({"boot.late": []}, "stages.boot.late is not supported"),
        ({"boot": {}}, "stages.boot must be a list, not a map"),
        ({"boot": [{"users": {}}]}, "stages.boot[0].users is not supported; there are"),
        ({"boot": [{"files": [{"path": "relative"}]}]}, "stages.boot[0].files[0].path must be an absolute path"),
        ({"boot": [{"files": [{"path": "/a/../b"}]}]}, "stages.boot[0].files[0].path must be an absolute path"),
        ({"boot": [{"files": [{"path": "/a", "permissions": "rw"}]}]}, "'rw' is no file mode"),
        ({"boot": [{"files": [{"path": "/a", "mode": "1"}]}]}, "stages.boot[0].files[0].mode is not supported"),
        ({"boot": [{"files": [{"path": "/a", "encoding": "gz"}]}]}, "encoding is 'gz'; allowed are 'base64', 'b64'"),
        ({"boot": [{"sysctl": {"../x": 1}}]}, "is no name of a kernel setting"),
        ({"boot": [{"hostname": "a b"}]}, "is no host name"),
        ({"boot": [{"commands": "true"}]}, "stages.boot[0].commands must be a list of strings"),
        ({"boot": [{"systemctl": {"restart": ["x"]}}]}, "systemctl.restart is not supported"),
    ],
)
def test_other_things_below_stages_are_errors(stages: dict[str, Any], said: str) -> None:
    assert said in mistakes(stages=stages)


@pytest.mark.parametrize("content", ["S3CRET!!", "aGk", "aGk=aGk=", "ä", "YQ==YQ=="])
@pytest.mark.parametrize("encoding", ["base64", "b64"])
def test_content_that_is_no_base64_is_told_by_its_key_without_its_value(content: str, encoding: str) -> None:
    text = mistakes(stages={"boot": [{"files": [{"path": "/a", "encoding": encoding, "content": content}]}]})
    assert "stages.boot[0].files[0].content is no base64" in text and content not in text


@pytest.mark.parametrize("content", ["aGk=", " aG\n k=\n", "", None])
def test_base64_may_be_of_several_lines(content: str | None) -> None:
    read(stages={"boot": [{"files": [{"path": "/a", "encoding": "b64", "content": content}]}]})
    read(stages={"boot": [{"files": [{"path": "/a", "content": "S3CRET!!"}]}]})


def test_other_things_below_install_are_errors() -> None:
    assert "install.partitions is not supported; there are poweroff, reboot" in mistakes(install={"partitions": {}})
    assert set(INSTALL.keys) == {"reboot", "poweroff"}


def test_the_table_of_steps_is_what_the_readme_says() -> None:
    assert "files" in STEPS.keys and "users" not in STEPS.keys


@pytest.mark.parametrize(
    ("given", "mode"), [("0644", 0o644), ("644", 0o644), ("0o600", 0o600), (0o755, 0o755), (None, 0o640)]
)
def test_file_modes(given: Any, mode: int) -> None:
    assert permissions(given, 0o640) == mode


@pytest.mark.parametrize("given", ["888", "x", 0o10000, True, 1.5])
def test_what_is_no_file_mode(given: Any) -> None:
    with pytest.raises(ValueError, match="no file mode"):
        permissions(given, 0)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("plane.example", "https://plane.example"),
        ("plane.example:8443/", "https://plane.example:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://plane.example/base/", "https://plane.example/base"),
        ("", ""),
    ],
)
def test_the_endpoint(given: str, url: str) -> None:
    assert endpoint_url(given) == url


@pytest.mark.parametrize(
    "given", ["https://user:s3cret@plane.example", "user:s3cret@plane.example", "ftp://u:s3cret@p"]
)
def test_an_endpoint_with_a_password_is_refused_without_it(given: str) -> None:
    with pytest.raises(ValueError, match=r"\*\*\*@(plane.example|p)' is neither") as refused:
        endpoint_url(given)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("stylus", [{}, {"site": {"paletteEndpoint": " ", "edgeHostToken": "\n"}}])
def test_an_agent_cannot_do_without_plane_and_token(stylus: dict[str, Any]) -> None:
    with pytest.raises(UserDataError) as caught:
        require_central(read(stylus=stylus))
    assert caught.value.mistakes == [
        "stylus.site.paletteEndpoint is missing",
        "stylus.site.edgeHostToken is missing",
    ]
