"""Everybody, for admins: the list, what each may do and use, and what is done to them."""
