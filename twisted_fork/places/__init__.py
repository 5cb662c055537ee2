"""
Places for connections: which there are and which wait, how many each source has, and the one
door by which a connection leaves that nobody has served, with its reason.  No child is known here,
but for how many there are.
"""
