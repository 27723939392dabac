"""A Kubernetes cluster that serves models: what it is told, and how it is asked."""
