"""
inside/handlers
"""
