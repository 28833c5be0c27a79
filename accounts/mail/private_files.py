"""Mail as files that only the server's user can read, while no mail server is configured (S-29)."""

import logging
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

log = logging.getLogger("gatehouse.mail")
MAX_FILES = 1000


class PrivateFileBackend(BaseEmailBackend):
    """One 0600 file a letter, named by time; the oldest go where there are too many."""

    def __init__(self, file_path: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        from django.conf import settings

        self._folder = Path(file_path or settings.EMAIL_FILE_PATH)

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for letter in email_messages:
            name = f"{uuid.uuid1().time:020d}.eml"
            fd = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(letter.message().as_bytes())
            log.info("a letter is in %s; `manage.py mail` shows it", name)
        for old in sorted(self._folder.glob("*.eml"))[:-MAX_FILES]:
            old.unlink(missing_ok=True)
        return len(email_messages)
