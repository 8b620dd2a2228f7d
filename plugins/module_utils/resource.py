# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one way in which an object of the plane is brought to the state that a task names.

Find, compare, create or update or delete, report: check mode, diff, races, interrupted creations and secrets are
settled here for every resource. A resource says only what is particular to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ansible_collections.paletteops.modes.plugins.module_utils.errors import ApiError, PaletteError, UncertainError
from ansible_collections.paletteops.modes.plugins.module_utils.fields import (
    Field,
    Values,
    argument_spec,
    changed_fields,
    encode,
    merge,
    missing,
    public,
    readable,
)
from ansible_collections.paletteops.modes.plugins.module_utils.operation import Operation, Result, Session, Spec
from ansible_collections.paletteops.modes.plugins.module_utils.run import ABSENCE_HOLDS, Index

STATE_SPEC: Spec = {"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}}

#: How Palette stores a tag without a value.
NO_VALUE = "spectro__tag"


def tags_to_labels(tags: dict[str, Any]) -> dict[str, str]:
    return {str(key): str(value) if value not in (None, "") else NO_VALUE for key, value in tags.items()}


def labels_to_tags(labels: dict[str, str]) -> dict[str, str]:
    return {key: "" if value == NO_VALUE else value for key, value in labels.items()}


NAME = Field("name", api="metadata.name")
DESCRIPTION = Field("description", api="metadata.annotations.description")
TAGS = Field("tags", api="metadata.labels", type="dict", encode=tags_to_labels, decode=labels_to_tags)


def metadata_body(raw: dict[str, Any], after: Values) -> dict[str, Any]:
    """The metadata of an update: name, description and tags as wanted.

    Labels are sent whole, since the API replaces them; other annotations are handed back as they are.
    """
    metadata: dict[str, Any] = encode((NAME, TAGS), after)["metadata"]
    metadata.setdefault("labels", {})
    annotations = dict(raw["metadata"].get("annotations") or {})
    if annotations.get("description") or after.get("description"):
        annotations["description"] = after.get("description") or ""
    metadata["annotations"] = annotations
    return metadata


class Resource:
    """One object of the plane, as a task names it.

    A subclass names its ``kind`` (a word in snake case: the key of the return value), its ``fields`` and its
    ``behaviour`` options, and says how it is listed, read, made, changed and removed. ``before`` and ``after`` are in
    option names; ``raw`` is the API's object.
    """

    kind: ClassVar[str]
    fields: ClassVar[tuple[Field, ...]]
    behaviour: ClassVar[Spec] = {}
    lists: ClassVar[tuple[str, ...]] = ()  #: names that purge takes
    keys: ClassVar[tuple[str, ...]] = ("name",)  #: options that say which object is meant; one of them is needed
    tenant: ClassVar[bool] = False  #: lives in the tenant's scope, whatever the project

    def __init__(self, session: Session) -> None:
        self.session = session
        self.client = session.client
        self.run = session.run
        self.params = session.params

    # --- what a resource says of itself ---

    def table(self) -> tuple[Field, ...]:
        """The fields of this object; more than ``fields`` where a cloud adds its own."""
        return self.fields

    def listing(self) -> list[dict[str, Any]]:
        """All objects of the kind as ``{name, uid, …}``, from one bulk call."""
        raise NotImplementedError

    def read(self, uid: str) -> dict[str, Any] | None:
        """The API's object, None where it does not exist."""
        raise NotImplementedError

    def observe(self, raw: dict[str, Any]) -> Values:
        """What is, in option names."""
        raise NotImplementedError

    def wanted(self, before: Values | None) -> Values:
        """What the task names, references and version ranges resolved."""
        return {field.name: self.params.get(field.name) for field in self.table()}

    def check(self, before: Values | None, after: Values) -> None:
        """Raises PaletteError where what is to be breaks a rule. Runs before any write."""

    def check_absent(self, raw: dict[str, Any]) -> None:
        """Raises PaletteError where the object cannot be removed. Runs before any write, in check mode too."""

    def create(self, after: Values) -> str:
        raise NotImplementedError

    def update(self, raw: dict[str, Any], before: Values, after: Values) -> None:
        raise NotImplementedError

    def delete(self, raw: dict[str, Any]) -> None:
        raise NotImplementedError

    def pending(self, raw: dict[str, Any]) -> bool:
        """Whether something else than the fields is to be done to an existing object, such as an approval."""
        return False

    def settle(self, uid: str, changed: bool) -> Result:
        """After the object is as wanted: waits where the task asks for it. Returns more of the task's result."""
        return {}

    def leaving(self, raw: dict[str, Any]) -> bool:
        """Whether a deletion is under way, so that none is to be asked for."""
        return False

    def settle_absent(self, uid: str) -> bool:
        """After the deletion was asked for. Returns whether the object is gone by now."""
        return True

    # --- names ---

    @property
    def name(self) -> str:
        return str(self.params["name"])

    @property
    def title(self) -> str:
        """The object in a sentence."""
        return f"{self.kind.replace('_', ' ')} '{self.name}'"

    @property
    def scope(self) -> str:
        return "" if self.tenant else self.client.scope

    def identity(self) -> dict[str, Any]:
        """The values by which the object is found in its listing."""
        return {"name": self.name}

    def entry(self, after: Values) -> dict[str, Any]:
        """What the listing says of the object, without its uid."""
        return self.identity()

    def record_name(self) -> str:
        """The name under which check mode notes the object."""
        return "@".join(str(value) for value in self.identity().values())

    def key(self) -> str:
        """The name under which the run notes what it knows of this kind in this scope."""
        return self.client.key(self.kind, tenant=self.tenant)

    def index(self) -> Index:
        return self.run.index(self.key(), self.listing)

    def locate(self, fresh: bool = False) -> dict[str, Any] | None:
        """The API's object by its name; an entry that turns out to be stale is looked up anew."""
        index = self.index()
        if fresh:
            index.forget()
        for _attempt in range(2):
            entry = index.find(patience=ABSENCE_HOLDS, **self.identity())
            if entry is None:
                return None
            raw = self.read(entry["uid"])
            if raw is not None:
                return raw
            index.forget()
        return None

    # --- the one way ---

    def ensure(self) -> Result:
        if self.params["state"] == "absent":
            return self.ensure_absent()
        raw = self.locate()
        before = self.observe(raw) if raw else None
        if self.session.check_mode:
            foretold = self.run.predicted(self.key(), self.record_name())
            if foretold:
                raw, before = (raw if foretold["spec"] else None), foretold["spec"]
        after = self.plan(before)
        if before is None:
            if self.session.check_mode:
                return self.report(None, after, "")
            uid, raw = self.make(after)
            if raw is None:
                return self.report(None, after, uid, self.settled(uid, True))
            before = self.observe(raw)  # somebody else was quicker, or this run before it was interrupted
            after = self.plan(before)
        uid = str((raw or {}).get("metadata", {}).get("uid", ""))
        changed = self.differs(before, after) or (raw is not None and self.pending(raw))
        if self.session.check_mode:
            return self.report(before, after, uid, changed=changed)
        if changed and raw is not None:
            self.update(raw, before, after)
        return self.report(before, after, uid, self.settled(uid, changed), changed=changed)

    def settled(self, uid: str, changed: bool) -> Result:
        """What comes after the change; where that fails, the change is reported all the same."""
        try:
            return self.settle(uid, changed)
        except PaletteError as error:
            error.details.setdefault("changed", changed)
            raise

    def plan(self, before: Values | None) -> Values:
        """What is to be. Raises before anything is written where it cannot be."""
        wanted = self.wanted(before)
        after = merge(self.table(), before, wanted, self.params.get("purge") or [], "")
        # Of what is new the first thing to say is what is missing; of what there is, which rule would be broken.
        for step in (self.require, self.check) if before is None else (self.check, self.require):
            step(before, after)
        return after

    def require(self, before: Values | None, after: Values) -> None:
        """Raises PaletteError where something new lacks options that it needs."""
        known = missing(self.table(), before) if before is not None else []
        lacking = [name for name in missing(self.table(), after) if name not in known]
        if lacking:
            new = (
                f"{self.title.capitalize()} does not exist yet, and to make it" if before is None else "For what is new"
            )
            raise PaletteError(f"{new} these options are missing: {', '.join(lacking)}. Name them.")

    def differs(self, before: Values, after: Values) -> bool:
        fields = [field for field in self.table() if not field.secret]
        return bool(changed_fields(fields, public(fields, before), public(fields, after))) or self.sends_secrets()

    def sends_secrets(self) -> bool:
        """Whether secrets are sent to an object that is there, whatever else changes."""
        return bool(self.params.get("update_secrets") == "always")

    def make(self, after: Values) -> tuple[str, dict[str, Any] | None]:
        """Creates the object. Returns its uid, and the API's object where it turned out to be there already."""
        for attempt in range(self.client.connection.retries + 1):
            try:
                uid = self.create(after)
                self.index().add(dict(self.entry(after), uid=uid))
                return uid, None
            except UncertainError:
                raw = self.locate(fresh=True)
                if raw is not None:
                    return str(raw["metadata"]["uid"]), None
                if attempt == self.client.connection.retries:
                    raise
            except ApiError as error:
                if error.status != 409:
                    raise
                raw = self.locate(fresh=True)
                if raw is None:
                    raise
                return str(raw["metadata"]["uid"]), raw
        raise AssertionError("unreachable")

    def ensure_absent(self) -> Result:
        raw = self.locate()
        if raw is not None:
            self.check_absent(raw)
        before = self.observe(raw) if raw else None
        if self.session.check_mode:
            foretold = self.run.predicted(self.key(), self.record_name())
            if foretold:
                before = foretold["spec"]
            if before is not None:
                self.run.predict(self.key(), self.record_name(), None)
            return self.outcome(before is not None and not (raw and self.leaving(raw)), before, None, {})
        self.run.unpredict(self.key(), self.record_name())
        changed = False
        if raw is not None:
            uid = str(raw["metadata"]["uid"])
            changed = not self.leaving(raw)
            if changed:
                self.delete(raw)
            if self.settle_absent(uid):
                self.index().drop(uid)
        return self.outcome(changed, before, None, {})

    # --- reporting ---

    def report(
        self,
        before: Values | None,
        after: Values,
        uid: str,
        more: Result | None = None,
        changed: bool = True,
    ) -> Result:
        shown = public(self.table(), after)
        if self.session.check_mode:
            self.run.predict(self.key(), self.record_name(), shown)
        else:
            self.run.unpredict(self.key(), self.record_name())
        result = {self.kind: dict(shown, uid=uid or shown.get("uid", ""))}
        return self.outcome(changed, before, after, dict(result, **(more or {})))

    def outcome(self, changed: bool, before: Values | None, after: Values | None, more: Result) -> Result:
        result: Result = dict(more, changed=changed)
        if self.session.diff:
            header = f"{self.title}{' in project ' + self.scope if self.scope else ''}"
            result["diff"] = {
                "before": readable(public(self.table(), before)) if before is not None else "",
                "after": readable(public(self.table(), after)) if after is not None else "",
                "before_header": header,
                "after_header": header,
            }
        return result


def resource_operation(
    resource: type[Resource], required_if: Sequence[Any] = (), returns_secrets: tuple[str, ...] = ()
) -> Operation:
    """The operation of a resource's module."""
    options: Spec = dict(argument_spec(resource.fields), **STATE_SPEC)
    if len(resource.keys) == 1:
        options[resource.keys[0]] = {"type": "str", "required": True}
    if resource.lists:
        options["purge"] = {"type": "list", "elements": "str", "choices": list(resource.lists), "default": []}
    options.update(resource.behaviour)
    return Operation(
        options,
        lambda session: resource(session).ensure(),
        required_if=tuple(required_if),
        required_one_of=(resource.keys,) if len(resource.keys) > 1 else (),
        returns_secrets=returns_secrets,
    )
