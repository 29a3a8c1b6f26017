"""Storey 2: the use cases, asynchronous; the only place where the siblings of storey 1 meet."""
