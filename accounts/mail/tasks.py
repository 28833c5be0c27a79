"""What the queue runs: one letter, made from a template, sent, and tried again where that fails."""

import logging
from datetime import timedelta
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django_tasks import task

from accounts.mail import proofs
from accounts.mail.letters import Kind
from accounts.models import Role, Status, User
from accounts.runtime import env
from accounts.ui.preferences import is_language

log = logging.getLogger("gatehouse.mail")
MAX_TRIES = 8
MAX_ADMINS = 50


@task()
def send_letter(kind: Kind, user_id: str, tries: int = 1, address: str = "") -> None:
    """Send one letter. After a failure again in 1, 2, 4, … minutes, eight times in all.

    With an `address` also where the account is gone.
    """
    user = User.objects.filter(pk=user_id).first() or (User(email=address) if address else None)
    if user is None:
        return
    try:
        _send(kind, user)
    except (OSError, SMTPException) as exc:
        if tries >= MAX_TRIES:
            log.error("a letter (%s) was given up after %d tries", kind, tries)  # noqa: TRY400
            return
        log.warning("a letter (%s) could not be sent: %s", kind, type(exc).__name__)
        later = timezone.now() + timedelta(minutes=2 ** (tries - 1))
        send_letter.using(run_after=later).enqueue(kind, user_id, tries + 1, address)


def _send(kind: Kind, user: User) -> None:
    """The link is made here, so that no queue and no table ever holds it."""
    link = {
        "verify": lambda: f"{env().public_url}/verify/{proofs.verification_of(user)}",
        "reset": lambda: f"{env().public_url}/reset/{proofs.reset_of(user)}",
        "taken": lambda: f"{env().public_url}/forgot",
        "approval_wanted": lambda: f"{env().public_url}/app/users",
        "approved": lambda: f"{env().public_url}/login",
        "refused": lambda: env().public_url,
    }[kind]()
    shown = {"user": user, "link": link, "host": env().public_url.partition("://")[2]}
    for address, chosen in _readers(kind, user):
        language = chosen if is_language(chosen) else settings.LANGUAGE_CODE
        with translation.override(language):
            _letter(kind, address, {**shown, "language": language}).send()


def _letter(kind: Kind, address: str, shown: dict[str, Any]) -> EmailMultiAlternatives:
    """In the language of this moment: the first line of the text is its subject."""
    text = render_to_string(f"mail/{kind}.txt", shown)
    subject, _, body = text.partition("\n")
    page = render_to_string("mail/letter.html", {**shown, "paragraphs": body.strip().split("\n\n")})
    letter = EmailMultiAlternatives(subject, body.strip() + "\n", to=[address])
    letter.attach_alternative(page, "text/html")
    return letter


def _readers(kind: Kind, user: User) -> list[tuple[str, str]]:
    """Their addresses, and the language that each chose for the pages."""
    if kind != "approval_wanted":
        return [(user.email, user.language)]
    admins = User.objects.filter(role=Role.ADMIN, status=Status.ACTIVE).order_by("created_at")
    return list(admins.values_list("email", "language")[:MAX_ADMINS])
