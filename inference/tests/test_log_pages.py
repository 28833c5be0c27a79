"""R-13, R-23, R-24: the pages of engines' logs, as they are without a script."""

import json
import re
import subprocess

import pytest

from inference.log_files import LogWriter, last_lines, log_folder
from inference.log_words import level, plain
from inference.models import Model

pytestmark = pytest.mark.django_db
HOSTILE = "<img src=x onerror=alert(1)>\x1b[31mred\x1b[0m\x1b]0;title\x07 \u202eback"


@pytest.fixture(autouse=True)
def data_path(settings, tmp_path):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"data_path": tmp_path})
    return tmp_path


@pytest.fixture
def write(data_path):
    def put(model, *texts):
        writer = LogWriter(log_folder(data_path, model), model)
        writer.write([("2026-11-26T01:02:03.456789Z", "stderr", each) for each in texts])
        writer.close()

    return put


def text(answer):
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def lines(page):
    return re.findall(r"<li[^>]*><time[^>]*>([^<]*)</time><span>([^<]*)</span></li>", page)


def test_r13_the_last_lines_are_there_without_a_script(as_alice, write):
    write("org/m", *(f"line {i}" for i in range(1200)))

    page = text(as_alice.get("/app/logs/org/m"))

    found = lines(page)
    assert len(found) == 1000
    assert found[-1] == ("01:02:03.456", "line 1199")
    assert 'data-socket="/ws/backend-logs/org%2Fm" data-after="1200"' in page
    assert re.search(r'role="log"[^>]*aria-live="off"', page)


def test_lines_are_harmless(as_alice, write):
    write("m", HOSTILE)

    page = text(as_alice.get("/app/logs/m"))

    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;red back" in page


def test_lines_of_another_replica_say_so(as_alice, data_path):
    writer = LogWriter(log_folder(data_path, "m"), "m")
    writer.write([("2026-11-26T01:02:03.456789Z", "stderr", "ERROR x")], replica=1)
    writer.close()

    page = text(as_alice.get("/app/logs/m"))

    assert lines(page) == [("01:02:03.456", "[1] ERROR x")]
    assert '<li class="e">' in page


def test_levels_and_a_search_work_as_forms(as_alice, write):
    write("m", "INFO fine", "WARNING tight", "ERROR out of memory", "ValueError: no")

    assert len(lines(text(as_alice.get("/app/logs/m?level=w")))) == 3
    assert len(lines(text(as_alice.get("/app/logs/m?level=e")))) == 2
    page = text(as_alice.get("/app/logs/m?q=MEMORY"))
    assert [said for _, said in lines(page)] == ["ERROR out of memory"]
    assert 'data-after="0"' in page  # what was left out comes by the socket
    assert "No line fits." in text(as_alice.get("/app/logs/m?q=%3Cb%3E"))


def test_one_chooses_among_models_with_a_log_and_installed_ones(as_alice, write):
    write("a", "x")
    Model.objects.create(name="org/b", source="", backend="fake", directory="/x")

    page = text(as_alice.get("/app/logs"))
    assert 'href="/app/logs/a"' in page
    assert 'href="/app/logs/org/b"' in page
    assert as_alice.get("/app/logs?model=org/b").headers["location"] == "/app/logs/org/b"
    assert as_alice.get("/app/logs?model=//evil.example").status_code == 200
    assert as_alice.get("/app/backend-logs/org/b").headers["location"] == "/app/logs/org/b"


def test_an_unknown_model_has_an_empty_log(as_alice):
    assert "No lines yet." in text(as_alice.get("/app/logs/nobody"))
    assert "No engine has run yet" in text(as_alice.get("/app/logs"))


def test_a_log_is_cleared_and_kept_as_a_text(as_alice, write, data_path):
    write("m", "one", HOSTILE)

    kept = as_alice.get("/app/logs/m/text")
    assert kept.content.decode().startswith("2026-11-26T01:02:03.456789Z one\n")
    assert kept.headers["content-type"] == "text/plain; charset=utf-8"
    assert b"\x1b" not in kept.content

    answer = as_alice.client.post("/app/logs/m/clear")
    assert answer.headers["location"] == "/app/logs/m"
    assert last_lines(log_folder(data_path, "m")) == []


@pytest.mark.parametrize(
    "path", ["/app/logs", "/app/logs/m", "/app/logs/m/text", "/app/backend-logs/m"]
)
def test_r24_logs_are_the_admins_alone(anonymous, as_bob, write, path):
    write("m", "secret")

    assert anonymous.get(path).headers["location"].startswith("/login?next=")
    assert as_bob.get(path).headers["location"] == "/app?notice=admins_only"
    assert as_bob.client.post("/app/logs/m/clear").status_code == 403


@pytest.mark.parametrize("name", ["..", "../x", "%2e%2e/x", "a//b"])
def test_no_name_leads_out_of_the_logs(as_alice, name):
    answer = as_alice.get(f"/app/logs/{name}")

    assert answer.status_code in {400, 404} or "No lines yet." in text(answer)


def test_a_page_costs_the_frame_and_one_query(as_alice, write, django_assert_num_queries):
    write("m", *["x"] * 500)
    with django_assert_num_queries(5):
        as_alice.get("/app/logs/m")


SAMPLES = [
    HOSTILE,
    "\x1b[1;32mINFO\x1b[0m ready\x08\x00\x9b31mx",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "\x1bP secret \x1b\\after \x1b(B\x1b[?25l",
    "\ttab stays, é and \U0001f600 too",
    "WARN a",
    "UserWarning: b",
    "Traceback (most recent call last):",
    "torch.OutOfMemoryError: CUDA",
    "no errors here, ERRORS neither",
    "x" * 300 + " ERROR",
]


def test_the_script_does_the_same_to_live_lines():
    """`static/js/loglines.js` and `inference/log_words.py` are one rule in two languages."""
    import shutil
    from pathlib import Path

    if shutil.which("node") is None:
        pytest.skip("node is only on machines where the identity tests run")
    code = f"""import {{ plain, level }} from "./static/js/loglines.js";
console.log(JSON.stringify({json.dumps(SAMPLES)}.map((each) => [plain(each), level(plain(each))])));"""
    said = subprocess.run(
        ["node", "--input-type=module", "-e", code],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout

    assert json.loads(said) == [[plain(each), level(plain(each))] for each in SAMPLES]
    assert plain(SAMPLES[3]) == "after "
    assert level("no errors here, ERRORS neither") == ""
