"""Alembic scripts, one for each version of our tables."""
