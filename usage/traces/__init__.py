"""Traces: what requests and engine calls took, for admins (surface, section 2; R-11, R-12, R-30).

`terms` is what the lane is told of the settings, `content` the bodies where they are kept; both travel
by the journal. `rows` brings them into bounded tables while it is drained, `listing` reads them.
"""
