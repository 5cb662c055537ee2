"""
pool
"""
