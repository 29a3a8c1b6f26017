"""Storey 3: one file per resource of the Engine API."""
