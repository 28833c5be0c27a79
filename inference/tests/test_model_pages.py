"""Install Models as a page: what it lists, what its buttons do, and for whom."""

import html
import re

import pytest

from accounts.models import AuditRecord
from accounts.runtime import env
from core.gallery_list import GalleryAt
from inference import gallery_listing, operations
from inference.models import Engine, EngineState, Model, ModelAlias, Operation, OperationState
from inference.operations import Action, Kind, Wish
from inference.pictures import pictures
from inference.tests.test_gallery_api import GALLERY, make_model

HTMX = {"HX-Request": "true"}
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def own(settings, tmp_path):
    (tmp_path / "own.yaml").write_text(GALLERY)
    listed = [GalleryAt(name="own", url=f"file://{tmp_path}/own.yaml")]
    settings.GATEHOUSE = env().model_copy(
        update={"galleries": listed, "data_path": tmp_path / "data"}
    )
    return tmp_path


def text_of(answer):
    """The page as read: without tags, entities resolved, one space between words."""
    body = re.sub(
        r"<(script|style|template).*?</\1>|<[^>]*>", " ", answer.content.decode(), flags=re.DOTALL
    )
    return " ".join(html.unescape(body).split())


def cards(answer):
    return re.findall(r'<h3 [^>]*title="([^"]*)"', answer.content.decode())


def post(api, path, data=None, **headers):
    return api.client.post(path, data or {}, headers={**api.headers, **headers})


def under_way(target="big", **fields):
    job = operations.enqueue(Wish(Kind.MODEL, Action.INSTALL, target, f"own@{target}", "mara"))
    Operation.objects.filter(pk=job.pk).update(**fields)
    job.refresh_from_db()
    return job


# --- who ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/app/models",
        "/app/models/live",
        "/app/models/import",
        "/app/import-model",
        "/app/models/x/edit",
        "/app/model-editor/x",
        "/app/models/install?id=own@big",
        "/app/backends",
        "/app/backends/external",
    ],
)
def test_r24_the_pages_are_for_admins(as_alice, as_bob, anonymous, own, path):
    make_model("x")

    assert anonymous.get(path).headers["location"].startswith("/login?next=%2Fapp%2F")
    assert as_bob.get(path).headers["location"] == "/app?notice=admins_only"
    assert as_alice.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/app/models/add",
        "/app/models/read-again",
        "/app/models/read-files",
        "/app/models/install",
        "/app/models/import",
        "/app/models/x/edit",
        "/app/models/x/aliases",
        "/app/models/x/delete",
        "/app/models/x/disable",
        "/app/operations/x/again",
        "/app/backends/check",
        "/app/backends/add",
        "/app/backends/external",
        "/app/backends/x/upgrade",
        "/app/backends/x/remove",
    ],
)
def test_r24_nobody_else_presses_a_button(as_bob, anonymous, own, path):
    make_model("x")

    assert post(as_bob, path).status_code == 403
    assert post(anonymous, path).headers["location"].startswith("/login?next=")
    assert not Operation.objects.exists()
    assert Model.objects.get().enabled


# --- what is listed -----------------------------------------------------------------------------


def test_the_sidebar_leads_here(as_alice, own):
    page = as_alice.get("/app/models").content.decode()

    assert '<a href="/app/models" aria-current="page">' in page
    assert '<a href="/app/backends">' in page


def test_r32_a_card_says_size_context_memory_licence_and_when_it_was_checked(as_alice, own):
    found = text_of(as_alice.get("/app/models?term=little"))

    assert "3 models in 1 gallery, 0 installed" in found
    for words in ("Download 1 KB", "Context Unknown", "Memory 1.2 KiB", "Licence Apache-2.0"):
        assert words in found.replace("\u202f", " ")
    assert "Checked 2026-01-01" in found
    unknown = text_of(as_alice.get("/app/models?term=vectors"))
    assert "Download Unknown" in unknown
    assert "Checked Never" in unknown


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["big", "little", "vectors"]),
        ("term=BIG", ["big"]),
        ("term=nothing", []),
        ("tag=chat", ["big", "little"]),
        ("tag=chat,vision", ["little"]),
        ("tag=embeddings", ["vectors"]),
        ("backend=other", []),
        ("sort=size", ["little", "big", "vectors"]),
        ("sort=newest", ["little", "big", "vectors"]),
        ("sort=status", ["little", "big", "vectors"]),
        ("fits=true", ["little"]),
        ("page=9", []),
        ("page=x", ["big", "little", "vectors"]),
        ("sort=DROP&fits=maybe", ["big", "little", "vectors"]),
    ],
)
def test_r32_searching_filtering_sorting_and_paging(as_alice, own, monkeypatch, query, expected):
    make_model("little")
    monkeypatch.setattr(gallery_listing, "model_memory", lambda: 8 * 1024**3)

    answer = as_alice.get(f"/app/models?{query}")

    assert answer.status_code == 200
    assert cards(answer) == expected


