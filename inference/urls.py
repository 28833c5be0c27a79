"""The addresses that this app answers: inference, models and their operations, engines, the machine."""

from django.urls import URLPattern, path
from rest_framework.views import APIView

from inference import log_pages, operation_pages, system_pages
from inference.api import (
    accounts,
    backends,
    configuration,
    gallery,
    health,
    logs,
    machine,
    metrics,
    operations,
    pictures,
    server,
    views,
)
from inference.gallery_pages import backends as backend_page
from inference.gallery_pages import editor, import_forms, install_form, model_actions, models
from inference.gallery_pages import operations as operation_page

_INFERENCE: list[tuple[str, type[APIView], str]] = [
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

HEALTH: list[URLPattern] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("version", health.version, name="version"),
    path("metrics", metrics.metrics, name="metrics"),
    path("api/features", server.BuiltView.as_view(), name="features"),
    path("api/setup", server.SetupView.as_view(), name="setup"),
    path(".well-known/localai.json", server.DiscoveryView.as_view(), name="discovery"),
]

MACHINE: list[URLPattern] = [
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
    path("pictures/<str:name>", pictures.PictureView.as_view(), name="picture"),
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
    path(
        "api/auth/admin/features",
        accounts.FeaturesView.as_view(),
        name="auth-admin-features",
    ),
]

# Before the inference paths, where `models/…` would take a model's name.
MODELS: list[URLPattern] = [
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
    path("api/models", gallery.GalleryView.as_view(), name="gallery-models"),
    path(
        "api/models/install/<path:model_id>",
        gallery.InstallView.as_view(),
        name="gallery-install",
    ),
    path(
        "api/models/delete/<path:model_id>",
        gallery.DeleteView.as_view(),
        name="gallery-delete",
    ),
    path("api/models/capabilities", views.CapabilitiesView.as_view(), name="models-capabilities"),
    path("models/apply", gallery.ApplyView.as_view(), name="models-apply"),
    path("models/delete/<path:model_id>", gallery.RemoveView.as_view(), name="models-delete"),
    path("models/available", gallery.AvailableView.as_view(), name="models-available"),
    path("models/galleries", gallery.GalleriesView.as_view(), name="models-galleries"),
    path(
        "api/models/config-json/<path:model>",
        configuration.ConfigJsonView.as_view(),
        name="model-config-json",
    ),
    path(
        "api/models/config-metadata",
        configuration.ConfigMetadataView.as_view(),
        name="model-config-metadata",
    ),
    path("api/models/edit/<path:model>", configuration.EditView.as_view(), name="model-edit"),
    path("api/models/config/<path:model>", configuration.SaveView.as_view(), name="model-config"),
    path("api/aliases", configuration.AliasesView.as_view(), name="model-aliases"),
    path(
        "models/edit/<path:model>", configuration.SaveEditedView.as_view(), name="model-edit-save"
    ),
    path("models/import", configuration.ImportView.as_view(), name="model-import"),
    path("models/import-uri", configuration.ImportUriView.as_view(), name="model-import-uri"),
    path("models/reload", configuration.ReloadView.as_view(), name="models-reload"),
    path(
        "models/toggle-state/<path:model>/<str:action>",
        configuration.ToggleStateView.as_view(),
        name="model-toggle-state",
    ),
    path(
        "models/toggle-pinned/<path:model>/<str:action>",
        configuration.TogglePinnedView.as_view(),
        name="model-toggle-pinned",
    ),
    path("models/jobs", operations.JobsView.as_view(), name="models-jobs"),
    path("models/jobs/<str:job_id>", operations.JobStatusView.as_view(), name="models-job-status"),
]

