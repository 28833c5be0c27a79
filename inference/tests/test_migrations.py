"""The tables of engines forwards and back, with a row in a state that the version before does not know."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def migrate(*targets):
    MigrationExecutor(connection).migrate(list(targets))
    return MigrationExecutor(connection).loader.project_state(list(targets)).apps


def test_an_engine_that_was_stopping_has_stopped_for_the_version_before():
    leaves = list(MigrationExecutor(connection).loader.graph.leaf_nodes())
    ours = next(leaf for leaf in leaves if leaf[0] == "inference")
    try:
        apps = migrate(ours)
        model = apps.get_model("inference", "Model").objects.create(name="m", backend="b")
        apps.get_model("inference", "Engine").objects.create(model=model, state="draining")

        old = migrate(("inference", "0001_initial"))

        assert old.get_model("inference", "Engine").objects.get().state == "stopped"
    finally:
        new = migrate(ours)
    assert new.get_model("inference", "Model").objects.get().unload_asked_at is None
