"""Firecracker's configurations: custom CPU templates, static ones by name, and whole configurations."""
