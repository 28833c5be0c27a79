"""Engines move to a table that takes several of a model, and back."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
BEFORE = ("inference", "0004_pinned_replicas")


def migrate(target):
    MigrationExecutor(connection).migrate([target])
    return MigrationExecutor(connection).loader.project_state([target]).apps


def test_an_engine_stays_as_it_was_forwards_and_back():
    leaves = MigrationExecutor(connection).loader.graph.leaf_nodes()
    ours = next(leaf for leaf in leaves if leaf[0] == "inference")
    try:
        old = migrate(BEFORE)
        model = old.get_model("inference", "Model").objects.create(name="m", backend="b")
        old.get_model("inference", "Engine").objects.create(
            model=model, state="failed", message="no", tries=5
        )

        now = migrate(ours).get_model("inference", "Engine")
        assert now.objects.values_list(
            "model_id", "replica", "state", "message", "tries"
        ).get() == (
            "m",
            0,
            "failed",
            "no",
            5,
        )
        now.objects.create(model_id="m", replica=1, state="ready")

        back = migrate(BEFORE).get_model("inference", "Engine").objects.get()
        assert (back.pk, back.state, back.message) == ("m", "failed", "no")
    finally:
        migrate(ours)
