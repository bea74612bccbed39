"""The room between `Data/` and the store: what lies there (scan, found, reading), what may lie there (names,
ignore), and putting it there (materialise).
"""
