"""Sign-in with GitHub and OpenID Connect: allauth does the handshake, this package the decisions.

`views` starts a flow and takes its callback; `oidc` checks what the provider says (identity.md,
section 3); `arrival` decides who comes in; `links` adds and removes providers of one's own account;
`availability` knows which providers can be offered now.
"""
