"""
Fault injection: what may go wrong does, while clients keep coming, and none of them notices.
"""
