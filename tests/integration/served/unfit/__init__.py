"""
Handlers that cannot serve, and modules that do what none should when it is imported; and those
that are taken for such easily, and serve.
"""
