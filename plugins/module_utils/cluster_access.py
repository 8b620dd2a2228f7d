# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done with a cluster beside bringing it to a state: waiting for it, and getting its kubeconfig."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import tempfile
from typing import Any

from ansible_collections.paletteops.modes.plugins.module_utils import wait
from ansible_collections.paletteops.modes.plugins.module_utils.cluster import find_cluster
from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Operation, Result, Session, Spec

NAME_SPEC: Spec = {"name": {"type": "str", "required": True}}

#: What the API calls the kubeconfigs, by who uses them.
ASSETS = {False: "kubeconfig", True: "adminKubeconfig"}


def wait_for_cluster(session: Session) -> Result:
    wait.check_limits(session.params)
    name = session.params["name"]
    entry = find_cluster(session, name)
    if session.check_mode:
        return {"changed": False, "cluster": {"name": name, "uid": entry["uid"]}}
    known = wait.Waiter(session, entry["uid"], name).until_ready()
    shown = {key: known[key] for key in ("state", "health", "nodes", "healthy_nodes", "seconds")}
    return {"changed": False, "cluster": {"name": name, "uid": entry["uid"], **shown}}


def write_kubeconfig(session: Session) -> Result:
    name, admin = session.params["name"], session.params["admin"]
    dest = os.path.abspath(os.path.expanduser(session.params["dest"]))
    if not session.params["dest"] or os.path.isdir(dest):
        raise PaletteError(f"dest is '{session.params['dest']}', and wants the path of a file. Name one.")
    if session.params["state"] == "absent":
        return remove(session, dest)
    entry = find_cluster(session, name)
    answer = entry["uid"] and session.client.find(f"/v1/spectroclusters/{entry['uid']}/assets/{ASSETS[admin]}")
    if not answer:
        if session.check_mode:
            return {"changed": True, "dest": dest}  # it comes with the cluster, which is still being made
        raise PaletteError(
            f"The cluster '{name}' has no {'administrator ' if admin else ''}kubeconfig yet. It comes while the "
            "cluster is made: wait for it with paletteops.modes.cluster_wait."
        )
    content = plain_text(answer)
    changed = not same_file(dest, content)
    if changed and not session.check_mode:
        write_secret(dest, content)
    return {"changed": changed, "dest": dest}


def remove(session: Session, dest: str) -> Result:
    changed = os.path.lexists(dest)
    if changed and not session.check_mode:
        os.unlink(dest)
    return {"changed": changed, "dest": dest}


def plain_text(answer: Any) -> str:
    """The kubeconfig as YAML text; the API may hand it out in base64."""
    text = answer if isinstance(answer, str) else str(answer)
    if "apiVersion" in text:
        return text
    with contextlib.suppress(binascii.Error, UnicodeDecodeError):
        return base64.b64decode(text.strip(), validate=True).decode()
    return text


def same_file(path: str, content: str) -> bool:
    """Whether the file holds this and is for its owner alone."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read() == content and not os.stat(path).st_mode & 0o077
    except (OSError, UnicodeDecodeError):
        return False


def write_secret(path: str, content: str) -> None:
    """Writes a file for its owner alone, at once: a reader sees the old or the new one, never a part."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=folder)  # 0600 by itself
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise PaletteError(
            f"The kubeconfig cannot be written to {path}: {error.strerror}. Choose another dest."
        ) from None


WAIT = Operation(dict(NAME_SPEC, **wait.WAIT_SPEC), wait_for_cluster)
KUBECONFIG = Operation(
    dict(
        NAME_SPEC,
        dest={"type": "path", "required": True},
        admin={"type": "bool", "default": False},
        state={"type": "str", "choices": ["present", "absent"], "default": "present"},
    ),
    write_kubeconfig,
)
