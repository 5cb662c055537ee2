#!/bin/sh
# Who are you: the handler is a program.
#
# As under inetd, the connection is its standard input and output.  What it writes to
# standard error goes to the server's log.  Environment variables tell it who has called.
#
#     $ twistd -n forkserve --listen tcp:8000 --env GREETING=Welcome -- ./whoami.sh

echo "$TCPREMOTEIP asks for a name" >&2
echo "Your name?"
read -r name || exit 1
echo "$GREETING, $name."
echo "You call from $TCPREMOTEIP port $TCPREMOTEPORT."
echo "Calls from there just now: $TCPCONNNUM."
