from django.db import migrations, models

_STATES = ["starting", "ready", "draining", "waiting", "failed", "stopped"]
_BEFORE = ["starting", "ready", "waiting", "failed", "stopped"]


def end_drains(apps, schema_editor):
    """Going back: the state that the older version does not know is one that has stopped."""
    apps.get_model("inference", "Engine").objects.filter(state="draining").update(state="stopped")


class Migration(migrations.Migration):
    dependencies = [("inference", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="model",
            name="unload_asked_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="engine",
            name="state",
            field=models.CharField(
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
        migrations.RemoveConstraint(model_name="engine", name="engine_state_is_known"),
        migrations.AddConstraint(
            model_name="engine",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", _STATES)), name="engine_state_is_known"
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, end_drains),
    ]
