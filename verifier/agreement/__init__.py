"""Agreements: who pauses with whom, on what facts, for how long, and within what limits."""
