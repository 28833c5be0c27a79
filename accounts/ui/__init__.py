"""The frame of the web UI: navigation, language, preferences, numbers and times as pages show them."""
