"""Accounts: from what nodes said of physics to bounds on the operations that their chips executed."""
