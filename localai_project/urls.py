"""Every address of the server. The gate's table has a line for each (accounts/gate.py)."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path
from django.views.generic import RedirectView

from accounts import account_pages as account_page
from accounts import factor_pages, mail_pages
from accounts import pages as account_pages
from accounts.api import account, audit, entry, factors, invites, keys, mailed
from accounts.api import admin as admin_api
from accounts.api import settings as settings_api
from accounts.social import views as social
from inference import pages as inference_pages
from inference.api import accounts as inference_accounts
from inference.api import gallery as gallery_api
from inference.api import health, logs, machine, metrics, operations, views
from usage import pages as usage_pages
from usage.api import exports, people, prices, quotas, reports

handler400 = "accounts.failures.bad_request"
handler404 = "accounts.failures.not_found"
handler500 = "accounts.failures.server_error"

_INFERENCE = [
    ("chat/completions", views.ChatCompletionsView, "chat-completions"),
    ("completions", views.CompletionsView, "completions"),
    ("embeddings", views.EmbeddingsView, "embeddings"),
    ("messages", views.MessagesView, "messages"),
    ("messages/count_tokens", views.CountTokensView, "messages-count-tokens"),
    ("responses", views.ResponsesView, "responses"),
    ("tokenize", views.TokenizeView, "tokenize"),
    ("detokenize", views.DetokenizeView, "detokenize"),
    ("models", views.ModelsView, "models"),
    ("models/<path:model>", views.ModelView, "model"),
    ("responses/<str:response_id>", views.StoredResponseView, "response"),
    ("responses/<str:response_id>/cancel", views.CancelResponseView, "response-cancel"),
    ("engines/<path:model>/chat/completions", views.ChatCompletionsView, "chat-completions"),
    ("engines/<path:model>/completions", views.CompletionsView, "completions"),
    ("engines/<path:model>/embeddings", views.EmbeddingsView, "embeddings"),
]

_ACCOUNTS = [
    path("api/auth/status", entry.StatusView.as_view(), name="auth-status"),
    path("api/auth/register", entry.RegisterView.as_view(), name="auth-register"),
    path("api/auth/login", entry.LoginView.as_view(), name="auth-login"),
    path("api/auth/token-login", entry.TokenLoginView.as_view(), name="auth-token-login"),
    path("api/auth/logout", entry.LogoutView.as_view(), name="auth-logout"),
    path("api/auth/me", people.MeView.as_view(), name="auth-me"),
    path("api/auth/profile", account.ProfileView.as_view(), name="auth-profile"),
    path("api/auth/password", account.PasswordView.as_view(), name="auth-password"),
    path("api/auth/mfa", factors.CompleteView.as_view(), name="auth-mfa"),
    path("api/auth/mfa/start", factors.QuestionView.as_view(), name="auth-mfa-start"),
    path("api/auth/mfa/totp/start", factors.TotpStartView.as_view(), name="auth-mfa-totp-start"),
    path("api/auth/mfa/totp", factors.TotpView.as_view(), name="auth-mfa-totp"),
    path(
        "api/auth/mfa/recovery-codes",
        factors.RecoveryCodesView.as_view(),
        name="auth-mfa-recovery-codes",
    ),
    path(
        "api/auth/mfa/passkeys/start",
        factors.PasskeyStartView.as_view(),
        name="auth-mfa-passkey-start",
    ),
    path("api/auth/mfa/passkeys", factors.PasskeysView.as_view(), name="auth-mfa-passkeys"),
    path(
        "api/auth/mfa/passkeys/<int:passkey_id>",
        factors.PasskeyView.as_view(),
        name="auth-mfa-passkey",
    ),
    path(
        "api/auth/passkey/start",
        factors.PasskeySignInStartView.as_view(),
        name="auth-passkey-start",
    ),
    path("api/auth/passkey", factors.PasskeySignInView.as_view(), name="auth-passkey"),
    path("api/auth/password/forgot", mailed.ForgotView.as_view(), name="auth-password-forgot"),
    path("api/auth/password/reset", mailed.ResetView.as_view(), name="auth-password-reset"),
    path("api/auth/email/verify", mailed.VerifyView.as_view(), name="auth-email-verify"),
    path("api/auth/email/resend", mailed.ResendView.as_view(), name="auth-email-resend"),
    path("api/auth/sessions", account.SessionsView.as_view(), name="auth-sessions"),
    path("api/auth/sessions/<uuid:session_id>", account.SessionView.as_view(), name="auth-session"),
    *[
        path(
            f"api/auth/{provider}/{step}", view, {"provider": provider}, name=f"auth-social-{step}"
        )
        for provider in ("github", "oidc")
        for step, view in (("login", social.start), ("callback", social.callback))
    ],
    path(
        "api/auth/invite/<str:code>/check",
        invites.InviteCheckView.as_view(),
        name="auth-invite-check",
    ),
    path("api/auth/api-keys", keys.ApiKeysView.as_view(), name="auth-api-keys"),
    path("api/auth/api-keys/<uuid:key_id>", keys.ApiKeyView.as_view(), name="auth-api-key"),
    path("api/auth/admin/users", people.UsersView.as_view(), name="auth-admin-users"),
    path(
        "api/auth/admin/users/<uuid:user_id>/role",
        admin_api.UserRoleView.as_view(),
        name="auth-admin-user-role",
    ),
    path(
        "api/auth/admin/users/<uuid:user_id>/status",
        admin_api.UserStatusView.as_view(),
        name="auth-admin-user-status",
    ),
    path("api/auth/admin/users/<uuid:user_id>", people.UserView.as_view(), name="auth-admin-user"),
    path(
        "api/auth/admin/users/<uuid:user_id>/password",
        admin_api.UserPasswordView.as_view(),
        name="auth-admin-user-password",
    ),
    path(
        "api/auth/admin/users/<uuid:user_id>/permissions",
        admin_api.UserPermissionsView.as_view(),
        name="auth-admin-user-permissions",
    ),
    path(
        "api/auth/admin/users/<uuid:user_id>/models",
        admin_api.UserModelsView.as_view(),
        name="auth-admin-user-models",
    ),
    path(
        "api/auth/admin/features",
        inference_accounts.FeaturesView.as_view(),
        name="auth-admin-features",
    ),
    path("api/auth/admin/audit", audit.AuditView.as_view(), name="auth-admin-audit"),
    path("api/auth/admin/invites", invites.InvitesView.as_view(), name="auth-admin-invites"),
    path(
        "api/auth/admin/invites/<uuid:invite_id>",
        invites.InviteView.as_view(),
        name="auth-admin-invite",
    ),
]

_USAGE = [
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
    path("api/usage", reports.LocalUsageView.as_view(), name="usage"),
    path("api/usage/all", reports.LocalUsageAllView.as_view(), name="usage-all"),
]

_MACHINE = [
    path("api/backend-logs", logs.BackendLogsView.as_view(), name="backend-logs"),
    path(
        "api/backend-logs/<path:model>/clear",
        logs.ClearBackendLogView.as_view(),
        name="backend-log-clear",
    ),
    path("api/backend-logs/<path:model>", logs.BackendLogView.as_view(), name="backend-log"),
    path("ws/backend-logs/<path:model>", logs.LogSocketView.as_view(), name="backend-log-socket"),
    path("api/resources", machine.ResourcesView.as_view(), name="resources"),
    path("api/engines", machine.EnginesView.as_view(), name="engines"),
    path("system", machine.SystemView.as_view(), name="machine"),
    *[
        path(f"{prefix}backend/{step}", view.as_view(), name=f"backend-{step}")
        for prefix in ("v1/", "")
        for step, view in (
            ("monitor", machine.MonitorView),
            ("shutdown", machine.ShutdownView),
            ("load", machine.LoadView),
        )
    ],
]

# Before the inference paths, where `models/…` would take a model's name.
_MODELS = [
    path("api/operations", operations.OperationsView.as_view(), name="operations"),
    path(
        "api/operations/<str:job_id>/cancel",
        operations.CancelView.as_view(),
        name="operation-cancel",
    ),
    path(
        "api/operations/<str:job_id>/dismiss",
        operations.DismissView.as_view(),
        name="operation-dismiss",
    ),
    path("api/models/job/<str:job_id>", operations.JobView.as_view(), name="models-job"),
    path("api/models", gallery_api.GalleryView.as_view(), name="gallery-models"),
    path(
        "api/models/install/<path:model_id>",
        gallery_api.InstallView.as_view(),
        name="gallery-install",
    ),
    path(
        "api/models/delete/<path:model_id>",
        gallery_api.DeleteView.as_view(),
        name="gallery-delete",
    ),
    path("api/models/capabilities", views.CapabilitiesView.as_view(), name="models-capabilities"),
    path("models/apply", gallery_api.ApplyView.as_view(), name="models-apply"),
    path("models/delete/<path:model_id>", gallery_api.RemoveView.as_view(), name="models-delete"),
    path("models/available", gallery_api.AvailableView.as_view(), name="models-available"),
    path("models/galleries", gallery_api.GalleriesView.as_view(), name="models-galleries"),
    path("models/jobs", operations.JobsView.as_view(), name="models-jobs"),
    path("models/jobs/<str:job_id>", operations.JobStatusView.as_view(), name="models-job-status"),
]

_PAGES = [
    path("", RedirectView.as_view(url="/app", permanent=True), name="root"),
    path("app", inference_pages.home, name="home"),
    path("app/setup", inference_pages.setup_panel, name="home-setup"),
    path("app/keys", inference_pages.make_key, name="home-keys"),
    path("app/keys/<uuid:key_id>/revoke", inference_pages.revoke_key, name="home-key-revoke"),
    path("app/system", usage_pages.system, name="system"),
    path("app/system/check", usage_pages.check, name="system-check"),
    path("app/account", account_page.account, name="account"),
    path("app/account/link/<str:provider>", account_page.link, name="account-link"),
    path("app/account/unlink/<str:provider>", account_page.unlink, name="account-unlink"),
    path(
        "app/account/sessions/<uuid:session_id>/end",
        account_page.end_session,
        name="account-session-end",
    ),
    path("app/providers", account_page.providers, name="providers"),
    path("app/providers/<str:provider>/test", account_page.test_provider, name="provider-test"),
    path("login", account_pages.login, name="login"),
    path("register", account_pages.register_page, name="register"),
    path("invite/<str:code>", account_pages.register_page, name="invite"),
    path("login/code", factor_pages.code_page, name="login-code"),
    path("factor", factor_pages.set_up, name="factor"),
    path("forgot", mail_pages.forgot, name="forgot"),
    path("reset/<str:token>", mail_pages.reset, name="reset"),
    path("verify/<str:token>", mail_pages.verify, name="verify"),
    path("waiting", account_pages.waiting, name="waiting"),
    path("password", account_pages.password_page, name="password"),
    path("logout", account_pages.logout, name="logout"),
    path("favicon.ico", RedirectView.as_view(url="/static/mark.svg"), name="favicon-ico"),
    path("favicon.svg", RedirectView.as_view(url="/static/mark.svg"), name="favicon"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("version", health.version, name="version"),
    path("metrics", metrics.metrics, name="metrics"),
    path("api/settings", settings_api.SettingsView.as_view(), name="settings"),
    *_ACCOUNTS,
    *_USAGE,
    *_MACHINE,
    *_PAGES,
    *_MODELS,
    *[
        path(prefix + route, view.as_view(), name=name)
        for prefix in ("v1/", "")
        for route, view, name in _INFERENCE
    ],
    path("admin/", admin.site.urls),
    path("admin", RedirectView.as_view(url="/admin/"), name="admin-root"),
]
