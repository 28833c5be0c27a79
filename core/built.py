"""What of LocalAI's parts this server has; `/api/features` and the sidebar say it."""

# LocalAI's names; a part becomes true with the commit that makes it work.
BUILT = {
    "agents": False,
    "mcp": False,
    "fine_tuning": False,
    "quantization": False,
    "distributed": False,
    "localai_assistant": False,
}
