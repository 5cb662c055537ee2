"""
How people start the server: the twistd commands and their options, serve() for scripts, signals,
notifications for systemd, and the client.  What happens while the server runs is not here.  Uses
the service and the entrance.
"""
