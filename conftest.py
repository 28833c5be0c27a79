"""Fixtures for every test. (The environment is set by `tests.environment`, loaded before Django.)"""

pytest_plugins = ["tests.people", "tests.stub"]
