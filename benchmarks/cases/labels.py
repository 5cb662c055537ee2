"""What contenders are called in the tables."""

OURS = "Twisted Fork"
OURS_QUIET = "Twisted Fork, quiet"
C_PROGRAM = "C"
C_PROGRAM_QUIET = "C, quiet"
FORKING = "ForkingTCPServer"
FORKING_QUIET = "ForkingTCPServer, quiet"
