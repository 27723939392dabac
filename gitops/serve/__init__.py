"""Packages that answer over HTTP: `gitops serve`."""
