"""
From the backlog to a place: the ports, accepting while there is room, and who may be served, by
network, rate, penalty and PROXY header.  Closing what is refused belongs to places.  Uses pool,
places and kernel.
"""
