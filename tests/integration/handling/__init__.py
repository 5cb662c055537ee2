"""
Handlers and programs of every kind: what serves, what is refused, what becomes of failures; and
the ways to start them, in an application, a script or an example.
"""
