"""
The server as a process: how it starts, or refuses to; what it logs, how it takes signals, how it
stops.
"""
