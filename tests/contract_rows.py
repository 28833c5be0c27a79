"""The rows of the accounts contract, in our own words, and where each is answered for.

`LATER` are rows that another part of the product brings; they are listed as such, not as gaps.
"""

ENDPOINTS = """
E-01 status | E-02 register | E-03 login | E-04 token-login | E-05 logout | E-06 me | E-07 quota | E-08 profile
E-09 password | E-10 end all sessions | E-11 make a key | E-12 list keys | E-13 revoke a key | E-14 own usage
E-15 own usage by source | E-16 features | E-17 list users | E-18 role | E-19 status of a user | E-20 reset a password
E-21 delete a user | E-22 read permissions | E-23 set permissions | E-24 allowed models | E-25 read quotas
E-26 set a quota | E-27 delete a quota | E-28 everybody's usage | E-29 everybody's usage by source | E-30 make an invite
E-31 list invites | E-32 revoke an invite | E-33 GitHub start | E-34 GitHub callback | E-35 OIDC start | E-36 OIDC callback
E-37 check an invite | E-38 usage without accounts | E-39 all usage without accounts
"""
CREDENTIALS = """
TOK-01 no credential in a query | TOK-02 header names | TOK-03 session cookie first | TOK-04 only active owners
TOK-05 dead cookies stay | TOK-06 session tokens by cookie and Bearer only
REG-01 first account is the admin's | REG-02 admin address | REG-03 promotion at sign-in | REG-04 set-up token
"""
WEAKNESSES = """
W-01 unproven admin address | W-02 sign-up races | W-03 invite races | W-04 used invites | W-05 disabled sign-in
W-06 limits by a forged header | W-07 sessions outliving their key | W-08 keys that may do everything
W-09 allow-list bypass | W-10 routes outside the registry | W-14 silent provider failure | W-15 OAuth hardening
W-16 claims | W-17 lost sessions | W-18 no audit trail | W-19 legacy keys | W-20 input | W-21 enumeration
W-22 CORS and preflight | W-23 CSRF | W-24 secrets without rotation | W-26 cost and paging | W-28 tests of copies
W-29 mail and second factors | W-30 the synthetic admin | W-32 errors told wrongly | W-33 machines as first user
W-35 the local user
"""
SETTLED = """
S-01 admin address | S-02 redaction | S-05 key expiry | S-06 keys after a new password | S-07 legacy principal
S-08 last admin | S-10 sign-in limits | S-11 foreign origin | S-14 two models named | S-19 usage of a deleted user
S-21 unknown permissions | S-22 invite hours | S-23 CORS | S-24 anonymous pages | S-25 sessions, mail, audit
S-27 access tokens | S-28 session from a key | S-29 secrets in files | S-30 set-up token | S-31 first admin
S-32 unverified addresses | S-33 taken addresses | S-34 TOTP replay | S-35 Argon2id | S-36 weak passwords
S-37 throttling per account | S-38 when CSRF is judged | S-39 rights during a stream | S-40 codes of a refusal
S-41 token cookie | S-42 second factor | S-43 logout | S-44 groups | S-45 new session keys | S-46 rotation of secrets
S-47 ids | S-48 base URL
"""
LATER = {
    **dict.fromkeys(("E-07", "E-15", "E-25", "E-26", "E-27", "E-29", "E-38", "E-39"), "usage"),
    "W-28": "by how tests are made: all go through the real URL configuration",
    "W-33": "nodes do not exist here",
}


def rows() -> list[tuple[str, str]]:
    """(id, words) of every row, in the order above."""
    text = " | ".join(
        part.strip().replace("\n", " | ") for part in (ENDPOINTS, CREDENTIALS, WEAKNESSES, SETTLED)
    )
    found = []
    for item in text.split(" | "):
        row, _, words = item.strip().partition(" ")
        found.append((row, words))
    return found
