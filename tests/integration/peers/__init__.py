"""
Whom a server has to do with: its clients, with certificates and without, and systemd.
"""
