"""Storey 3: the Docker Engine API over HTTP."""
