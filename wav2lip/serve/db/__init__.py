"""Database of the server: tables, sessions, migrations."""
