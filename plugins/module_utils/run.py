# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tasks of one run share, across forks: looked-up names, check mode's predictions, submissions, polls.

It lives in a folder that the run makes and Ansible removes at its end. It holds names, uids, specs without secrets and
states, never a credential. Without a folder (a module that runs by itself) the same calls work, and nothing is shared.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any, Callable

from ansible_collections.paletteops.modes.plugins.module_utils.ratelimit import locked, private_folder

#: Name of the environment variable by which an ordinary module process is told the run's folder.
RUN_FOLDER = "PALETTEOPS_RUN_FOLDER"

#: Seconds for which "there is no such name" is believed without asking again. A name that somebody else makes in this
#: time is met as a refused creation, which is then read back.
ABSENCE_HOLDS = 30.0

Entry = dict[str, Any]


class Run:
    """The shared record of one run. ``folder`` is None where there is nothing to share."""

    def __init__(self, folder: str | None = None) -> None:
        self.folder = private_folder(folder) if folder else None
        self._own: dict[str, Any] = {}

    @contextlib.contextmanager
    def entry(self, key: str) -> Iterator[Entry]:
        """The record under a key, to read and to change, for one process at a time."""
        if self.folder is None:
            yield self._own.setdefault(key, {})
            return
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        with locked(os.path.join(self.folder, name)) as handle:
            raw = b"".join(iter(lambda: os.read(handle, 1 << 20), b""))
            try:
                record: Entry = json.loads(raw) if raw else {}
            except ValueError:  # a killed writer's half record is no record
                record = {}
            yield record
            data = json.dumps(record).encode()
            if data != raw:
                os.lseek(handle, 0, os.SEEK_SET)
                os.ftruncate(handle, 0)
                os.write(handle, data)

    # --- names ---

    def index(self, key: str, fetch: Callable[[], list[Entry]]) -> Index:
        return Index(self, key, fetch)

    def cached(self, key: str, fetch: Callable[[], Any]) -> Any:
        """An answer that holds for the whole run, fetched by the first who asks."""
        with self.entry("cached|" + key) as record:
            if "answer" not in record:
                record["answer"] = fetch()
            return record["answer"]

    def forget(self, key: str) -> None:
        with self.entry("cached|" + key) as record:
            record.clear()

    # --- check mode ---

    def predict(self, key: str, name: str, spec: Entry | None) -> None:
        """Notes what a task would have made of an object: its spec without secrets, None where it would be gone.

        key   names the kind of object and its scope
        """
        with self.entry("predicted|" + key) as record:
            record[name] = {"spec": spec}

    def unpredict(self, key: str, name: str) -> None:
        """Forgets a prediction: what was foretold of the object has been carried out, or something else was."""
        with self.entry("predicted|" + key) as record:
            record.pop(name, None)

    def predicted(self, key: str, name: str) -> Entry | None:
        """``{"spec": …}`` where an earlier task of this run would have made or removed it, else None."""
        with self.entry("predicted|" + key) as record:
            found: Entry | None = record.get(name)
            return found

    def foretold(self, key: str) -> dict[str, Entry | None]:
        """What earlier tasks of this run would have made of objects, by name; None of those that would be gone."""
        with self.entry("predicted|" + key) as record:
            return {name: item["spec"] for name, item in record.items()}

    def predictions(self, key: str) -> list[Entry]:
        """The specs of all objects which earlier tasks of this run would have made."""
        return [spec for spec in self.foretold(key).values() if spec is not None]

    # --- waiting ---

    def submit(self, key: str, uid: str, name: str) -> None:
        """Notes that this run has (again) asked something of a cluster: its time limit counts from now.

        From now on the shared poll asks for it, too.
        """
        with self.entry("submitted|" + key) as record:
            record[uid] = {"name": name, "at": time.time()}

    def submitted(self, key: str, uid: str, name: str) -> float:
        """When this run first had to do with a cluster, in seconds of the wall clock."""
        with self.entry("submitted|" + key) as record:
            return float(record.setdefault(uid, {"name": name, "at": time.time()})["at"])

    def finish(self, key: str, uid: str) -> None:
        """Nobody waits for this cluster any more."""
        with self.entry("submitted|" + key) as record:
            record.pop(uid, None)

    def poll(
        self, key: str, interval: float, since: float, fetch: Callable[[list[str]], dict[str, Any]]
    ) -> dict[str, Any]:
        """What the poll that all waiters share last found; one of them fetches it, once an interval.

        since   what was fetched before this moment is of no use, and is fetched anew at once
        fetch   gets the names of all clusters that are waited for and returns what is known of each
        """
        with self.entry("poll|" + key) as record:
            at = float(record.get("at", 0))
            if time.time() - at >= interval or at < since:
                with self.entry("submitted|" + key) as submitted:
                    names = sorted({item["name"] for item in submitted.values()})
                at = time.time()
                record["answer"] = fetch(names)
                record["at"] = at
            answer: dict[str, Any] = record["answer"]
            return answer

    def outdate(self, key: str) -> None:
        """What the shared poll last found holds no more: this run has changed something of it."""
        with self.entry("poll|" + key) as record:
            record.clear()


class Index:
    """The names of one kind of object with their uids, from one bulk call that the tasks of a run share."""

    def __init__(self, run: Run, key: str, fetch: Callable[[], list[Entry]]) -> None:
        self.run = run
        self.key = "index|" + key
        self.fetch = fetch

    def _entries(self, record: Entry, older_than: float) -> list[Entry]:
        if "entries" not in record or record["at"] < older_than:
            record["entries"] = self.fetch()
            record["at"] = time.time()
        entries: list[Entry] = record["entries"]
        return entries

    def entries(self, fresh: bool = False) -> list[Entry]:
        with self.run.entry(self.key) as record:
            return list(self._entries(record, time.time() if fresh else 0.0))

    def find(self, patience: float = 0.0, **wanted: Any) -> Entry | None:
        """The entry with these values. Its absence is believed for ``patience`` seconds, then asked for again."""
        asked = time.time()
        with self.run.entry(self.key) as record:
            for older_than in (0.0, asked - patience):
                for item in self._entries(record, older_than):
                    if all(item.get(key) == value for key, value in wanted.items()):
                        return dict(item)
        return None

    def add(self, *entries: Entry) -> None:
        """Notes what this run has made or changed, so that nobody need ask for it."""
        known = {entry["uid"] for entry in entries}
        with self.run.entry(self.key) as record:
            if "entries" in record:
                record["entries"] = [item for item in record["entries"] if item["uid"] not in known] + list(entries)

    def drop(self, uid: str) -> None:
        with self.run.entry(self.key) as record:
            if "entries" in record:
                record["entries"] = [item for item in record["entries"] if item["uid"] != uid]

    def forget(self) -> None:
        with self.run.entry(self.key) as record:
            record.clear()
