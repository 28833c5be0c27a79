"""Settings that admins change while the server runs (surface, section 5; R-21).

`registry` is what there is, `store` the table and its one way in, `held` what a process knows of it,
`in_force` the value that counts: the environment's, else the stored one, else the default (R-08).
"""
