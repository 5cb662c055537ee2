"""
Children: the state of each, which one a connection is given to, and what is done when they end.
How children are made is hidden behind the interface in launcher.py.  Uses places and kernel.
"""
