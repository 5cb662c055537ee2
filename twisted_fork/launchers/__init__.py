"""
launchers
"""
