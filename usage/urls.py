"""The addresses that this app answers: people with their usage, reports, quotas, prices,
traces.
"""

from django.urls import URLPattern, path

from usage import pages, trace_pages, usage_pages
from usage.api import books, exports, people, prices, quotas, reports, traces
from usage.people import drawer
from usage.people import pages as people_pages

API: list[URLPattern] = [
    path("api/auth/me", people.MeView.as_view(), name="auth-me"),
    path("api/auth/admin/users", people.UsersView.as_view(), name="auth-admin-users"),
    path("api/auth/admin/users/<uuid:user_id>", people.UserView.as_view(), name="auth-admin-user"),
    path("api/auth/usage", reports.UsageView.as_view(), name="auth-usage"),
    path("api/auth/usage/sources", reports.SourcesView.as_view(), name="auth-usage-sources"),
    path("api/auth/usage/latency", reports.LatencyView.as_view(), name="auth-usage-latency"),
    path("api/auth/usage/export", exports.ExportView.as_view(), name="auth-usage-export"),
    path("api/auth/admin/usage", reports.AdminUsageView.as_view(), name="auth-admin-usage"),
    path(
        "api/auth/admin/usage/sources",
        reports.AdminSourcesView.as_view(),
        name="auth-admin-usage-sources",
    ),
    path(
        "api/auth/admin/usage/latency",
        reports.AdminLatencyView.as_view(),
        name="auth-admin-usage-latency",
    ),
    path(
        "api/auth/admin/usage/export",
        exports.AdminExportView.as_view(),
        name="auth-admin-usage-export",
    ),
    path("api/auth/quota", quotas.QuotaView.as_view(), name="auth-quota"),
    path(
        "api/auth/admin/users/<uuid:user_id>/quotas",
        quotas.UserQuotasView.as_view(),
        name="auth-admin-user-quotas",
    ),
    path(
        "api/auth/admin/users/<uuid:user_id>/quotas/<uuid:quota_id>",
        quotas.UserQuotaView.as_view(),
        name="auth-admin-user-quota",
    ),
    path("api/auth/admin/prices", prices.PricesView.as_view(), name="auth-admin-prices"),
    path(
        "api/auth/admin/prices/<uuid:price_id>",
        prices.PriceView.as_view(),
        name="auth-admin-price",
    ),
    path("api/accounting", books.AccountingView.as_view(), name="accounting"),
    path("api/usage", reports.LocalUsageView.as_view(), name="usage"),
    path("api/usage/all", reports.LocalUsageAllView.as_view(), name="usage-all"),
    path("api/traces", traces.TracesView.as_view(), name="traces"),
    path("api/traces/summary", traces.TraceSummaryView.as_view(), name="traces-summary"),
    path("api/traces/clear", traces.ClearTracesView.as_view(), name="traces-clear"),
    path("api/traces/<str:trace_id>", traces.TraceView.as_view(), name="trace"),
    path("api/backend-traces", traces.BackendTracesView.as_view(), name="backend-traces"),
    path(
        "api/backend-traces/clear",
        traces.ClearBackendTracesView.as_view(),
        name="backend-traces-clear",
    ),
    path(
        "api/backend-traces/<str:trace_id>",
        traces.BackendTraceView.as_view(),
        name="backend-trace",
    ),
]

PAGES: list[URLPattern] = [
    path("app/users", people_pages.users, name="users-page"),
    path("app/users/waiting", people_pages.answer_waiting, name="users-waiting"),
    path("app/users/several", people_pages.set_status_of_many, name="users-bulk"),
    path("app/users/<uuid:user_id>", drawer.person, name="user-page"),
    path("app/users/<uuid:user_id>/role", people_pages.set_role, name="user-role"),
    path("app/users/<uuid:user_id>/status", people_pages.set_status, name="user-status"),
    path("app/users/<uuid:user_id>/password", people_pages.reset_password, name="user-password"),
    path("app/users/<uuid:user_id>/delete", people_pages.delete, name="user-delete"),
    path("app/usage", usage_pages.usage_page, name="usage-page"),
    path("app/usage/csv", usage_pages.usage_csv, name="usage-page-csv"),
    path("app/usage/check", pages.usage_check, name="usage-page-check"),
    path("app/system/check", pages.system_check, name="system-check"),
    path("app/traces", trace_pages.requests, name="traces-page"),
    path("app/traces/clear", trace_pages.clear_requests, name="traces-clear-page"),
    path("app/traces/engines", trace_pages.engine_calls, name="calls-page"),
    path("app/traces/engines/clear", trace_pages.clear_engine_calls, name="calls-clear-page"),
    path("app/traces/engines/<uuid:trace_id>", trace_pages.engine_calls, name="calls-page"),
    path("app/traces/<uuid:trace_id>", trace_pages.requests, name="traces-page"),
]
