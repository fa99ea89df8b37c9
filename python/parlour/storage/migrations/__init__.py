"""The migrations of the database's schema, run by Alembic when the store is opened."""
