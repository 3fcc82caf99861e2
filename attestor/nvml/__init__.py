"""Asking NVIDIA chips through NVML, question by question; the source that reads a node is attestor/sources/nvml.py."""
