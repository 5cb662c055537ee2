"""
Where children come from: forked by a template, spawned as fresh interpreters, or executed as
programs; and the orders that they get.  What children do then belongs to the pool.  Uses pool and
kernel.
"""
