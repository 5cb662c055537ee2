"""
Faults within: every function that a connection passes raises once, in a running server.
"""
