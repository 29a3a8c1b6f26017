"""Storey 0: what travels, without I/O: HTTP upgrade, stdio frames, API types, filters, progress lines."""
