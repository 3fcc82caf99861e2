"""Who screens batches: threads of the ledger's own process, or processes beside it."""
