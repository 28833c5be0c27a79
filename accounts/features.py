"""The features a person may have, and who has them by default (contract 4.3)."""

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


def effective_permissions(role: str) -> dict[str, bool]:
    """Every known feature and whether a person of `role` has it; admins have all."""
    return {name: role == "admin" or name in DEFAULT_FEATURES for name in ALL_FEATURES}


def features_of(role: str) -> frozenset[str]:
    """The names of the features that a person of `role` has."""
    return frozenset(name for name, has in effective_permissions(role).items() if has)
