# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that hold for the files of the repository, whatever is in them."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.collection import REPOSITORY

#: Written in two parts, so that this file does not hold them itself.
PACKAGE_INDEXES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("galaxy", "ansible", "com"),
        ("registry", "npmjs", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("repo", "maven", "apache", "org"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
    )
)
#: A folder of whoever wrote the file, at the beginning of a path.
SOMEBODYS_FOLDER = re.compile(r"(?<![\w.~}/-])/(?:root|work|home/(?!user\b)\w+)/\w")

#: A role's own variables, which users set, and those that only its tasks and the playbooks use.
VARIABLE = re.compile(r"palette_[a-z][a-z0-9_]*|palette__[a-z][a-z0-9_]*")


@lru_cache(maxsize=1)
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    return tuple(name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file())


def text(name: str) -> str:
    return (REPOSITORY / name).read_text("utf-8")


def python_files(*folders: str) -> Iterator[Path]:
    return (REPOSITORY / name for name in tracked() if name.endswith(".py") and name.startswith(folders))


def test_no_file_names_a_package_index() -> None:
    # Each machine uses its own; a lock that named one would not work elsewhere.
    named = {name: [index for index in PACKAGE_INDEXES if index in text(name)] for name in tracked()}
    assert {name: indexes for name, indexes in named.items() if indexes} == {}


def test_no_file_names_a_folder_of_one_machine() -> None:
    here = "tests/unit/test_repository.py"
    found = {name: SOMEBODYS_FOLDER.findall(text(name)) for name in tracked() if name != here}
    assert {name: paths for name, paths in found.items() if paths} == {}


def test_every_python_file_says_its_licence() -> None:
    files = [name for name in tracked() if name.endswith(".py") and text(name).strip()]
    assert [name for name in files if "SPDX-License-Identifier: GPL-3.0-or-later" not in text(name)] == []


def test_there_is_one_version() -> None:
    version = yaml.safe_load(text("galaxy.yml"))["version"]
    versions = {"galaxy.yml": version, "CHANGELOG.rst": version if f"\nv{version}\n" in text("CHANGELOG.rst") else None}
    for project in REPOSITORY.glob("embedded/*/pyproject.toml"):
        name = str(project.relative_to(REPOSITORY))
        versions[name] = tomllib.loads(text(name))["project"]["version"]
    assert set(versions.values()) == {version}, versions


# --- one direction only ---


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize(
    ("folder", "never"),
    [
        ("embedded/", ("ansible", "ansible_collections")),
        ("plugins/", ("paletteops_plane", "paletteops_agent", "paletteops_forge")),
        ("plugins/module_utils/", ("ansible_collections.paletteops.modes.plugins.modules",)),
    ],
)
def test_what_imports_what(folder: str, never: tuple[str, ...]) -> None:
    files = list(python_files(folder))
    assert files
    for path in files:
        wrong = [name for name in imported(path) if any(f"{name}.".startswith(f"{start}.") for start in never)]
        assert not wrong, f"{path.relative_to(REPOSITORY)} imports {wrong}"


# --- the collection ---


def documentation(module: str) -> dict[str, Any]:
    tree = ast.parse(text(f"plugins/modules/{module}.py"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and [target.id for target in node.targets if isinstance(target, ast.Name)] == [
            "DOCUMENTATION"
        ]:
            loaded: dict[str, Any] = yaml.safe_load(ast.literal_eval(node.value))
            return loaded
    raise AssertionError(f"{module} has no DOCUMENTATION")


def test_the_action_group_holds_every_module_that_connects() -> None:
    group = yaml.safe_load(text("meta/runtime.yml"))["action_groups"]["palette"]
    modules = {path.stem for path in python_files("plugins/modules/")} - {"__init__"}
    connecting = {
        module
        for module in modules
        if "paletteops.modes.connection" in documentation(module).get("extends_documentation_fragment", [])
    }
    assert connecting
    assert group == sorted(connecting)


def assigned(content: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """The variables that a file of a role or a playbook gives values to, with where."""
    if isinstance(content, list):
        for item in content:
            yield from assigned(item, place)
    elif isinstance(content, dict):
        for key, value in content.items():
            if key in ("register", "loop_var", "index_var") and isinstance(value, str):
                yield value, key
            elif key in ("vars", "ansible.builtin.set_fact", "set_fact") and isinstance(value, dict):
                yield from ((name, key) for name in value if name != "cacheable")
            yield from assigned(value, str(key))


def role_variables() -> Iterator[tuple[str, str]]:
    """File and variable, for all variables that roles and playbooks define."""
    for name in tracked():
        if not name.startswith(("roles/", "playbooks/")) or not name.endswith((".yml", ".yaml")):
            continue
        content = yaml.safe_load(text(name))
        parts = name.split("/")
        if parts[0] == "roles" and parts[2] in ("defaults", "vars"):
            yield from ((name, variable) for variable in content or {})
        elif parts[0] == "roles" and parts[2:] == ["meta", "argument_specs.yml"]:
            for spec in content["argument_specs"].values():
                yield from ((name, variable) for variable in spec.get("options", {}))
        else:
            yield from ((name, variable) for variable, _ in assigned(content))


def test_variables_of_roles_and_playbooks_begin_with_palette() -> None:
    # The roles share their variables, so the prefix is the collection's, not each role's.
    found = list(role_variables())
    assert found
    ansibles = re.compile(r"ansible_[a-z_]+")
    wrong = [(name, variable) for name, variable in found if not VARIABLE.fullmatch(variable)]
    assert [pair for pair in wrong if not ansibles.fullmatch(pair[1])] == []
