"""The base of the chat's endpoints: the caller's own conversation, or 404."""

from uuid import UUID

from rest_framework.request import Request

from accounts.api.base import AccountView
from chat import conversations
from chat.models import Conversation
from core.envelopes import Family


class ChatView(AccountView):
    """Errors carry the envelope with `reason`, as those of inference do: an answer may be refused here."""

    family: Family = "openai"

    def conversation(self, request: Request, chat_id: UUID) -> Conversation:
        """Raises NotFoundError for another's, an admin's caller too."""
        return conversations.of_owner(chat_id, self.principal(request).user_id)
