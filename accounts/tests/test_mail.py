"""Letters (W-29, S-25, S-29, S-32, S-33): what is sent when, and what the links in them do."""

import re
import stat
from datetime import timedelta
from typing import get_args

import pytest
from django.core import mail
from django.core.management import call_command
from django.utils import timezone, translation
from django_tasks_db.models import DBTaskResult

from accounts.mail import proofs
from accounts.mail.letters import Kind, write
from accounts.mail.queue import run_queue
from accounts.mail.tasks import _letter
from accounts.models import ApiKey, AuditRecord, User
from tests.people import PASSWORD, Api, sign_in

pytestmark = pytest.mark.django_db(transaction=True)
NEW = "a wholly different phrase"


@pytest.fixture
def posted(settings, alice, limited):
    """Run what is queued; the letters that were sent, as (to, subject, link)."""
    limited(email_url="smtp://mail.example:25", auth_rate_limit="0", registration_mode="open")

    def run():
        run_queue("tests")
        found = []
        for letter in mail.outbox:
            link = re.search(r"http\S+", letter.body)
            found.append((letter.to[0], letter.subject, link[0] if link else ""))
        mail.outbox.clear()
        return found

    return run


def register(email="new@example.org", **more):
    body = {"email": email, "password": PASSWORD, **more}
    return Api().post("/api/auth/register", body)


def test_s32_open_mode_with_mail_activates_after_verification(posted):
    answer = register()
    assert (answer.status_code, answer.json()["pending"]) == (200, True)
    assert "check your mail" in answer.json()["message"]
    login = {"email": "new@example.org", "password": PASSWORD}
    refused = Api().post("/api/auth/login", login)
    assert (refused.status_code, refused.json()) == (
        403,
        {"error": "confirm your email address first"},
    )

    ((to, _, link),) = posted()
    assert to == "new@example.org"
    token = link.rsplit("/", 1)[1]
    done = Api().post("/api/auth/email/verify", {"token": token}).json()

    assert done == {"message": "email verified", "pending": False}
    assert Api().post("/api/auth/login", login).status_code == 200
    assert User.objects.get(email="new@example.org").email_verified_at is not None


def test_following_the_link_alone_changes_nothing_the_button_does(posted):
    register()
    ((_, _, link),) = posted()
    path = link.partition("localhost:8080")[2]

    page = Api().get(path)
    assert b"Confirm" in page.content
    assert User.objects.get(email="new@example.org").status == "pending"
    assert Api().client.post(path).headers["location"] == "/login"
    assert User.objects.get(email="new@example.org").status == "active"


def test_s33_a_taken_address_gets_the_same_answer_and_its_owner_a_letter(posted, bob):
    User.objects.filter(pk=bob.pk).update(email_verified_at=timezone.now())
    fresh, taken = register("fresh@example.org"), register(bob.email)

    assert (fresh.status_code, fresh.content) == (taken.status_code, taken.content)
    letters = {to: subject for to, subject, _ in posted()}
    assert "already have an account" in letters[bob.email]
    assert "Confirm" in letters["fresh@example.org"]
    assert User.objects.get(pk=bob.pk).check_password(PASSWORD)


def test_approval_mode_asks_the_admins_once_and_tells_the_person(posted, limited, alice, as_alice):
    limited(email_url="smtp://mail.example:25", auth_rate_limit="0", registration_mode="approval")
    for i in range(3):
        register(f"w{i}@example.org")

    letters = posted()
    wanted = [to for to, subject, _ in letters if "waits for approval" in subject]
    assert wanted == [alice.email]

    for i, status in enumerate(("active", "disabled")):
        user = User.objects.get(email=f"w{i}@example.org")
        as_alice.put(f"/api/auth/admin/users/{user.pk}/status", {"status": status})
    told = {to: subject for to, subject, _ in posted()}
    assert "is approved" in told["w0@example.org"]
    assert "was not approved" in told["w1@example.org"]


def test_r40_who_is_declined_is_told_though_the_account_is_gone(
    posted, limited, as_alice, make_user
):
    limited(email_url="smtp://mail.example:25")
    waits = make_user("w@example.org", status="pending")

    assert as_alice.post(f"/api/auth/admin/users/{waits.pk}/decline").status_code == 200

    told = {to: subject for to, subject, _ in posted()}
    assert "was not approved" in told["w@example.org"]


def test_s25_a_forgotten_password(posted, bob):
    elsewhere = sign_in(bob)
    known = Api().post("/api/auth/password/forgot", {"email": bob.email})
    unknown = Api().post("/api/auth/password/forgot", {"email": "nobody@example.org"})
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)

    ((to, _, link),) = posted()
    assert to == bob.email
    token = link.rsplit("/", 1)[1]
    body = {"token": token, "password": NEW}
    weak = Api().post("/api/auth/password/reset", {**body, "password": "short"})
    assert weak.json()["error_code"] == "password_too_short"
    assert Api().post("/api/auth/password/reset", body).json() == {"message": "password updated"}

    assert elsewhere.get("/api/auth/me").status_code == 401
    assert Api().post("/api/auth/login", {"email": bob.email, "password": NEW}).status_code == 200
    again = Api().post("/api/auth/password/reset", body)
    assert (again.status_code, again.json()) == (400, {"error": "invalid or expired token"})


def test_s32_a_reset_takes_an_unproven_account_from_whoever_squatted_it(posted, bob, make_key):
    _, secret = make_key(bob)
    Api().post("/api/auth/password/forgot", {"email": bob.email})
    token = posted()[0][2].rsplit("/", 1)[1]

    Api().post("/api/auth/password/reset", {"token": token, "password": NEW})

    assert Api(key=secret).get("/api/auth/me").status_code == 401
    assert not ApiKey.objects.exists()
    assert User.objects.get(pk=bob.pk).email_verified_at is not None


