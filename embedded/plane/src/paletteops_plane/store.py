# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the plane keeps everything: documents in one SQLite file.

A document is the JSON that the API shows (plus, under keys that start with an underscore, what it does not show),
with what it is found by in columns of its own. The file is readable by its owner alone (0600), which is what
protects the secrets of cloud accounts in it: they are stored as they came, since whoever reads the file could read
a key that lies beside it as well.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Json = Any

#: One entry for each schema version, in order; a file of a lower version is brought up by those that follow.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE document (
        uid TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        project TEXT NOT NULL,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        parent TEXT NOT NULL,
        holds_name INTEGER NOT NULL,
        body TEXT NOT NULL
    );
    CREATE UNIQUE INDEX document_name ON document (kind, project, parent, name, version) WHERE holds_name = 1;
    CREATE INDEX document_project ON document (kind, project);
    CREATE INDEX document_parent ON document (parent, kind);
    CREATE TABLE reference (
        user TEXT NOT NULL REFERENCES document (uid) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
        used TEXT NOT NULL,
        PRIMARY KEY (user, used)
    ) WITHOUT ROWID;
    CREATE INDEX reference_used ON reference (used);
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
)

SCHEMA_VERSION = len(MIGRATIONS)


class StoreError(Exception):
    """The data file cannot be used; the message is one line for the user."""


class NameTaken(Exception):
    """Another document of this kind, scope, name and version exists; ``uid`` is the other's."""

    def __init__(self, uid: str) -> None:
        super().__init__(uid)
        self.uid = uid


@dataclass
class Document:
    """One stored object.

    ``project`` is empty for what belongs to the tenant. ``parent`` is the uid of the object that this one is part
    of (a cluster's event, a pool's machine), else empty. A document with ``holds_name`` false (a deleted cluster
    that is still shown) leaves its name to others.
    """

    kind: str
    body: dict[str, Json]
    name: str = ""
    version: str = ""
    project: str = ""
    parent: str = ""
    holds_name: bool = True
    uid: str = field(default_factory=lambda: new_uid())


def new_uid() -> str:
    """24 hexadecimal digits that begin with the time, as the vendor's uids do."""
    return f"{int(time.time()):08x}{secrets.token_hex(8)}"


#: Named here since within ``Store`` the word ``list`` is its method.
Documents: TypeAlias = list[Document]
Values: TypeAlias = list[Json]

_COLUMNS = "uid, kind, project, name, version, parent, holds_name, body"


