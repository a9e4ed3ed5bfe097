"""Versions of the schema, oldest first; each module of `versions` leads from the one before."""
