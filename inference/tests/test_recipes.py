"""Recipes of backends: what a file may hold, what is refused, and what becomes of it (R-02, R-20)."""

from dataclasses import replace
from pathlib import Path

import pytest

from inference.recipe_schema import read_recipes
from inference.recipes import (
    RecipeError,
    built_in,
    built_in_files,
    engine_environment,
    placeholders,
    recipe_of,
)
from inference.strict_entries import GalleryFaultError
from inference.tests.fake_backend import line_of
from tests.stub_backend import recipe

GIVEN = {
    "python": Path("/b/bin/python"),
    "model": Path("/models/{python}"),
    "name": "owner/{socket}",
    "socket": Path("/run/x.sock"),
    "options": {},
    "port": 4711,
}


def the(text):
    (found,) = read_recipes(text, called="gallery own")
    return recipe_of(found)


def test_r02_a_recipe_is_read_whole():
    found = the(recipe("1.0"))

    assert (found.name, found.version, found.license) == ("stub", "1.0", "MIT")
    assert found.install[0].requirements == ("gatehouse-stub==1.0",)
    assert found.serves == ("chat-completions", "completions")
    assert found.options["max_num_seqs"].default == 4


def test_r02_the_built_in_recipes_are_read_by_the_same_schema():
    assert set(built_in()) == {"vllm", "vllm-cpu"}
    assert all(each.serves and each.hardware for each in built_in_files().values())


def test_a_new_release_of_ours_leaves_installed_environments_where_they_are():
    """The digest is of what is installed alone: another one would fetch 3 GB anew for a new word."""
    described = built_in_files()["vllm-cpu"]
    reworded = described.model_copy(update={"description": "other words"})

    assert recipe_of(reworded).digest == built_in()["vllm-cpu"].digest


def test_a_recipe_from_elsewhere_that_says_anything_else_is_another_version():
    assert the(recipe("1.0")).digest != the(recipe("1.0", description="B")).digest
    assert the(recipe("1.0")).digest == the(recipe("1.0")).digest


BAD = [
    # direct references, options, paths
    ("install", '[{requirements: ["x @ https://evil.example/x.whl"]}]', "requirements"),
    ("install", '[{requirements: ["https://evil.example/x.whl"]}]', "requirements"),
    ("install", '[{requirements: ["git+https://evil.example/x"]}]', "requirements"),
    ("install", '[{requirements: ["-r /etc/passwd"]}]', "requirements"),
    ("install", '[{requirements: ["--index-url=https://evil.example"]}]', "requirements"),
    ("install", '[{requirements: ["x==1 --index-url=https://evil.example"]}]', "requirements"),
    ("install", '[{requirements: ["x==1 --no-binary=:all:"]}]', "requirements"),
    ("install", '[{requirements: ["x==1 --hash=md5:00"]}]', "requirements"),
    ("install", '[{requirements: ["x\\n-r y"]}]', "requirements"),
    ("install", '[{requirements: ["./x"]}]', "requirements"),
    ("install", '[{requirements: ["../x.whl"]}]', "requirements"),
    ("install", '[{requirements: ["x-1.0-py3-none-any.whl"]}]', "requirements"),
    ("install", '[{requirements: ["x.tar.gz"]}]', "requirements"),
    ("install", "[{requirements: [-e x]}]", "requirements"),
    ("install", "[{requirements: [$HOME]}]", "requirements"),
    ("install", "[{requirements_file: vllm.txt}]", "requirements_file"),
    ("install", "[{requirements_file: ../../etc/passwd}]", "requirements_file"),
    ("install", "[{requirements: [x], index: file:///srv}]", "index"),
    ("install", '[{requirements: [x], index: "https://u:p@e.org/"}]', "index"),
    ("install", '[{requirements: [x], index: "https://e.org/ --pre"}]', "index"),
    ("install", "[{requirements: [x], pre: true}]", "pre"),
    ("install", "[{}]", "install"),
    ("install", "[]", "install"),
    ("install", "pip install x", "install"),
    # formats and placeholders
    ("command", '["{python}", "{python.__class__}", "{socket}"]', "command"),
    ("command", '["{python}", "{python!r}", "{socket}"]', "command"),
    ("command", '["{python}", "{0}", "{socket}"]', "command"),
    ("command", '["{python}", "{home}", "{socket}"]', "command"),
    ("command", '["{python}", "{{python}}", "{socket}"]', "command"),
    ("command", '["{python}", "x{options}", "{socket}"]', "command"),
    ("command", '["{python}", "{", "{socket}"]', "command"),
    ("command", '["/bin/sh", "-c", "{socket}"]', "command"),
    ("command", '["{python}", "-m", "x"]', "command"),
    ("command", '["{python}", "a\\0b", "{socket}"]', "command"),
    ("command", "[]", "command"),
    # variables
    ("environment", "{LD_PRELOAD: /tmp/x.so}", "environment"),
    ("environment", "{LD_LIBRARY_PATH: /tmp}", "environment"),
    ("environment", "{PYTHONPATH: /tmp}", "environment"),
    ("environment", "{PYTHONSTARTUP: /tmp}", "environment"),
    ("environment", "{PATH: /tmp}", "environment"),
    ("environment", "{HOME: /root}", "environment"),
    ("environment", "{LOCALAI_API_KEY: x}", "environment"),
    ("environment", "{HTTPS_PROXY: http://evil.example}", "environment"),
    ("environment", "{https_proxy: http://evil.example}", "environment"),
    ("environment", "{BASH_ENV: /tmp/x}", "environment"),
    ("environment", '{"A=B": x}', "environment"),
    ("environment", '{A: "{python.__class__}"}', "environment"),
    ("environment", "{A: 1}", "environment"),
    # the rest
    ("name", "../x", "name"),
    ("name", ".x", "name"),
    ("name", "a/b", "name"),
    ("name", "x" * 60, "name"),
    ("version", "1.0", "version"),
    ("hardware", "[quantum]", "hardware"),
    ("hardware", "[]", "hardware"),
    ("serves", "[everything]", "serves"),
    ("health", "http://evil.example/", "health"),
    ("health", '"/x HTTP/1.1\\r\\nhost: y"', "health"),
    ("health", "/../x", "health"),
    ("options", "{x: {type: shell, flag: --x}}", "options.x.type"),
    ("options", '{x: {type: string, flag: "; rm -rf /"}}', "options.x.flag"),
    ("options", "{x: {type: integer, flag: --x, default: many}}", "options.x"),
    ("options", "{__class__: {type: string, flag: --x}}", "options"),
    ("surprise", "1", "surprise"),
]


