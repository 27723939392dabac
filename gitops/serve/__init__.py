"""Packages that answer over HTTP, and the log of what was answered: `gitops serve`."""
