"""
command
"""
