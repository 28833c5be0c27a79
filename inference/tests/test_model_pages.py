"""Install Models as a page: what it lists, and for whom."""

import pytest

from accounts.runtime import env
from core.gallery_list import GalleryAt
from inference import gallery_listing
from inference.models import Engine, EngineState, Model, ModelAlias, Operation, OperationState
from inference.pictures import pictures
from inference.tests.model_pages import EVIL, HTMX, cards, post, text_of, under_way
from inference.tests.test_gallery_api import GALLERY, make_model

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
