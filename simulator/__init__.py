"""The simulator: worlds, workloads and strategies that run through the real agent, ledger and verifier."""
