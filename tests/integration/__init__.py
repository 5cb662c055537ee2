"""
The server as its users meet it: a real ``twistd`` in a process of its own, real sockets,
real children.
"""