def test_a_proven_accounts_keys_survive_a_reset_s06(posted, bob, make_key):
    User.objects.filter(pk=bob.pk).update(email_verified_at=timezone.now())
    _, secret = make_key(bob)
    Api().post("/api/auth/password/forgot", {"email": bob.email})
    token = posted()[0][2].rsplit("/", 1)[1]

    Api().post("/api/auth/password/reset", {"token": token, "password": NEW})

    assert Api(key=secret).get("/api/auth/me").status_code == 200


@pytest.mark.parametrize("token", ["", "x", "a.b", "0" * 32 + ".x-y", "\u00e9", "a" * 4000])
def test_tokens_that_are_none(posted, bob, token):
    for path, body in (
        ("/api/auth/password/reset", {"token": token, "password": NEW}),
        ("/api/auth/email/verify", {"token": token}),
    ):
        assert Api().post(path, body).status_code == 400


def test_one_proof_is_not_another(posted, bob, mallory):
    reset, verify = proofs.reset_of(bob), proofs.verification_of(bob)

    for swapped in (verify, f"{mallory.pk.hex}.{reset.partition('.')[2]}"):
        with pytest.raises(proofs.ProofError):
            proofs.user_of_reset(swapped)
    with pytest.raises(proofs.ProofError):
        proofs.user_of_verification(reset)


def test_a_disabled_account_gets_no_letter_and_no_password(posted, bob):
    token = proofs.reset_of(bob)
    User.objects.filter(pk=bob.pk).update(status="disabled")

    Api().post("/api/auth/password/forgot", {"email": bob.email})

    assert posted() == []
    assert (
        Api().post("/api/auth/password/reset", {"token": token, "password": NEW}).status_code == 400
    )


def test_a_letter_that_cannot_be_sent_is_tried_again_later(posted, bob, monkeypatch):
    from accounts.mail import tasks

    def refuse(*_arguments):
        raise ConnectionRefusedError

    monkeypatch.setattr(tasks, "_send", refuse)
    Api().post("/api/auth/password/forgot", {"email": bob.email})
    assert posted() == []
    waiting = DBTaskResult.objects.get(status="READY")
    assert waiting.run_after > timezone.now() + timedelta(seconds=30)

    monkeypatch.undo()
    DBTaskResult.objects.filter(pk=waiting.pk).update(run_after=timezone.now())
    assert posted()[0][0] == bob.email


def test_no_link_is_ever_in_the_queue_the_trail_or_the_log(posted, bob, caplog):
    caplog.set_level("DEBUG")
    Api().post("/api/auth/password/forgot", {"email": bob.email})
    token = posted()[0][2].rsplit("/", 1)[1]
    Api().get(f"/reset/{token}")
    Api().post("/api/auth/password/reset", {"token": token, "password": NEW})

    kept = str(list(DBTaskResult.objects.values())) + str(list(AuditRecord.objects.values()))
    assert token not in kept
    assert token not in caplog.text


def test_s29_without_a_mail_server_letters_are_files_of_the_servers_alone(
    bob, settings, tmp_path, capsys
):
    from accounts.mail import tasks

    settings.EMAIL_BACKEND = "accounts.mail.private_files.PrivateFileBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    tasks.send_letter.call("reset", str(bob.pk))

    (path,) = (tmp_path / "mail").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    call_command("mail")
    shown = capsys.readouterr().out
    assert f"To: {bob.email}" in shown
    assert "/reset/" in shown


def test_without_mail_open_mode_activates_at_once(alice, limited):
    limited(auth_rate_limit="0", registration_mode="open")

    assert register().status_code == 201


def test_letters_are_in_the_language_that_each_reader_chose(posted, alice, make_user):
    second = make_user("second@example.org", role="admin")
    User.objects.filter(pk=second.pk).update(language="de")
    register(email="new@example.org")
    posted()
    User.objects.filter(email="new@example.org").update(language="de")
    Api().post("/api/auth/password/forgot", {"email": "new@example.org"})
    User.objects.filter(email="new@example.org").update(status="active")
    Api().post("/api/auth/password/forgot", {"email": "new@example.org"})
    run_queue("tests")
    reset = mail.outbox[-1]
    assert reset.subject.startswith("Neues Passwort für ")
    assert '<html lang="de">' in reset.alternatives[0].content
    mail.outbox.clear()

    write("approval_wanted", User.objects.get(email="new@example.org"))
    run_queue("tests")

    subjects = {letter.to[0]: letter.subject for letter in mail.outbox}
    assert "waits for approval" in subjects[alice.email]
    assert "wartet auf Freigabe" in subjects["second@example.org"]


def test_no_letter_is_longer_in_its_first_line_than_a_subject_may_be(posted, bob):
    """A subject is one line, in every language and with the longest address there may be."""
    bob.email = "b" * 64 + "@" + "x" * 180 + ".org"
    for kind in get_args(Kind):
        for language in ("en", "de"):
            with translation.override(language):
                shown = {"user": bob, "host": "ai.example", "link": "https://ai.example/x"}
                letter = _letter(kind, "a@example.org", {**shown, "language": language})
            assert letter.subject
            assert "\n" not in letter.subject
            assert "{" not in letter.body
            assert "https://ai.example/x" in letter.body or kind == "refused"


def test_s32_who_signs_in_before_the_link_is_told_to_follow_it(posted):
    """Not that an administrator has to approve them: nobody will."""
    register()

    form = {"email": "new@example.org", "password": PASSWORD}
    browser = Api()
    answer = browser.client.post("/login", form)

    assert answer.headers["location"] == "/waiting?for=mail"
    assert "Check your mail" in browser.client.get("/waiting?for=mail").content.decode()
