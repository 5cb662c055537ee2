"""
From the port to the handler: Unix sockets, admission, PROXY headers, TLS.
"""
