"""
What goes wrong outside of the server: processes are killed or orphaned, forks fail, ports are
dropped.  In faults/ such things happen under load.
"""
