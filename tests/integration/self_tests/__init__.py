"""
What the tests rely on is tested itself.
"""
