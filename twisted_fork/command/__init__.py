"""
How people start the server: the two twistd commands with their options, a server in one call
for scripts, the signals and systemd's notifications of whoever has the process, and the client.
What goes on while it runs is not here.  Uses the service and the entrance.
"""
