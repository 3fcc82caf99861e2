"""Workload: periods in slotted power, and whether many nodes share them."""
