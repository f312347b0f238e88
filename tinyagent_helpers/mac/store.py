"""Where the simulated Mac keeps its apps: one SQLite file with a table per app."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TABLES: dict[str, tuple[str, ...]] = {
    "contacts": ("name", "relation", "phone", "email"),
    "events": ("title", "start", "end", "location", "invitees", "notes", "calendar"),
    "mail": ("box", "sender", "recipients", "cc", "subject", "body", "attachments", "selected"),
    "notes": ("name", "folder", "content"),
    "reminders": ("name", "due", "notes", "list", "priority", "all_day"),
    "messages": ("recipients", "message"),
    "maps": ("url",),
    "meetings": ("topic", "start", "minutes", "invitees", "link"),
    "opened": ("app", "item"),
}
Row = dict[str, Any]
Snapshot = dict[str, list[Row]]


class Store:
    """Rows by table. Safe to use from several threads at once: every call has a connection of its own."""

    def __init__(self, path: Path):
        self.path = path
        with self._connection() as db:
            for table, columns in TABLES.items():
                names = ", ".join(f'"{column}"' for column in columns)
                db.execute(f'CREATE TABLE IF NOT EXISTS "{table}" (id INTEGER PRIMARY KEY, {names})')

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=30)
        db.row_factory = sqlite3.Row
        try:
            with db:
                yield db
        finally:
            db.close()

    def add(self, table: str, *rows: Mapping[str, Any]) -> None:
        """Add rows; lists are kept as JSON, missing columns are empty."""
        columns = TABLES[table]
        marks = ", ".join("?" for _ in columns)
        values = [[_to_sql(row.get(column, "")) for column in columns] for row in rows]
        with self._connection() as db:
            db.executemany(f'INSERT INTO "{table}" ({", ".join(map(_quoted, columns))}) VALUES ({marks})', values)

    def rows(self, table: str) -> list[Row]:
        """All rows of a table, oldest first."""
        with self._connection() as db:
            return [dict(row) for row in db.execute(f"SELECT * FROM {_quoted(table)} ORDER BY id")]

    def append_text(self, table: str, id: int, column: str, text: str) -> None:
        """Add text as a new line to the end of a column."""
        with self._connection() as db:
            db.execute(
                f"UPDATE {_quoted(table)} SET {_quoted(column)} = trim({_quoted(column)} || char(10) || ?, char(10)) WHERE id = ?",
                (text, id),
            )

    def select_mail(self, id: int | None) -> None:
        """Select one message in Mail, or none."""
        with self._connection() as db:
            db.execute("UPDATE mail SET selected = (id = ?)", (id or 0,))

    def snapshot(self) -> Snapshot:
        """All tables as they are now."""
        return {table: self.rows(table) for table in TABLES}


def changes(before: Snapshot, after: Snapshot) -> Snapshot:
    """The rows that are new or different, by table; tables without any are left out."""
    different = {table: [row for row in after[table] if row not in before[table]] for table in TABLES}
    return {table: rows for table, rows in different.items() if rows}


def _quoted(name: str) -> str:
    return f'"{name}"'


def _to_sql(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
