"""Pictures from elsewhere: fetched once by the background process, checked, served by us (R-38)."""

import pytest

from accounts.runtime import env
from core.gallery_list import GalleryAt
from core.pictures import MAX_BYTES, MAX_SIDE, Pictures, kind_of, name_of, sides_of
from core.tests.hostile_server import says
from inference import pictures
from inference.pictures import fetch_due


def png(wide, high):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + wide.to_bytes(4) + high.to_bytes(4) + b"x" * 100


def gif(wide, high):
    return b"GIF89a" + wide.to_bytes(2, "little") + high.to_bytes(2, "little") + b"x"


def jpeg(wide, high):
    head = b"\xff\xd8\xff\xe0\0\x04xx\xff\xff\xc2\0\x0b\x08"
    return head + high.to_bytes(2) + wide.to_bytes(2) + b"xxx"


def webp(wide, high):
    sides = (wide - 1).to_bytes(3, "little") + (high - 1).to_bytes(3, "little")
    return b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + sides


def webp_lossless(wide, high):
    bits = (wide - 1) | (high - 1) << 14
    return b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + bits.to_bytes(4, "little")


def webp_lossy(wide, high):
    sides = wide.to_bytes(2, "little") + high.to_bytes(2, "little")
    return b"RIFF\0\0\0\0WEBPVP8 " + bytes(7) + b"\x9d\x01\x2a" + sides