@pytest.mark.parametrize(("key", "text", "place"), BAD)
def test_r02_r20_a_fault_is_named_by_gallery_line_and_key(key, text, place):
    with pytest.raises(GalleryFaultError) as caught:
        read_recipes("# a gallery\n" + recipe("1.0", **{key: text}), called="gallery own")

    said = str(caught.value)
    assert said.startswith("gallery own, line ")
    assert place in said
    line = int(said.split("line ")[1].split(":", maxsplit=1)[0])
    assert 2 <= line <= 16
    assert "evil" not in said  # no values: they may be long, or secret


@pytest.mark.parametrize("key", ["name", "version", "hardware", "install", "command", "serves"])
def test_r02_what_is_needed_is_missed(key):
    with pytest.raises(GalleryFaultError, match=f"{key}: "):
        read_recipes(recipe("1.0", **{key: None}), called="gallery own")


def test_r02_every_placeholder_is_filled_once_and_nothing_else():
    words = '["{python}", "--at={socket}", "{model}", "{name}", "{threads}", "{dtype}", "{port}", "{options}"]'
    found = the(recipe("1.0", command=words, environment='{A: "{name} {socket} {dtype}"}'))

    line = line_of(found, **GIVEN)
    values = placeholders(found, **GIVEN)
    environment = engine_environment(found, {}, Path("/p"), values)

    assert line[:4] == ["/b/bin/python", "--at=/run/x.sock", "/models/{python}", "owner/{socket}"]
    assert line[4].replace(",", "").isdigit()
    assert line[5] in {"float32", "bfloat16"}
    assert line[6:] == ["4711", "--seats", "4"]
    assert environment["A"] == f"owner/{{socket}} /run/x.sock {line[5]}"


def test_r02_a_models_dtype_is_what_the_command_gets():
    found = the(recipe("1.0", command='["{python}", "{socket}", "{dtype}"]'))
    given = {**GIVEN, "options": {}}
    assert line_of(replace(found, hardware=("nvidia",)), **given)[2] == "auto"


@pytest.mark.parametrize(
    ("kind", "value", "flags"),
    [
        ("boolean", True, ["--x"]),
        ("boolean", False, []),
        ("integer", 3, ["--x", "3"]),
        ("number", 0.5, ["--x", "0.5"]),
        ("integer", True, None),
        ("number", False, None),
        ("string", 1, None),
        ("boolean", "true", None),
    ],
)
def test_r02_an_option_has_its_type(kind, value, flags):
    found = the(recipe("1.0", options=f"{{x: {{type: {kind}, flag: --x}}}}"))
    given = {**GIVEN, "options": {"x": value}}
    if flags is None:
        with pytest.raises(RecipeError, match="x wants a"):
            line_of(found, **given)
        return
    assert line_of(found, **given)[4:] == flags


def test_r02_no_recipe_replaces_what_the_host_gives():
    found = replace(the(recipe("1.0")), environment={"HOME": "/evil", "PATH": "/evil"})

    environment = engine_environment(found, {"PATH": "/bin", "SECRET": "x"}, Path("/p"))

    assert environment == {"HOME": "/p/home", "TMPDIR": "/p/tmp", "PATH": "/bin"}
