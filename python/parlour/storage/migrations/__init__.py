"""The migrations of the three stores, a folder each, run by Alembic when a store is opened."""
