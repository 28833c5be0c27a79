"""What was used, as sums: by period or any window, by person, key, source and model.

Everything is read from rollups after the journal was brought in, so it is exact at any moment (S-13)
and costs the same whatever the number of events.
"""
