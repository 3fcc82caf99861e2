"""Sources of telemetry: one file each, all behind ``interface.Source``."""
