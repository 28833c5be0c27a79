"""Models with a configuration file beside their row, and speaking YAML to the API."""

from inference import configuration_files, model_configuration
from inference.model_configuration import read
from inference.model_folders import CONFIGURATION
from inference.models import Model


def make(home, name="little", **fields):
    """A model with a folder of its own, in step with its file."""
    folder = home / name.replace("/", "--")
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    defaults = {"source": "hf:o/x", "backend": "vllm-cpu", "directory": str(folder)}
    row = Model.objects.create(name=name, **{**defaults, **fields})
    configuration_files.keep(name)
    row.refresh_from_db()
    return row


def file_of(home, name="little"):
    return home / name / CONFIGURATION


def yaml_to(api, path, text):
    return api.client.generic(
        "POST", path, data=text, content_type="application/yaml", headers=api.headers
    )


def on_disk(home, name="little"):
    return model_configuration.as_data(read(file_of(home, name).read_text()))
