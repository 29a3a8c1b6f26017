"""Storey 0: the OCI documents as data: runtime and image spec, digest, reference, platform."""
