"""
What both worlds import: the messages, orders and names that the reactor process and its children
share.  It uses little of the standard library and nothing else, because every child has all of it.
"""
