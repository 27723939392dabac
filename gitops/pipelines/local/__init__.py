"""A workflow on this machine: the typed pipeline that the platforms' files are emitted from."""
