"""Storey 0: Linux in typed Python; the only place with ctypes, and not one container word."""
