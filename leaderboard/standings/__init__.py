"""A row for each victim and defense: what breaks it and at what cost, how rows rank, and how attacks and defenses
transfer.
"""
