"""What long-running processes write down: structured logs on stderr, an object a line."""

import logging
import sys

import structlog


def log_as_json() -> None:
    """Have structured logs written to stderr as JSON, with level and time.

    Each line in one write, its end included: what another thread writes meanwhile does not land in it.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
