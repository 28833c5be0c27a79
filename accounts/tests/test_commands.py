"""`manage.py` for a machine without a browser."""

import io

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditRecord, User
from tests.people import Api

pytestmark = pytest.mark.django_db


def run(*words, stdin="", monkeypatch=None):
    out = io.StringIO()
    if monkeypatch is not None:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    call_command(*words, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


def test_a_server_is_set_up_without_a_browser(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse lamp")
    run("createsuperuser", "--noinput", "--email", "root@example.org")
    secret = run("createkey", "root@example.org", "--name", "script", "--expires", "90d")

    me = Api(key=secret).get("/api/auth/me").json()

    assert (me["email"], me["role"]) == ("root@example.org", "admin")


def test_an_invite_link_works(alice):
    link = run("createinvite", "--hours", "2")
    body = {
        "email": "n@example.org",
        "password": "correct horse lamp",
        "inviteCode": link.rsplit("/")[-1],
    }

    assert link.startswith("http://localhost:8080/invite/")
    assert Api().post("/api/auth/register", body).status_code == 201


def test_approve_and_promote(alice, make_user):
    user = make_user("waits@example.org", status="pending")

    run("approve", user.email)
    assert User.objects.get(pk=user.pk).status == "active"
    run("promote", user.email)
    assert User.objects.get(pk=user.pk).role == "admin"
    made = AuditRecord.objects.filter(subject_id=str(user.pk))
    assert {row.source for row in made} == {"cli"}


def test_resetpassword_prints_one_or_reads_it(bob, monkeypatch):
    printed = run("resetpassword", bob.email)
    body = {"email": bob.email, "password": printed}
    assert Api().post("/api/auth/login", body).json()["password_change_required"] is True

    run(
        "resetpassword",
        bob.email,
        "--stdin",
        stdin="a phrase from a pipe\n",
        monkeypatch=monkeypatch,
    )
    assert User.objects.get(pk=bob.pk).check_password("a phrase from a pipe")


@pytest.mark.parametrize(
    "words",
    [
        ("approve", "nobody@example.org"),
        ("createkey", "bob@example.org", "--expires", "soon"),
        ("createkey", "bob@example.org", "--name", " "),
        ("createinvite", "--hours", "0"),
    ],
)
def test_what_cannot_be_done_is_one_line(bob, words):
    with pytest.raises(CommandError):
        run(*words)
