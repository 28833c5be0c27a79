"""Every address of the server, app by app. The gate's table has a line for each (accounts/gate.py)."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path
from django.views.generic import RedirectView

from accounts import urls as accounts
from chat import urls as chat
from inference import urls as inference
from usage import urls as usage

handler400 = "accounts.failures.bad_request"
handler404 = "accounts.failures.not_found"
handler500 = "accounts.failures.server_error"

_OWN: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(url="/app", permanent=True), name="root"),
    path("favicon.ico", RedirectView.as_view(url="/static/mark.svg"), name="favicon-ico"),
    path("favicon.svg", RedirectView.as_view(url="/static/mark.svg"), name="favicon"),
    path("admin/", admin.site.urls),
    path("admin", RedirectView.as_view(url="/admin/"), name="admin-root"),
]

# The inference paths last: `models/<model>` takes what nobody before it took.
urlpatterns: list[URLPattern | URLResolver] = [
    *inference.HEALTH,
    *accounts.API,
    *usage.API,
    *chat.API,
    *inference.MACHINE,
    *accounts.PAGES,
    *usage.PAGES,
    *chat.PAGES,
    *inference.PAGES,
    *inference.MODELS,
    *inference.BACKENDS,
    *inference.INFERENCE,
    *_OWN,
]
