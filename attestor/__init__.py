"""The node agent: reads telemetry, signs what it saw, and hands it to a ledger.

The data's way is ``sources -> sampler -> window -> sign -> spool -> uplink``. The agent reports
physics; conclusions are drawn elsewhere, by whoever audits.
"""
