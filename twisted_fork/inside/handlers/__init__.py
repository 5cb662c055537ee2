"""
What serves a connection in a child: the echo, and handlers of every kind, with TLS or without.
The life of a child is not here.  Uses the wire.
"""
