"""Workload models: what chips are asked to do, second by second. One file each."""
