"""
From the backlog to a place: what is listened on, accepting while there is room, and who may be
served, by its network, its rate, its penalties, and by the header of a proxy.  Who is refused once
that is decided is a matter of places.  Uses pool, places and kernel.
"""
