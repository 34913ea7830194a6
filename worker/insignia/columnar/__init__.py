"""Decides whole rosters in columns with Polars, exactly as rules/evaluate.py decides one officer.

The questions about an officer become expressions, compiled from the rules of the round. Officers with the same answers
get the same decisions, so the order of the questions is followed once for each pattern of answers, by rules/evaluate.py
itself. Importing a module of this package needs Polars, which is an optional dependency.
"""