BACKENDS: list[URLPattern] = [
    path("api/backends", backends.BackendsView.as_view(), name="gallery-backends"),
    path(
        "api/backends/install/<path:backend_id>",
        backends.InstallView.as_view(),
        name="backends-install",
    ),
    path(
        "api/backends/delete/<path:backend_id>",
        backends.DeleteView.as_view(),
        name="backends-delete",
    ),
    path(
        "api/backends/install-external",
        backends.ExternalView.as_view(),
        name="backends-install-external",
    ),
    path("api/backends/job/<str:job_id>", operations.JobView.as_view(), name="backends-job"),
    path(
        "api/backends/system/delete/<path:name>",
        backends.SystemDeleteView.as_view(),
        name="backends-system-delete",
    ),
    path("api/backends/upgrades", backends.UpgradesView.as_view(), name="backends-upgrades"),
    path(
        "api/backends/upgrades/check",
        backends.CheckUpgradesView.as_view(),
        name="backends-upgrades-check",
    ),
    path(
        "api/backends/upgrade/<path:name>", backends.UpgradeView.as_view(), name="backends-upgrade"
    ),
    path("backends", backends.InstalledView.as_view(), name="backends"),
    path("backends/available", backends.AvailableView.as_view(), name="backends-available"),
    path("backends/galleries", backends.GalleriesView.as_view(), name="backends-galleries"),
    path("backends/apply", backends.ApplyView.as_view(), name="backends-apply"),
    path("backends/delete/<path:name>", backends.RemoveView.as_view(), name="backends-remove"),
    path("backends/jobs", backends.BackendJobsView.as_view(), name="backends-jobs"),
    path(
        "backends/jobs/<str:job_id>",
        operations.JobStatusView.as_view(),
        name="backends-job-status",
    ),
]

PAGES: list[URLPattern] = [
    path("app/operations", operation_pages.operations_panel, name="operations-panel"),
    path(
        "app/operations/<str:job_id>/cancel",
        operation_pages.cancel_operation,
        name="operation-cancel-page",
    ),
    path(
        "app/operations/<str:job_id>/dismiss",
        operation_pages.dismiss_operation,
        name="operation-dismiss-page",
    ),
    # Install Models; LocalAI's own addresses come before ours of the same name
    path("app/models", models.models, name="models-page"),
    path("app/models/live", models.live, name="models-live"),
    path("app/models/read-again", models.read_again, name="models-read-again"),
    path("app/models/read-files", editor.read_files, name="models-read-files"),
    path("app/models/add", model_actions.install, name="model-add"),
    path("app/models/install", install_form.install_form, name="model-install-page"),
    path("app/import-model", import_forms.import_model, name="model-import-page"),
    path("app/models/import", import_forms.import_model, name="model-import-page"),
    path("app/model-editor/<path:model>", editor.edit, name="model-edit-page"),
    path("app/models/<path:model>/edit", editor.edit, name="model-edit-page"),
    path("app/models/<path:model>/aliases", editor.set_aliases, name="model-aliases-page"),
    path("app/models/<path:model>/delete", model_actions.delete, name="model-delete-page"),
    path("app/models/<path:model>/<str:action>", model_actions.act, name="model-action"),
    path("app/operations/<uuid:job_id>", operation_page.operation, name="operation-page"),
    path("app/operations/<str:job_id>/again", model_actions.again, name="operation-again-page"),
    path("app/backends", backend_page.backends, name="backends-page"),
    path("app/backends/live", backend_page.live, name="backends-live"),
    path("app/backends/check", backend_page.check, name="backends-check-page"),
    path("app/backends/add", backend_page.install, name="backend-add"),
    path("app/backends/external", backend_page.external, name="backend-external-page"),
    path("app/backends/<str:name>/upgrade", backend_page.upgrade, name="backend-upgrade-page"),
    path("app/backends/<str:name>/remove", backend_page.remove, name="backend-remove-page"),
    path("app/manage", system_pages.system, name="system"),  # LocalAI's name for it
    path("app/system", system_pages.system, name="system"),
    path("app/system/live", system_pages.live, name="system-live"),
    path("app/system/load", system_pages.load, name="system-load"),
    path("app/system/unload", system_pages.unload, name="system-unload"),
    path("app/logs", log_pages.choose, name="logs-page"),
    path("app/logs/<path:model>/clear", log_pages.clear, name="logs-clear-page"),
    path("app/logs/<path:model>/text", log_pages.download, name="logs-text-page"),
    path("app/logs/<path:model>", log_pages.log, name="logs-page"),
    path("app/backend-logs/<path:model>", log_pages.moved, name="logs-moved-page"),
]

INFERENCE: list[URLPattern] = [
    path(prefix + route, view.as_view(), name=name)
    for prefix in ("v1/", "")
    for route, view, name in _INFERENCE
]
