"""Checks: what is looked for in the evidence, one file each."""
