"""Journals: what sequences and remembers. One file an implementation, found through the registry."""
