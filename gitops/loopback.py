"""This machine's own addresses: what is sent there in the open crosses no network."""

HOSTS = ("127.0.0.1", "localhost", "::1")
