"""`atelier chaos`: a whole installation under random faults, and whether it kept what it promised.

Nothing else imports this package, so that nothing of it is loaded in normal operation.
"""
