"""Pure decisions over state handed in: whose key it is, what it may do, which budgets a request falls under.

Nothing here does I/O or reads a clock.
"""
