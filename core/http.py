"""Requests with what our middleware adds to them, for the type checker."""

from django.http import HttpRequest

from core.principal import Principal


class GatedRequest(HttpRequest):
    """A request that the gate let through."""

    principal: Principal | None
