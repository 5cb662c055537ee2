"""
Places for connections: which are taken, which connections wait, how many each source has, and
how an unserved connection is refused.  Of children this room knows only how many there are.
"""
