"""
Between the two worlds: the messages, orders and names that the reactor process and its children
share.  The standard library alone, and little of it: children have all of this.  Uses nothing.
"""