MAKERS = [png, gif, jpeg, webp, webp_lossless, webp_lossy]
PNG = png(16, 16)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
KINDS = [
    (PNG, "image/png"),
    (jpeg(16, 16), "image/jpeg"),
    (gif(16, 16), "image/gif"),
    (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
]


@pytest.fixture
def shown(home, settings, tmp_path, server):
    """A gallery of one model, whose icon is at /icon of the server."""

    def with_icon(icon):
        (tmp_path / "own.yaml").write_text(
            f'- {{name: m, icon: "{icon}", files: [{{filename: ., uri: "hf:o/m"}}]}}'
        )
        return icon

    listed = [GalleryAt(name="own", url=f"file://{tmp_path}/own.yaml")]
    changed = {"galleries": listed, "data_path": tmp_path / "data"}
    settings.GATEHOUSE = env().model_copy(update=changed)
    with_icon(f"{server.url}/icon")
    return with_icon


def row(api):
    return api.get("/api/models").json()["models"][0]


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("kind", KINDS)
def test_r38_an_icon_is_fetched_once_and_served_by_us(as_alice, as_bob, anonymous, server, kind):
    content, content_type = kind
    server.serve["/icon"] = says(200, content)
    assert (row(as_alice)["icon"], server.asked) == ("", [])  # no request fetches
    assert fetch_due() == 1

    found = row(as_alice)

    assert found["icon_source"] == f"{server.url}/icon"
    assert found["icon"] == f"http://localhost/pictures/{name_of(found['icon_source'])}"
    path = found["icon"].removeprefix("http://localhost")
    answer = as_bob.get(path)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer["Content-Type"] == content_type
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer["Cache-Control"] == "private, max-age=86400"
    assert anonymous.get(path).status_code == 401
    assert fetch_due() == 0
    assert len(server.asked) == 1
    assert as_alice.get("/models/available").json()[0]["icon"] == found["icon"]


@pytest.mark.parametrize(
    "content", [SVG, b"<html>", b"", b"\x89PNG", b"RIFF....WAVE", PNG + b"x" * MAX_BYTES]
)
def test_r38_what_is_no_raster_picture_or_too_large_is_not_taken(as_alice, shown, server, content):
    server.serve["/icon"] = says(200, content, content_type="image/png")
    assert fetch_due() == 1

    assert row(as_alice)["icon"] == ""
    assert as_alice.get(f"/pictures/{name_of(f'{server.url}/icon')}").status_code == 404
    assert fetch_due() == 0  # not again for a day


@pytest.mark.parametrize(
    "icon",
    [
        "http://169.254.169.254/latest",
        "http://10.0.0.1/x.png",
        "http://[::1]/x.png",
        "http://[x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "x.png",
        "",
    ],
)
def test_r38_no_picture_comes_from_inside(as_alice, shown, icon):
    shown(icon)
    fetch_due()  # and one that is no address holds up none of the others
    assert row(as_alice)["icon"] == ""


def test_r38_an_inline_raster_picture_stays(as_alice, shown):
    icon = shown("data:image/png;base64,iVBORw0KGgo=")
    assert row(as_alice)["icon"] == icon


def test_r38_avatars_are_fetched_by_the_background_process_alone(as_bob, bob, shown, server):
    shown("")
    server.serve["/me.png"] = says(200, PNG)
    url = f"{server.url}/me.png"
    given = as_bob.put("/api/auth/profile", {"name": "Bob", "avatar_url": url})
    assert given.json()["avatarUrl"] == url  # E-08 says what was given
    assert as_bob.get(f"/pictures/{name_of(url)}").status_code == 404
    assert server.asked == []

    assert fetch_due() == 1

    assert as_bob.get(f"/pictures/{name_of(url)}").content == PNG


def test_r38_a_failure_is_tried_again_a_day_later(shown, server, monkeypatch, db):
    assert fetch_due() == 1  # 404
    assert fetch_due() == 0
    monkeypatch.setattr(pictures, "AGAIN_S", 0.0)
    server.serve["/icon"] = says(200, PNG)
    assert fetch_due() == 1
    assert pictures.pictures().names() == {name_of(f"{server.url}/icon")}


def test_r38_what_nobody_names_any_more_goes(shown, server, monkeypatch, db, tmp_path):
    server.serve["/icon"] = says(200, PNG)
    fetch_due()
    monkeypatch.setattr(pictures, "FORGOTTEN_S", 0.0)
    (tmp_path / "own.yaml").write_text("- broken")
    fetch_due()
    assert len(pictures.pictures().names()) == 1  # the gallery is only out of sight

    shown("")
    fetch_due()
    assert pictures.pictures().names() == set()


@pytest.mark.usefixtures("shown")
def test_r38_one_that_changes_its_picture_all_the_time_does_not_fill_the_disk(
    as_bob, server, monkeypatch, tmp_path
):
    (tmp_path / "own.yaml").write_text("- broken")  # a gallery that is out of sight is no way round
    monkeypatch.setattr(pictures, "MAX_UNNAMED", 3)
    for i in range(8):
        server.serve[f"/{i}"] = says(200, PNG)
        as_bob.put("/api/auth/profile", {"name": "Bob", "avatar_url": f"{server.url}/{i}"})
        assert fetch_due() == 1

    assert len(pictures.pictures().names()) == 1 + 3
    assert as_bob.get(f"/pictures/{name_of(f'{server.url}/7')}").status_code == 200


@pytest.mark.parametrize("name", ["..%2F..%2Fetc", "x", "A" * 64, "0" * 63, "%00"])
def test_a_picture_is_found_by_its_own_name_alone(as_bob, name):
    assert as_bob.get(f"/pictures/{name}").status_code in {400, 404}


def test_only_what_is_a_picture_is_kept(tmp_path):
    store = Pictures(tmp_path / "p")
    with pytest.raises(ValueError, match="not a PNG"):
        store.keep("https://x.org/a", SVG)
    assert store.names() == set()
    assert [kind_of(content) for content, _ in KINDS] == ["png", "jpg", "gif", "webp"]


@pytest.mark.parametrize("make", MAKERS)
def test_r38_a_picture_of_more_pixels_than_memory_is_not_kept(tmp_path, make):
    store = Pictures(tmp_path / "p")
    for wide, high in ((MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)):
        content = make(wide, high)
        assert sides_of(kind_of(content), content) == (wide, high)
        with pytest.raises(ValueError, match="pixels"):
            store.keep("https://x.org/a", content)

    store.keep("https://x.org/a", make(MAX_SIDE, MAX_SIDE))

    assert store.names() == {name_of("https://x.org/a")}
