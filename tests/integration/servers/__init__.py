"""
The means of the tests to start servers and applications, to watch them, to steer their clocks,
and to end them.
"""