def test_r32_a_card_says_whether_it_fits(as_alice, own, monkeypatch):
    monkeypatch.setattr(gallery_listing, "model_memory", lambda: 1300)
    found = text_of(as_alice.get("/app/models")).replace("\u202f", " ")

    assert "Needs 10 PiB" in found or "Needs" in found
    assert "Tight" in found
    monkeypatch.setattr(gallery_listing, "model_memory", lambda: 8 * 1024**3)
    assert "Fits Options" in text_of(as_alice.get("/app/models?term=little"))


def test_what_is_hidden_by_a_filter_is_said(as_alice, own, monkeypatch):
    monkeypatch.setattr(gallery_listing, "model_memory", lambda: 8 * 1024**3)
    found = text_of(as_alice.get("/app/models?term=big&fits=true"))

    assert "No model matches “ big ”" in found
    assert "The filter “Fits this machine” hides 1 match." in found
    assert "Show all sizes" in found


def test_filters_alone_are_swapped_by_htmx(as_alice, own):
    found = as_alice.get("/app/models?term=big", **{"HX-Request": "true"}).content.decode()

    assert "<html" not in found
    assert 'id="found"' in found
    assert cards(as_alice.get("/app/models?term=big")) == ["big"]


def test_r04_an_unreadable_gallery_is_named_and_the_others_are_shown(as_alice, own, settings):
    (own / "bad.yaml").write_text("- name: x\n")
    both = [GalleryAt(name=n, url=f"file://{own}/{n}.yaml") for n in ("own", "bad")]
    settings.GATEHOUSE = env().model_copy(update={"galleries": both})

    answer = as_alice.get("/app/models")

    found = text_of(answer)
    assert "The gallery “ bad ” could not be read. Line 1: " in found
    assert cards(answer) == ["big", "little", "vectors"]
    assert str(own) not in answer.content.decode()
    settings.GATEHOUSE = env().model_copy(update={"galleries": both[1:]})
    answer = as_alice.get("/app/models")
    assert answer.status_code == 200
    assert "The galleries hold no models" in text_of(answer)


def test_a_gallery_elsewhere_does_not_hold_up_the_page(as_alice, own, settings):
    """The page says that it reads; what asks the other server is a request of its own."""
    far = [GalleryAt(name="far", url="http://192.0.2.1/gallery.yaml")]
    settings.GATEHOUSE = env().model_copy(update={"galleries": far})

    page = as_alice.get("/app/models")

    assert "Reading the galleries…" in text_of(page)
    assert 'hx-trigger="load"' in page.content.decode()
    read = as_alice.get("/app/models?wait=1", **HTMX)  # 192.0.2.1 is no public address
    assert "The gallery “ far ” could not be read." in text_of(read)
    assert post(as_alice, "/app/models/read-again").status_code == 302
    assert "Reading the galleries…" in text_of(as_alice.get("/app/models"))


