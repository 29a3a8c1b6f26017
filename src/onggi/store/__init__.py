"""Storey 1: blobs, layers, snapshots and images on disk."""
