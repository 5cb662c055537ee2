"""
wire
"""
