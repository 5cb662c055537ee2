"""
SIGHUP: the handler and the certificates anew, while connections are served.
"""
