"""When people were last seen, as a column of theirs: asked of all sessions and keys, a list by it was slow.

Not in one transaction: the table is locked for a moment, and what is known is carried over in parts.
"""

from typing import Any

from django.db import migrations, models
from django.db.models import Max, OuterRef, Q, Subquery

PART = 1000


def carry_over(apps: Any, _editor: Any) -> None:
    """The last use of a session or key; may be broken off and done again."""
    users = apps.get_model("accounts", "User").objects
    for name in ("Session", "ApiKey"):
        rows = apps.get_model("accounts", name).objects.filter(user=OuterRef("pk"))
        used = rows.order_by().values("user").annotate(at=Max("last_used_at")).values("at")
        last = None
        while True:
            ahead = (
                users.order_by("pk") if last is None else users.order_by("pk").filter(pk__gt=last)
            )
            part = list(ahead.values_list("pk", flat=True)[:PART])
            if not part:
                break
            last = part[-1]
            found = users.filter(pk__in=part).annotate(used_at=Subquery(used))
            later = Q(last_seen_at=None) | Q(last_seen_at__lt=models.F("used_at"))
            found.filter(later, used_at__isnull=False).update(last_seen_at=Subquery(used))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("accounts", "0004_preferences"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="last_seen_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.RunPython(carry_over, migrations.RunPython.noop),
    ]
