"""Reports: a verdict for machines and for people."""
