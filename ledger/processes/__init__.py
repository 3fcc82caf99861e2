"""Processes beside the ledger's own, and how it speaks with them: frames over a socket that the two share."""
