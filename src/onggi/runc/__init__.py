"""The runc command line over the runtime: `onggi-oci`, for container managers and for people; no engine needed."""