def test_r38_icons_come_from_us_else_initials(as_alice, own):
    from core.pictures import name_of

    address = "https://elsewhere.example/icon.png"
    (own / "own.yaml").write_text(
        GALLERY.replace("{name: big,", f'{{name: big, icon: "{address}",')
    )
    assert address not in as_alice.get("/app/models").content.decode()
    assert ">BI<" in as_alice.get("/app/models").content.decode()

    pictures().keep(address, b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\0\1\0\0\0\1")
    page = as_alice.get("/app/models").content.decode()
    assert f'src="/pictures/{name_of(address)}"' in page
    assert "elsewhere.example" not in page


def test_hostile_entries_are_only_text(as_alice, own):
    (own / "own.yaml").write_text(
        f"- {{name: a, description: '{EVIL}', license: '{EVIL}', tags: ['{EVIL}'],"
        ' files: [{filename: ., uri: "hf:o/a"}]}\n'
    )
    make_model("b", description=EVIL)
    under_way("a", state=OperationState.FAILED, message=EVIL, asked_by=EVIL)

    for path in ("/app/models", "/app/models?show=installed", f"/app/models?term={EVIL}"):
        page = as_alice.get(path).content.decode()
        assert "<img src=x" not in page


def test_the_page_costs_the_same_few_queries(as_alice, own, django_assert_num_queries):
    """Frame (4), operations, models with engines and aliases."""
    Engine.objects.create(model=make_model("little"), state=EngineState.READY)
    for path in ("/app/models", "/app/models?show=installed"):
        with django_assert_num_queries(8):
            as_alice.get(path)
    for i in range(30):
        model = make_model(f"m{i:02}")
        Engine.objects.create(model=model, state=EngineState.READY)
        ModelAlias.objects.create(name=f"a{i}", model=model)
        under_way(f"o{i}")
    for path in ("/app/models", "/app/models?show=installed"):
        with django_assert_num_queries(8):
            assert as_alice.get(path).status_code == 200
    with django_assert_num_queries(6):
        as_alice.get("/app/models/live")


# --- installing ---------------------------------------------------------------------------------


def test_install_asks_as_the_api_does(as_alice, alice, own):
    answer = post(as_alice, "/app/models/add", {"id": "own@big", "next": "/app/models?term=b"})

    assert answer.headers["location"] == "/app/models?term=b"
    job = Operation.objects.get()
    assert (job.target, job.asked_for, job.asked_by) == ("big", "own@big", alice.email)
    assert AuditRecord.objects.filter(action="model_imported", subject_name="big").count() == 1
    assert "big is being installed." in text_of(as_alice.get("/app/models"))


def test_r36_a_name_with_a_slash_installs_and_is_edited(as_alice, own, home):
    post(as_alice, "/app/models/add", {"id": "own@owner/name"})
    make_model("owner/name")

    assert Operation.objects.get().target == "owner/name"
    assert as_alice.get("/app/models/owner/name/edit").status_code == 200
    assert as_alice.get("/app/model-editor/owner/name").status_code == 200
    assert post(as_alice, "/app/models/owner/name/disable").status_code == 302
    assert not Model.objects.get().enabled


def test_progress_is_on_the_card_and_in_the_panel(as_alice, own):
    running = {"state": OperationState.RUNNING, "progress": 42, "current_bytes": 6_900_000_000}
    under_way(**running, total_bytes=16_400_000_000, message="downloading model.bin")

    for path in ("/app/models", "/app/models/live"):
        found = text_of(as_alice.get(path)).replace("\u202f", " ")
        assert "Installing big downloading model.bin 6.9 GB of 16.4 GB" in found
        assert "Downloading, 6.9 GB of 16.4 GB 42 %" in found
        assert "Asked by mara" in found
    live = as_alice.get("/app/models/live").content.decode()
    assert 'data-every="1000"' in live
    assert live.count("hx-swap-oob") == 3


def test_a_button_of_htmx_gets_the_live_part(as_alice, own):
    answer = post(as_alice, "/app/models/add", {"id": "own@big"}, **HTMX)

    assert answer.status_code == 200
    assert "<html" not in answer.content.decode()
    assert "Queued" in text_of(answer)


def test_a_refusal_is_said_in_the_panel(as_alice, own):
    answer = post(as_alice, "/app/models/add", {"id": ""}, **HTMX)
    assert 'role="alert"' in answer.content.decode()
    assert "Invalid model ID." in text_of(answer)

    assert post(as_alice, "/app/models/add", {"id": "x" * 600}).status_code == 302
    assert "Invalid model ID." in text_of(as_alice.get("/app/models"))


def test_a_failure_is_one_line_with_try_again(as_alice, alice, own):
    job = under_way(state=OperationState.FAILED, message="The checksum does not match.")
    found = text_of(as_alice.get("/app/models"))
    assert "Installation failed. The checksum does not match. Try again" in found
    assert "big could not be installed. The checksum does not match." in found

    assert post(as_alice, f"/app/operations/{job.pk}/again").status_code == 302

    again = Operation.objects.exclude(pk=job.pk).get()
    assert (again.state, again.target, again.asked_by) == ("queued", "big", alice.email)
    job.refresh_from_db()
    assert job.dismissed
    assert "Installation failed" not in text_of(as_alice.get("/app/models"))


def test_try_again_of_what_is_not_there_is_no_error_page(as_alice, own):
    for job in ("nothing", "00000000-0000-4000-8000-000000000000", under_way().pk):
        assert post(as_alice, f"/app/operations/{job}/again").status_code == 302
    assert Operation.objects.count() == 1


def test_the_log_of_an_operation_has_a_page(as_alice, as_bob, own):
    job = under_way(log_tail=f"10:00:00 fetching\n10:00:01 {EVIL}", state=OperationState.FAILED)

    page = as_alice.get(f"/app/operations/{job.pk}")

    assert "fetching" in text_of(page)
    assert EVIL not in page.content.decode()
    assert as_alice.get("/app/operations/00000000-0000-4000-8000-000000000000").status_code == 404
    assert as_bob.get(f"/app/operations/{job.pk}").status_code == 302


def test_the_form_takes_a_name_options_and_aliases(as_alice, own, home):
    from inference.recipes import recipes

    assert "vllm-cpu" in recipes()
    page = as_alice.get("/app/models/install?id=gatehouse@smollm2-135m-instruct")
    assert page.status_code == 200
    assert "option-max_model_len" in page.content.decode()
    body = {
        "id": "gatehouse@smollm2-135m-instruct",
        "name": "mine",
        "aliases": "one, two",
        "option-max_model_len": "512",
    }
    assert post(as_alice, "/app/models/install", body).status_code == 302
    job = Operation.objects.get()
    assert job.target == "mine"
    assert job.details == {
        "overrides": {"options": {"max_model_len": 512}},
        "aliases": ["one", "two"],
    }


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"name": "../x"}, "name", "A model may not have this name."),
        ({"option-max_model_len": "many"}, "option-max_model_len", "Enter a whole number."),
        ({"aliases": "a b/../c"}, "aliases", "alias"),
    ],
)
def test_a_wrong_field_says_so_and_nothing_is_lost(as_alice, home, given, field, words):
    body = {"id": "gatehouse@smollm2-135m-instruct", "name": "kept", **given}
    answer = post(as_alice, "/app/models/install", body)

    assert answer.status_code == 422
    page = answer.content.decode()
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', page)
    assert words in text_of(answer)
    for value in given.values():
        assert html.escape(value) in page
    assert not Operation.objects.exists()


