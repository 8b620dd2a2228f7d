# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from paletteops_plane.clock import Clock
from paletteops_plane.store import (
    MIGRATIONS,
    SCHEMA_VERSION,
    Document,
    NameTaken,
    Store,
    StoreError,
    backup,
    restore,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path)
    yield opened
    opened.close()


def test_a_name_is_held_once_in_its_scope(store: Store) -> None:
    uid = store.add(Document(kind="a", name="n", body={}))
    with pytest.raises(NameTaken) as taken:
        store.add(Document(kind="a", name="n", body={}))
    assert taken.value.uid == uid
    for other in (
        Document(kind="b", name="n", body={}),
        Document(kind="a", name="n", version="2", body={}),
        Document(kind="a", name="n", project="p", body={}),
        Document(kind="a", name="n", parent=uid, body={}),
    ):
        store.add(other)


def test_a_document_that_let_its_name_go_leaves_it_to_others(store: Store) -> None:
    old = Document(kind="a", name="n", body={"old": True})
    store.add(old)
    old.holds_name = False
    store.save(old)
    new = store.add(Document(kind="a", name="n", body={}))
    found = store.by_name("a", "n")
    assert found is not None and found.uid == new
    assert len(store.list("a", name="n")) == 2
    old.holds_name = True
    with pytest.raises(NameTaken):
        store.save(old)


def test_a_transaction_is_all_or_nothing_also_when_nested(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.add(Document(kind="a", name="1", body={}))
        with store.transaction():
            store.add(Document(kind="a", name="2", body={}))
        raise ZeroDivisionError
    assert store.list("a") == []


def test_deleting_takes_parts_and_references_along(store: Store) -> None:
    whole = store.add(Document(kind="whole", body={}))
    part = store.add(Document(kind="part", parent=whole, body={}))
    used = store.add(Document(kind="used", body={}))
    store.set_references(whole, [used, used])
    assert [user.uid for user in store.users_of(used)] == [whole]
    store.delete(whole)
    assert store.get("part", part) is None
    assert store.users_of(used) == []


def test_a_file_of_a_newer_schema_is_refused_and_left_alone(path: Path, store: Store) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer"):
        Store(path)
    assert path.read_bytes() == before


def test_an_older_file_is_brought_up_step_by_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Store(path)
    uid = first.add(Document(kind="a", name="n", body={"kept": 1}))
    first.close()
    more = (*MIGRATIONS, "ALTER TABLE document ADD COLUMN extra TEXT;")
    monkeypatch.setattr("paletteops_plane.store.MIGRATIONS", more)
    monkeypatch.setattr("paletteops_plane.store.SCHEMA_VERSION", len(more))
    second = Store(path)
    kept = second.get("a", uid)
    assert kept is not None and kept.body == {"kept": 1}
    second.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(more)


def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(path).close()
    more = (*MIGRATIONS, "CREATE TABLE half (x); CREATE TABLE document (again);")
    monkeypatch.setattr("paletteops_plane.store.MIGRATIONS", more)
    monkeypatch.setattr("paletteops_plane.store.SCHEMA_VERSION", len(more))
    with pytest.raises(StoreError):
        Store(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchone() is None


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("this is a letter, not a database\n" * 100)
    with pytest.raises(StoreError, match="cannot be used"):
        Store(path)
    assert path.read_text().startswith("this is a letter")


def test_a_backup_restores_while_the_plane_went_on(path: Path, store: Store, tmp_path: Path) -> None:
    saved = tmp_path / "saved.sqlite"
    kept = store.add(Document(kind="a", name="kept", body={}))
    backup(path, saved)
    assert saved.stat().st_mode & 0o077 == 0
    store.add(Document(kind="a", name="later", body={}))
    store.close()
    restore(saved, path)
    again = Store(path)
    assert [document.uid for document in again.list("a")] == [kept]
    again.close()


def test_what_is_no_backup_or_too_new_is_refused(path: Path, store: Store, tmp_path: Path) -> None:
    store.add(Document(kind="a", name="kept", body={}))
    other = tmp_path / "other"
    for content in (b"", b"text" * 1000):
        other.write_bytes(content)
        with pytest.raises(StoreError):
            restore(other, path)
    newer = tmp_path / "newer"
    backup(path, newer)
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match="newer"):
        restore(newer, path)
    with pytest.raises(StoreError, match="no backup"):
        restore(tmp_path / "absent", path)
    assert len(store.list("a")) == 1


def test_the_clock_goes_on_where_it_stood_after_a_restart(path: Path, store: Store) -> None:
    clock = Clock(store)
    moment = datetime(2031, 1, 1, tzinfo=UTC)
    clock.freeze(True)
    clock.set(moment)
    clock.advance(90)
    assert clock.timestamp() == "2031-01-01T00:01:30.000Z"
    again = Clock(store)
    assert again.frozen and again.now() == clock.now()
    again.freeze(False)
    later = Clock(store).now()
    assert later >= clock.now() and (later - moment).total_seconds() < 3600


def test_values_are_read_without_the_documents(store: Store) -> None:
    first = store.add(Document(kind="a", project="p", body={"x": {"y": [1, True]}, "z": "text"}))
    second = store.add(Document(kind="a", project="q", body={"x": None}))
    store.add(Document(kind="b", project="p", body={"x": {"y": 2}}))
    assert list(store.values("a", ("$.x.y", "$.z"))) == [
        (first, "p", [[1, True], "text"]),
        (second, "q", [None, None]),
    ]
    assert [uid for uid, _, _ in store.values("a", ("$.x", "$.z"), projects=["q", "r"])] == [second]
