"""
What the reactor process asks of the kernel: watching descriptors, waiting for processes, channels,
standard error, the limit on open files.  Nothing here decides about connections or children.  Uses
the journal, delayed calls, the settings and the wire.
"""
