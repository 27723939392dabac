"""From a proven package to an image in a registry, named by its digest."""
