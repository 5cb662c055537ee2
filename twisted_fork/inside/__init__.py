"""
What runs in the template and in the children: plain blocking Python.

Nothing in here imports Twisted, nor anything else that it does not need: every
page that the template touches is a page that every fork pays for.
"""
