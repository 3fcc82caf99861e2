"""Verifying offline: bundles and single records, on the base install alone; what needs the whole log is the audit's."""
