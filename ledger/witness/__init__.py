"""A witness: cosigns checkpoints of logs that it knows, when they extend all that it saw of them."""
