# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plane does not serve it refuses with 501, and says so; it never pretends."""

from __future__ import annotations

import re

import pytest
from support.api import UNSET, Api
from support.description import Description
from support.flows import flows, steps

UID = "0123456789abcdef01234567"


def refused(api: Api, method: str, template: str) -> str:
    """Empty when the operation answers 501 with a body that names it, else what it does instead."""
    path = re.sub(r"{\w+}", UID, template)
    response = api.call(method, path, body={} if method in ("POST", "PUT", "PATCH") else UNSET)
    if response.status_code != 501:
        return f"{method} {template}: {response.status_code}"
    error = response.json()
    if error["code"] != "NotServed" or path not in error["message"]:
        return f"{method} {template}: {error}"
    return ""


def test_every_other_operation_of_the_vendor(api: Api, vendors: Description, description: Description) -> None:
    others = [operation for name, operation in vendors.operations.items() if name not in description.operations]
    assert len(others) > 500
    wrong = [text for operation in others if (text := refused(api, operation.method, operation.path))]
    assert not wrong, "\n".join(wrong[:30])


def test_other_methods_of_served_paths(api: Api, description: Description) -> None:
    paths = {operation.path for operation in description.operations.values()}
    wrong = [
        text
        for path in sorted(paths)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if description.find(method, path) is None and (text := refused(api, method, path))
    ]
    assert not wrong, "\n".join(wrong[:30])


@pytest.mark.parametrize("path", ["/v1/invented", "/v1/invented/{uid}", "/v1/spectroclusters/{uid}/invented", "/v1/"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_operations_of_nobody(api: Api, method: str, path: str) -> None:
    assert not refused(api, method, path)


def test_a_path_outside_of_the_api_is_no_such_path(api: Api) -> None:
    response = api.call("GET", "/v2/projects")
    assert (response.status_code, response.json()["code"]) == (404, "PathNotFound")


def test_what_the_flows_mark_as_lacking(api: Api) -> None:
    lacking = [step for flow in flows().values() for step in steps(flow["calls"]) if step.get("lacking")]
    wrong = [text for step in lacking if (text := refused(api, step["method"], step["path"]))]
    assert not wrong, "\n".join(wrong)