def test_an_unknown_entry_has_no_form(as_alice, own):
    assert as_alice.get("/app/models/install?id=own@none").status_code == 404
    assert as_alice.get("/app/models/install").status_code == 404


# --- installed models ---------------------------------------------------------------------------


def test_installed_models_say_state_size_and_names(as_alice, own, tmp_path):
    model = make_model("little", size_bytes=4_900_000_000, pinned=True, is_default=True)
    ModelAlias.objects.create(name="tiny", model=model)
    Engine.objects.create(model=model, state=EngineState.FAILED, message="out of memory")
    make_model("imported", backend="nowhere")

    found = text_of(as_alice.get("/app/models?show=installed")).replace("\u202f", " ")

    assert "little Default Pinned also tiny Failed out of memory 4.9 GB" in found
    assert "imported No backend Its backend is not installed. Unknown" in found
    assert "Installed models 1 model" in text_of(
        as_alice.get("/app/models?show=installed&term=imp")
    )
    assert "Installed" in text_of(as_alice.get("/app/models?term=little"))


@pytest.mark.parametrize(
    ("action", "fields", "words"),
    [
        ("disable", {"enabled": False}, "little is disabled."),
        ("enable", {"enabled": True}, "little is enabled."),
        ("pin", {"pinned": True}, "little stays in memory."),
        ("unpin", {"pinned": False}, "little may make room for others."),
        ("default", {"is_default": True}, "little is the default model."),
    ],
)
def test_r15_switches(as_alice, home, action, fields, words):
    opposite = {key: not value for key, value in fields.items()}
    make_model("little", **opposite)

    answer = post(as_alice, f"/app/models/little/{action}", {"next": "/app/models?show=installed"})

    assert answer.headers["location"] == "/app/models?show=installed"
    row = Model.objects.get()
    assert {key: getattr(row, key) for key in fields} == fields
    assert AuditRecord.objects.filter(action="model_changed").count() == 1
    assert words in text_of(as_alice.get("/app/models"))


@pytest.mark.parametrize("path", ["/app/models/none/disable", "/app/models/little/explode"])
def test_a_button_for_what_is_not_there_says_so(as_alice, own, path):
    make_model("little")
    assert post(as_alice, path).status_code == 302
    assert "There is nothing of that name here any more." in text_of(as_alice.get("/app/models"))


def test_loading_what_cannot_be_loaded_says_why(as_alice, own):
    make_model("little", backend="nowhere")
    post(as_alice, "/app/models/little/load")
    post(as_alice, "/app/models/little/unload")

    found = text_of(as_alice.get("/app/models"))
    assert "The backend of little, nowhere, is not installed." in found
    assert not AuditRecord.objects.filter(action="model_loaded").exists()


def test_deleting_asks_first(as_alice, own):
    make_model("little", size_bytes=4_900_000_000)

    asked = post(as_alice, "/app/models/little/delete", {"next": "/app/models"})
    assert "Delete little ?" in text_of(asked)
    assert "4.9 GB become free." in text_of(asked).replace("\u202f", " ")
    assert not Operation.objects.exists()

    answer = post(as_alice, "/app/models/little/delete", {"sure": "yes", "next": "/app/models"})
    assert answer.status_code == 302
    job = Operation.objects.get()
    assert (job.target, job.action) == ("little", "delete")
    assert AuditRecord.objects.filter(action="model_deleted").count() == 1
    assert as_alice.get("/app/models/none/delete").status_code == 302


@pytest.mark.parametrize(
    "next_", ["https://evil.example/", "//evil.example", "javascript:alert(1)"]
)
def test_nobody_is_sent_elsewhere(as_alice, own, next_):
    answer = post(as_alice, "/app/models/add", {"id": "own@big", "next": next_})

    assert answer.headers["location"].startswith("/app")
