"""Several admins change configurations at once: on SQLite and on PostgreSQL."""

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest
from django.db import connections
from pydantic import BaseModel

from accounts.audit import CLI
from core.errors import GatehouseError
from inference import configuration_files, configuring, model_configuration
from inference.installing import InstallError
from inference.models import Model, ModelAlias
from inference.registering import adopt
from inference.tests.configured import make, on_disk


def together(n, work):
    barrier = Barrier(n)

    def one(i):
        barrier.wait(30)
        try:
            return work(i)
        except GatehouseError as exc:
            return exc
        finally:
            connections.close_all()

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(one, range(n)))


@pytest.mark.django_db(transaction=True)
def test_r19_of_several_that_want_one_alias_one_gets_it(home):
    """On both databases: an alias is one model's, and no model's name."""
    for i in range(8):
        make(home, f"m{i}")

    def take(i):
        return configuring.change(
            f"m{i}", lambda before: before.model_copy(update={"aliases": ["x"]}), by=CLI
        )

    outcomes = together(8, take)

    assert len([each for each in outcomes if not isinstance(each, GatehouseError)]) == 1
    owner = ModelAlias.objects.get().model_id
    assert [on_disk(home, f"m{i}")["aliases"] for i in range(8)].count(["x"]) == 1
    assert on_disk(home, owner)["aliases"] == ["x"]


@pytest.mark.django_db(transaction=True)
def test_r19_an_alias_and_a_new_model_of_its_name_do_not_both_come(home):
    for i in range(6):
        make(home, f"m{i}")
        (home / f"new{i}").mkdir()
        (home / f"new{i}" / "weights").write_bytes(b"x")

    def race(i):
        if i % 2:
            update = {"aliases": [f"new{i // 2}"]}
            return configuring.change(
                f"m{i // 2}", lambda before: before.model_copy(update=update), by=CLI
            )
        try:
            adopt(model_configuration.checked({"name": f"new{i // 2}"}), lambda *_a, **_k: None)
        except InstallError as exc:
            return exc

    together(12, race)

    names = set(Model.objects.values_list("name", flat=True))
    aliases = set(ModelAlias.objects.values_list("name", flat=True))
    assert not names & aliases
    assert len(names | aliases) == 12


@pytest.mark.django_db(transaction=True)
def test_r19_of_several_defaults_one_is_left_and_all_files_say_so(home):
    for i in range(8):
        make(home, f"m{i}")

    together(
        8,
        lambda i: configuring.change(
            f"m{i}", lambda before: before.model_copy(update={"default": True}), by=CLI
        ),
    )

    chosen = Model.objects.get(is_default=True).name
    said = [f"m{i}" for i in range(8) if on_disk(home, f"m{i}")["default"]]
    assert said == [chosen]
    rows = Model.objects.prefetch_related("aliases")
    assert {configuration_files.standing(row) for row in rows} == {"agrees"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(3))
def test_r19_whatever_admins_do_at_once_row_and_file_agree(home, seed):
    """And nobody's change is taken for one by hand because another one is just being written."""
    for i in range(4):
        make(home, f"m{i}")

    def work(i):
        rng = random.Random(seed * 100 + i)  # choices, no secrets
        refused = []
        for _ in range(6):
            aliases = {"aliases": rng.choice([[], ["x"], ["y"]])}
            replicas = {"replicas": rng.randint(1, 9)}
            update = rng.choice([{"default": True}, {"pinned": True}, replicas, aliases])
            name = f"m{rng.randint(0, 3)}"
            try:
                configuring.change(name, partial(BaseModel.model_copy, update=update), by=CLI)
            except GatehouseError as exc:
                refused.append(exc.message)
        return refused

    refused = [each for one in together(8, work) for each in one]

    assert all("already" in each for each in refused), refused  # an alias that another one has
    rows = Model.objects.prefetch_related("aliases")
    assert {configuration_files.standing(row) for row in rows} == {"agrees"}
