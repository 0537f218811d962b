"""The rules of a follow-up plan: values and decisions, nothing else."""
