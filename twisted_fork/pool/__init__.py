"""
Children: each in its state, which one a connection is given to, and what becomes of them, until
they have been waited for.  Where they come from is not known here, but for what launcher.py
says.  Uses places and kernel.
"""
