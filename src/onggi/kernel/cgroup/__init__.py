"""Storey 0: control groups, v1, hybrid and v2 behind one interface."""
