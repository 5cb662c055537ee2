"""
The child side: the template and the children, from their start to their end.  It imports neither
Twisted nor anything of the reactor process.  What serves a connection is in handlers.  Uses the
wire.
"""
