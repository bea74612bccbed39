"""Single facts that the catalogue keeps by name."""

from __future__ import annotations

from memstore.objects.connection import Connection


class Facts:
    """A part of the catalogue."""

    db: Connection

    def fact(self, name: str) -> str | int | bytes | None:
        row = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_fact(self, name: str, value: str | int | bytes | None) -> None:
        self.db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
