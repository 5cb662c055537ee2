"""
What serves a connection in a child: the echo, and handlers of every kind, with TLS or without.
No life of a child here.  Uses the wire.
"""