class Store:
    """The data file. One connection: the application handles one request at a time."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._depth = 0
        refuse_foreign(self.path)
        create_private(self.path)
        try:
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=10.0, cached_statements=256
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path} cannot be used as a data file: {error}") from None

    def _migrate(self) -> None:
        found = schema_version(self._connection)
        if found > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was written by a newer plane (schema {found}, this one knows {SCHEMA_VERSION}): "
                "start it with that version or a newer one"
            )
        for number in range(found, SCHEMA_VERSION):
            # One transaction a step, so that a step that fails leaves the file as it was.
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;"
            )

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; inside another transaction it is part of that one."""
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                if self._depth == 1:
                    self._connection.execute("ROLLBACK")
                raise
            else:
                if self._depth == 1:
                    self._connection.execute("COMMIT")
            finally:
                self._depth -= 1

    # Documents

    def add(self, document: Document) -> str:
        """Store a new document; its uid. ``NameTaken`` when its name is held in its scope."""
        with self.transaction():
            self._write(
                f"INSERT INTO document ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (document.uid, document.kind, *self._row(document)),
                document,
            )
        return document.uid

    def save(self, document: Document) -> None:
        """Store a changed document. ``NameTaken`` as in ``add``."""
        with self.transaction():
            self._write(
                "UPDATE document SET project = ?, name = ?, version = ?, parent = ?, holds_name = ?, body = ? "
                "WHERE uid = ?",
                (*self._row(document), document.uid),
                document,
            )

    def _row(self, document: Document) -> tuple[str, str, str, str, bool, str]:
        return (
            document.project,
            document.name,
            document.version,
            document.parent,
            document.holds_name and bool(document.name),
            json.dumps(document.body, separators=(",", ":")),
        )

    def _write(self, statement: str, values: tuple[Any, ...], document: Document) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.IntegrityError:
            holder = self.by_name(document.kind, document.name, document.project, document.version, document.parent)
            if holder is None:
                raise
            raise NameTaken(holder.uid) from None

    def get(self, kind: str, uid: str) -> Document | None:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM document WHERE uid = ? AND kind = ?", (uid, kind)
        ).fetchone()
        return _document(row) if row else None

    def exists(self, uid: str) -> bool:
        """Whether a document of any kind has this uid; for uids that are not made here."""
        return self._connection.execute("SELECT 1 FROM document WHERE uid = ?", (uid,)).fetchone() is not None

    def by_name(self, kind: str, name: str, project: str = "", version: str = "", parent: str = "") -> Document | None:
        """The document that holds this name in this scope."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM document WHERE kind = ? AND project = ? AND parent = ? AND name = ? "
            "AND version = ? AND holds_name = 1",
            (kind, project, parent, name, version),
        ).fetchone()
        return _document(row) if row else None

    def list(
        self,
        kind: str,
        *,
        projects: Iterable[str] | None = None,
        name: str | None = None,
        parent: str | None = None,
    ) -> Documents:
        """Documents of a kind, oldest first; ``projects`` are the scopes to look in (``""`` is the tenant)."""
        clauses, values = ["kind = ?"], [kind]
        if projects is not None:
            wanted = list(projects)
            clauses.append(f"project IN ({', '.join('?' * len(wanted))})")
            values += wanted
        if name is not None:
            clauses.append("name = ?")
            values.append(name)
        if parent is not None:
            clauses.append("parent = ?")
            values.append(parent)
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM document WHERE {' AND '.join(clauses)} ORDER BY rowid", values
        )
        return [_document(row) for row in rows]

    def values(
        self, kind: str, paths: Sequence[str], *, projects: Iterable[str] | None = None
    ) -> Iterator[tuple[str, str, Values]]:
        """``(uid, project, values)`` of the documents of a kind, oldest first; the values at SQLite's JSON paths
        (``$.status.state``, two or more) in the bodies, None for what is not there. It is much cheaper than to read
        the documents whole.
        """
        clause, chosen = "kind = ?", [kind]
        if projects is not None:
            wanted = list(projects)
            clause += f" AND project IN ({', '.join('?' * len(wanted))})"
            chosen += wanted
        if len(paths) < 2:
            raise ValueError("for a single path SQLite does not answer a list")
        extract = f"json_extract(body, {', '.join('?' * len(paths))})"
        rows = self._connection.execute(
            f"SELECT uid, project, {extract} FROM document WHERE {clause} ORDER BY rowid", [*paths, *chosen]
        )
        for uid, project, text in rows:
            yield uid, project, json.loads(text)

    def count(self, kind: str, project: str) -> int:
        """How many documents of a kind hold their name in a project."""
        row = self._connection.execute(
            "SELECT COUNT(*) FROM document WHERE kind = ? AND project = ? AND holds_name = 1", (kind, project)
        ).fetchone()
        return int(row[0])

    def delete(self, uid: str) -> None:
        """Remove a document, its parts and what it refers to."""
        with self.transaction():
            self._connection.execute("DELETE FROM document WHERE parent = ?", (uid,))
            self._connection.execute("DELETE FROM document WHERE uid = ?", (uid,))

    def keep_newest(self, kind: str, parent: str, number: int) -> None:
        """Remove all parts of a kind that a document has but its newest ones."""
        with self.transaction():
            self._connection.execute(
                "DELETE FROM document WHERE parent = ? AND kind = ? AND rowid <= (SELECT rowid FROM document "
                "WHERE parent = ? AND kind = ? ORDER BY rowid DESC LIMIT 1 OFFSET ?)",
                (parent, kind, parent, kind, number),
            )

    # References: who uses whom

    def set_references(self, user: str, used: Iterable[str]) -> None:
        """The uids that a document uses, whole: what was set before and is not named now goes."""
        with self.transaction():
            self._connection.execute("DELETE FROM reference WHERE user = ?", (user,))
            self._connection.executemany(
                "INSERT OR IGNORE INTO reference (user, used) VALUES (?, ?)", [(user, uid) for uid in used]
            )

    def users_of(self, uid: str) -> Documents:
        """The documents that use this one."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM document WHERE uid IN (SELECT user FROM reference WHERE used = ?) ORDER BY rowid",
            (uid,),
        )
        return [_document(row) for row in rows]

    # Settings: small values of the plane itself

    def setting(self, name: str) -> Json:
        row = self._connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def set_setting(self, name: str, value: Json) -> None:
        with self.transaction():
            self._connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, json.dumps(value)))

    def delete_setting(self, name: str) -> None:
        with self.transaction():
            self._connection.execute("DELETE FROM setting WHERE name = ?", (name,))


def _document(row: tuple[Any, ...]) -> Document:
    uid, kind, project, name, version, parent, holds_name, body = row
    return Document(
        kind=kind,
        body=json.loads(body),
        name=name,
        version=version,
        project=project,
        parent=parent,
        holds_name=bool(holds_name),
        uid=uid,
    )


def schema_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def create_private(path: Path) -> None:
    """Make sure that the file exists and that nobody but its owner may read it; ``StoreError`` when it cannot be."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be used: {error.strerror}") from None


def refuse_foreign(path: Path) -> None:
    """``StoreError`` where a file is there that is no data file; it is left as it is."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)) as found:
            tables = {row[0] for row in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} cannot be used as a data file: {error}") from None
    if tables and "document" not in tables:
        raise StoreError(f"{path} cannot be used as a data file: it is a database of something else")


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keep a data file for this process; ``StoreError`` when another plane runs on it.

    The lock is on a file beside it and ends with the process, however that ends.
    """
    refuse_foreign(path)
    lock = path.with_name(path.name + ".lock")
    create_private(lock)
    with lock.open("r+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"another plane runs on {path} (pid {stream.read().strip()}): stop it first") from None
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield


def backup(source: Path, target: Path) -> None:
    """Copy a data file, also while a plane runs on it."""
    if not source.exists():
        raise StoreError(f"there is no data file {source}")
    temporary = target.with_name(target.name + ".partial")
    create_private(temporary)
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)) as origin,
            closing(sqlite3.connect(temporary)) as copy,
        ):
            origin.backup(copy)
    except sqlite3.DatabaseError as error:
        temporary.unlink()
        raise StoreError(f"{source} cannot be backed up: {error}") from None
    temporary.replace(target)


def restore(source: Path, target: Path) -> None:
    """Put a backup in the place of a data file (no plane may run on it); a backup of a newer schema is refused."""
    if not source.exists():
        raise StoreError(f"there is no backup {source}")
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as origin:
            found = schema_version(origin)
            known = origin.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'document'").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{source} is no backup: {error}") from None
    if not known:
        raise StoreError(f"{source} is no backup of a plane")
    if found > SCHEMA_VERSION:
        raise StoreError(f"{source} was written by a newer plane (schema {found}, this one knows {SCHEMA_VERSION})")
    backup(source, target)
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
