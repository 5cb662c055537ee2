"""
The interactive client, forkecho-client.
"""
