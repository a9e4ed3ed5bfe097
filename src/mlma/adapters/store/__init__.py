"""The store of a live agent: SQLite and PostgreSQL behind one port."""
