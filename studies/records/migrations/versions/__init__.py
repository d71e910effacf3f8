"""Migrations in order; a released one is never changed."""
