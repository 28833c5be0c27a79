"""What allauth.mfa does not keep."""

from django.db import models


class TotpCounter(models.Model):
    """The last time step in which a code was accepted: it only ever moves forward (S-34, RFC 6238 5.2)."""

    authenticator = models.OneToOneField(
        "mfa.Authenticator", models.CASCADE, primary_key=True, related_name="totp_counter"
    )
    counter = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.counter)
