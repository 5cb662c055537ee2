"""
Handlers that the tests have served.  A server finds them by the name of this folder, which is
in a folder of its PYTHONPATH: no module here may import another of the tests.
"""
