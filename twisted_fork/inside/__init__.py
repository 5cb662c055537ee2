"""
The other world: the template and the children, from their first step to their end.  No
Twisted, and nothing of the reactor process.  What serves a connection is in handlers.  Uses
the wire.
"""
