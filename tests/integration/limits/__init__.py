"""
What a connection may use and how long it may last, and what its processes are kept from.
"""
