"""The addresses that this app answers: accounts, keys, sessions, settings, and their pages."""

from django.urls import URLPattern, path
from django.views.generic import RedirectView

from accounts import account_pages as account_page
from accounts import (
    audit_pages,
    factor_pages,
    invite_pages,
    key_pages,
    mail_pages,
    security_pages,
    settings_pages,
)
from accounts import pages as account_pages
from accounts.api import account, audit, entry, factors, invites, keys, mailed, openapi, settings
from accounts.api import admin as admin_api
from accounts.social import views as social
from accounts.ui import pages as ui_pages

API: list[URLPattern] = [
    path("swagger/doc.json", openapi.DocumentView.as_view(), name="openapi"),
    path("api/settings", settings.SettingsView.as_view(), name="settings"),
    path("api/auth/status", entry.StatusView.as_view(), name="auth-status"),
    path("api/auth/register", entry.RegisterView.as_view(), name="auth-register"),
    path("api/auth/login", entry.LoginView.as_view(), name="auth-login"),
    path("api/auth/token-login", entry.TokenLoginView.as_view(), name="auth-token-login"),
    path("api/auth/logout", entry.LogoutView.as_view(), name="auth-logout"),
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
    path(
        "api/auth/admin/users/<uuid:user_id>/decline",
        admin_api.UserDeclineView.as_view(),
        name="auth-admin-user-decline",
    ),
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
    path("api/auth/admin/audit", audit.AuditView.as_view(), name="auth-admin-audit"),
    path("api/auth/admin/invites", invites.InvitesView.as_view(), name="auth-admin-invites"),
    path(
        "api/auth/admin/invites/<uuid:invite_id>",
        invites.InviteView.as_view(),
        name="auth-admin-invite",
    ),
]

PAGES: list[URLPattern] = [
    path("swagger", RedirectView.as_view(url="/swagger/index.html"), name="swagger-root"),
    path("swagger/index.html", openapi.swagger, name="swagger"),
    path("app/account", account_page.account, name="account"),
    path("app/account/link/<str:provider>", account_page.link, name="account-link"),
    path("app/account/unlink/<str:provider>", account_page.unlink, name="account-unlink"),
    path(
        "app/account/sessions/<uuid:session_id>/end",
        security_pages.end_session,
        name="account-session-end",
    ),
    path("app/account/security", security_pages.security, name="account-security"),
    path("app/account/sessions/end", security_pages.end_others, name="account-sessions-end"),
    path(
        "app/account/factors/codes/remove",
        security_pages.remove_codes,
        name="account-codes-remove",
    ),
    path(
        "app/account/factors/recovery",
        security_pages.new_recovery_codes,
        name="account-recovery-codes",
    ),
    path(
        "app/account/factors/passkeys/<int:passkey_id>/remove",
        security_pages.remove_passkey,
        name="account-passkey-remove",
    ),
    path("app/account/keys", key_pages.keys, name="account-keys"),
    path("app/account/keys/<uuid:key_id>/revoke", key_pages.revoke, name="account-key-revoke"),
    path("app/users/invites", invite_pages.invite_list, name="invites-page"),
    path("app/users/invites/<uuid:invite_id>/revoke", invite_pages.revoke, name="invite-revoke"),
    path("app/users/audit", audit_pages.trail, name="audit-page"),
    path("app/settings", settings_pages.settings, name="settings-page"),
    path("app/settings/keys", settings_pages.add_key, name="settings-key-add"),
    path("app/settings/keys/remove", settings_pages.remove_key, name="settings-key-remove"),
    path("app/providers", account_page.providers, name="providers"),
    path("app/providers/<str:provider>/test", account_page.test_provider, name="provider-test"),
    path("app/preferences", ui_pages.preferences, name="preferences"),
    path("app/components", ui_pages.components, name="components"),
    path("login", account_pages.login, name="login"),
    path("login/again", ui_pages.sign_in_again, name="sign-in-again"),
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
]
