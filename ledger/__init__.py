"""The log server: admits statements, logs them durably, serves them as static files."""
