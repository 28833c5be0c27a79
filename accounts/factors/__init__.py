"""Second factors, by allauth.mfa: one-time codes, recovery codes, passkeys (S-34, S-42).

`authenticators` keeps and checks them; `challenge` is the half-open sign-in between password and
factor; `adapter` is what allauth asks us.
"""
