"""
entrance
"""
