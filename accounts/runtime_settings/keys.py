"""The settings of `accounts`: who may come in, and from which origins."""

from accounts.runtime_settings.kinds import Flag, Origins, RegistrationMode
from accounts.runtime_settings.registry import SettingKey
from accounts.runtime_settings.secret_keys import ApiKeysKey, KeyList

KEYS = (
    ApiKeysKey("api_keys", KeyList, []),
    SettingKey("registration_mode", RegistrationMode, "approval", variable="registration_mode"),
    SettingKey("cors", Flag, default=False, variable="cors"),
    SettingKey("cors_allow_origins", Origins, "", variable="cors_allow_origins", from_env=",".join),
    # as LocalAI has it: true switches the check off
    SettingKey("csrf", Flag, default=False, variable="disable_csrf"),
)
