"""The addresses that this app answers: conversations and their messages."""

from django.urls import URLPattern, path

from chat.api import chats, messages
from chat.ui import home_pages as home
from chat.ui import pages as ui

_MESSAGE = "api/chats/<uuid:chat_id>/messages/<uuid:message_id>"

API: list[URLPattern] = [
    path("api/chats", chats.ChatsView.as_view(), name="chats"),
    path("api/chats/preferences", chats.PreferencesView.as_view(), name="chat-preferences"),
    path("api/chats/<uuid:chat_id>", chats.OneChatView.as_view(), name="chat"),
    path("api/chats/<uuid:chat_id>/export", chats.ExportView.as_view(), name="chat-export"),
    path(
        "api/chats/<uuid:chat_id>/messages", messages.MessagesView.as_view(), name="chat-messages"
    ),
    path(_MESSAGE, messages.OneMessageView.as_view(), name="chat-message"),
    path(f"{_MESSAGE}/regenerate", messages.RegenerateView.as_view(), name="chat-regenerate"),
    path(f"{_MESSAGE}/continue", messages.ContinueView.as_view(), name="chat-continue"),
    path(f"{_MESSAGE}/stop", messages.StopView.as_view(), name="chat-stop"),
    path(f"{_MESSAGE}/stream", messages.StreamView.as_view(), name="chat-stream"),
    path(f"{_MESSAGE}/files/<int:number>", messages.FileView.as_view(), name="chat-file"),
]

PAGES: list[URLPattern] = [
    path("app", home.home, name="home"),
    path("app/setup", home.setup_panel, name="home-setup"),
    path("app/home/models", home.models_panel, name="home-models"),
    path("app/api", home.api, name="api-page"),
    path("app/keys", home.make_key, name="home-keys"),
    path("app/keys/<uuid:key_id>/revoke", home.revoke_key, name="home-key-revoke"),
    path("app/chat", ui.new_chat, name="chat-page"),
    path("app/chat/list", ui.listed, name="chat-list"),
    path("app/chat/quota", ui.quota, name="chat-quota"),
    path("app/chat/<uuid:chat_id>", ui.conversation, name="chat-conversation"),
    # LocalAI's address of a new chat with a model; names hold slashes
    path("app/chat/<path:model>", ui.new_chat, name="chat-with-model"),
]
