"""The mirror: a log's static files, copied once every byte was checked; whoever audits needs nothing else."""
