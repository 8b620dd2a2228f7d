# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, as exceptions. Library code raises; the edge (module or action) makes a failed task of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def printable(text: str) -> str:
    """The text without characters that a terminal obeys instead of showing: some of it comes from others' machines."""
    return "".join(character if character.isprintable() or character in "\n\t" else " " for character in text)


def one_line(text: Any) -> str:
    """Somebody else's text as a part of a sentence: it can begin no line that looks like Ansible's own."""
    return " ".join(printable(str(text or "")).split())


class PaletteError(Exception):
    """An error with a message for the user, and what a playbook may want to read of it.

    ``details`` becomes part of the failed task's result.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = printable(message)
        self.details = details


class ApiError(PaletteError):
    """The management plane refused a call. ``details["error"]`` has status, code, message, details and ref."""

    def __init__(self, status: int, body: Any, method: str, path: str) -> None:
        body = body if isinstance(body, dict) else {"message": str(body or "").strip()[:500]}
        self.status = status
        self.code: str = str(body.get("code") or "")
        said = one_line(body.get("message")) or "no reason was given"
        error = {key: body.get(key) for key in ("code", "message", "details", "ref")}
        error.update(status=status, method=method, path=path)
        super().__init__(
            f"The management plane answered {status}{' ' + self.code if self.code else ''} to {method} {path}: {said}",
            error=error,
        )


class UncertainError(PaletteError):
    """A call that is not safe to repeat broke off: it may or may not have been carried out."""


class UnreachableError(PaletteError):
    """Nothing answered, or the connection could not be trusted."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names that look most like ``name``, best first; all of them where there are few."""
    names = sorted({str(item) for item in known})
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    if close:
        return close
    return names if len(names) <= 8 else []


def hint(name: str, known: Iterable[str]) -> str:
    """A sentence that names what the user may have meant, or what there is; empty where nothing is known."""
    names = list(known)
    close = nearest(name, names)
    if not names:
        return " There are none."
    if not close:
        return f" There are {len(set(names))} others, none of a similar name."
    if len(close) == 1:
        return f" Did you mean '{close[0]}'?"
    return f" Did you mean one of: {', '.join(close)}?"


def unknown(kind: str, name: str, known: Iterable[str], way_out: str = "", **details: Any) -> PaletteError:
    """The error for a reference to something that nobody defines."""
    text = f"There is no {kind} named '{name}'.{hint(name, known)}"
    return PaletteError(f"{text} {way_out}".strip(), **details)


def library_missing(name: str, why: str, needed_for: str = "") -> PaletteError:
    """The error for a Python library that cannot be imported; ``why`` is what the import said."""
    return PaletteError(
        f"The Python library {name} is needed{needed_for} and cannot be imported ({why}). "
        f"Install it for the Python that runs this: python -m pip install {name}."
    )


def first_line(text: str | None) -> str:
    """The first line of a text, for messages that must stay on one."""
    return (text or "").strip().split("\n", 1)[0]


def flatten(errors: Iterable[str]) -> str:
    """Several findings as one message; each stands whole."""
    found = list(errors)
    return (
        found[0]
        if len(found) == 1
        else "\n".join([f"{len(found)} things are wrong:", *(f"- {text}" for text in found)])
    )


def summary(error: Exception) -> dict[str, Any]:
    """What a failed task returns for an exception of this collection."""
    if isinstance(error, PaletteError):
        return dict(error.details, msg=error.message)
    return {"msg": f"{type(error).__name__}: {error}"}
