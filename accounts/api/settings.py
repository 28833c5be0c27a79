"""`GET` and `POST /api/settings`: what admins change while the server runs (surface, section 5)."""

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import answers, bodies
from accounts.api.base import AccountView
from accounts.audit import actor_of
from accounts.runtime_settings import store
from core.declared import declares
from core.drf import read_json
from core.envelopes import Family


class SettingsView(AccountView):
    """SET: every key, secrets as masks; changes are checked as a whole."""

    family: Family = "settings"

    @declares("Every setting", answer=answers.settings_shown)
    def get(self, _request: Request) -> Response:
        return Response(store.shown())

    @declares(
        "Change settings",
        body=bodies.settings_change,
        body_example={"watchdog_idle_enabled": True, "watchdog_idle_timeout": "15m"},
        answer=answers.SettingsSaved,
    )
    def post(self, request: Request) -> Response:
        given = read_json(request._request, invalid="Invalid request body")  # noqa: SLF001
        store.change(given, by=actor_of(request._request))  # noqa: SLF001
        return Response({"success": True, "message": "Settings updated successfully"})
