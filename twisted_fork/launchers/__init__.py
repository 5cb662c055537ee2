"""
Where children come from: forked by a template, each a fresh interpreter, or a program that is
executed; and the orders that they get.  What they do then is the pool's.  Uses pool and kernel.
"""
