"""The features a person may have, and who has them by default (contract 4.3)."""

from collections.abc import Mapping

AGENT_FEATURES = {
    "agents": "Agents",
    "skills": "Skills",
    "collections": "Collections",
    "mcp_jobs": "MCP CI Jobs",
    "localai_assistant": "LocalAI Assistant",
}
GENERAL_FEATURES = {"fine_tuning": "Fine-Tuning", "quantization": "Quantization"}
API_FEATURES = {
    "chat": "Chat Completions",
    "images": "Image Generation",
    "audio_speech": "Audio Speech / TTS",
    "audio_transcription": "Audio Transcription",
    "audio_diarization": "Audio Diarization",
    "audio_classification": "Audio Classification",
    "vad": "Voice Activity Detection",
    "detection": "Detection",
    "video": "Video Generation",
    "3d": "3D Generation",
    "embeddings": "Embeddings",
    "sound": "Sound Generation",
    "realtime": "Realtime",
    "moderation": "Moderation",
    "rerank": "Rerank",
    "tokenize": "Tokenize",
    "mcp": "MCP",
    "stores": "Stores",
    "face_recognition": "Face Recognition",
    "voice_recognition": "Voice Recognition",
    "audio_transform": "Audio Transform",
    "pii_filter": "PII Analyze / Redact",
}
ALL_FEATURES = (*AGENT_FEATURES, *GENERAL_FEATURES, *API_FEATURES)
DEFAULT_FEATURES = frozenset(API_FEATURES)


def effective_permissions(role: str, stored: Mapping[str, bool]) -> dict[str, bool]:
    """Every known feature, and whether it is there: admins have all, others as `stored` or by default."""
    return {
        name: role == "admin" or bool(stored.get(name, name in DEFAULT_FEATURES))
        for name in ALL_FEATURES
    }


def features_of(role: str, stored: Mapping[str, bool]) -> frozenset[str]:
    """The names of the features that a person of `role` has."""
    return frozenset(name for name, has in effective_permissions(role, stored).items() if has)


def feature_list(features: Mapping[str, str]) -> list[dict[str, object]]:
    """One group of E-16: key, label and what a new account has."""
    return [
        {"key": key, "label": label, "default": key in DEFAULT_FEATURES}
        for key, label in features.items()
    ]
