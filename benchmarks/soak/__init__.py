"""A soak: very many connections, mixed with faults, and what is left of them afterwards."""
