"""
What the reactor process asks of the kernel: watching descriptors, waiting for processes, channels,
standard error, limits.  No decisions about connections or children.  Uses the journal, delayed
calls, the settings and the wire.
"""
