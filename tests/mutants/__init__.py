"""
Mutation testing: the program is broken in one place at a time, and the unit tests have to
notice.  See README.md.
"""
