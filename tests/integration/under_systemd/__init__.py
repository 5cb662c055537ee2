"""
Sockets from systemd, what it is told, and its units.
"""
