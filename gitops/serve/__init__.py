"""Serving: answers over HTTP, and the log of what was answered."""
