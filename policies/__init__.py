"""Agreements and reference data that the verifier reads: data, not code."""
