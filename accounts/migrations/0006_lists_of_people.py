"""What lists of people are ordered by, and who waits, are read from an index: a page of 25 sorted 10,000."""

import accounts.models.people
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_last_seen"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="user",
            index=models.Index(
                accounts.models.people.ShownName(), models.F("id"), name="user_by_shown_name"
            ),
        ),
        migrations.AddIndex(
            model_name="user",
            index=models.Index(
                condition=models.Q(("status", "pending")),
                fields=["created_at", "id"],
                name="user_waiting",
            ),
        ),
    ]
