"""Verifying many signatures at once: one interface, a file for each way of doing it, and the choice among them."""
