"""What a model costs, from when on."""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q


class Price(models.Model):
    """The price of one model from `valid_from` until the next row of that model (S-54).

    Integers, in 10⁻⁹ of LOCALAI_CURRENCY a token: a price per million tokens with three decimals,
    times 1,000. `unit` is 10⁻⁹ for one whole unit (a second, an image) in steps of 1,000, as units are
    counted in thousandths. What an event cost is decided once, by the row in force at its admission.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.CharField(max_length=255)
    valid_from = models.DateTimeField()
    prompt = models.BigIntegerField(default=0)
    cached_prompt = models.BigIntegerField(default=0)
    completion = models.BigIntegerField(default=0)
    unit = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "valid_from"], name="price_one_at_a_time"),
            models.CheckConstraint(
                condition=Q(prompt__gte=0, cached_prompt__gte=0, completion__gte=0, unit__gte=0),
                name="price_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} from {self.valid_from:%Y-%m-%d %H:%M}"
