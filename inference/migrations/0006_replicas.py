import django.db.models.deletion
from django.db import migrations, models

STATES = ["starting", "ready", "draining", "waiting", "failed", "stopped"]
NAMES = [
    "state",
    "address",
    "pid",
    "tries",
    "message",
    "started_at",
    "ready_at",
    "next_try_at",
]


def forwards(apps, schema_editor):
    copy(apps.get_model("inference", "Engine"), apps.get_model("inference", "EngineReplica"))
    settle(schema_editor)


def backwards(apps, schema_editor):
    """The version before knows the first engine of a model."""
    copy(
        apps.get_model("inference", "EngineReplica").objects.filter(replica=0),
        apps.get_model("inference", "Engine"),
    )
    settle(schema_editor)


def copy(rows, into):
    for row in getattr(rows, "objects", rows).all():
        into.objects.create(model_id=row.model_id, **{name: getattr(row, name) for name in NAMES})


def settle(schema_editor):
    """PostgreSQL changes no table while a check of its rows is still to come."""
    schema_editor.connection.check_constraints()


class Migration(migrations.Migration):
    """A model may have several engines. Their key changes, so they move to a table of that form."""

    dependencies = [
        ("inference", "0005_configurations"),
    ]

    operations = [
        migrations.CreateModel(
            name="EngineReplica",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("replica", models.PositiveSmallIntegerField(default=0)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("starting", "Loading"),
                            ("ready", "Ready"),
                            ("draining", "Stopping"),
                            ("waiting", "Waiting to start again"),
                            ("failed", "Failed"),
                            ("stopped", "Stopped"),
                        ],
                        default="stopped",
                        max_length=8,
                    ),
                ),
                ("address", models.CharField(blank=True, max_length=200)),
                ("pid", models.PositiveIntegerField(blank=True, null=True)),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                ("message", models.CharField(blank=True, max_length=500)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("ready_at", models.DateTimeField(blank=True, null=True)),
                ("next_try_at", models.DateTimeField(blank=True, null=True)),
                (
                    "model",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="engines",
                        to="inference.model",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("model", "replica"), name="engine_one_per_replica"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", STATES)), name="engine_state_is_known"
                    ),
                ],
            },
        ),
        migrations.RunPython(forwards, backwards),
        migrations.DeleteModel(name="Engine"),
        migrations.RenameModel(old_name="EngineReplica", new_name="Engine"),
    ]
