"""The features as pages name them (E-16 keeps LocalAI's English labels for programs)."""

from collections.abc import Collection, Iterable

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.features import AGENT_FEATURES, ALL_FEATURES, API_FEATURES, GENERAL_FEATURES

Text = str | Promise
LABELS: dict[str, Text] = {
    "chat": _("Chat completions"),
    "images": _("Images"),
    "audio_speech": _("Speech"),
    "audio_transcription": _("Transcription"),
    "audio_diarization": _("Diarization"),
    "audio_classification": _("Audio classification"),
    "vad": _("Voice activity detection"),
    "detection": _("Object detection"),
    "video": _("Video"),
    "3d": _("3D models"),
    "embeddings": _("Embeddings"),
    "sound": _("Sound"),
    "realtime": _("Realtime"),
    "moderation": _("Moderation"),
    "rerank": _("Rerank"),
    "tokenize": _("Tokenize"),
    "mcp": _("MCP"),
    "stores": _("Stores"),
    "face_recognition": _("Face recognition"),
    "voice_recognition": _("Voice recognition"),
    "audio_transform": _("Audio transform"),
    "pii_filter": _("Personal data filter"),
    "agents": _("Agents"),
    "skills": _("Skills"),
    "collections": _("Memory"),
    "mcp_jobs": _("Jobs"),
    "localai_assistant": _("Assistant"),
    "fine_tuning": _("Fine-tuning"),
    "quantization": _("Quantization"),
}
GROUPS: tuple[tuple[str, Text, tuple[str, ...]], ...] = (
    ("api", _("API"), tuple(API_FEATURES)),
    ("agents", _("Agents"), tuple(AGENT_FEATURES)),
    ("other", _("Other"), tuple(GENERAL_FEATURES)),
)


def label(name: str) -> Text:
    return LABELS.get(name, name)


def in_order(names: Collection[str]) -> Iterable[str]:
    """As the groups stand: what most people use first."""
    return (name for name in (*API_FEATURES, *ALL_FEATURES[: -len(API_FEATURES)]) if name in names)
