"""R-10: YAML from elsewhere is plain data, and every fault has its line."""

import time

import pytest

from core.strict_yaml import YamlError, read_yaml


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "twice"),
        ("x:\n  - a: 1\n    a: 2\n", 3, "twice"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "expected"),
        ("a: &x 1\nb: *x\n", 2, "aliases"),
        ("a: 1\nb: !!python/object/apply:os.system [id]\n", 2, "tag"),
        ("a: 1\nb: !!binary aGk=\n", 2, "tag"),
        ("? [1, 2]\n: 3\n", 1, "key"),
        ("a: 1\n--- \nb: 2\n", 2, "document"),
        ("[" * 50, 1, "deep"),
        ("a: 1\n\tb: 2\n", 2, "tab"),
        ("a: \x00", 0, "character"),
        ('a: 1\nb: !!int ""\n', 2, "not a value"),
        ('a: 1\nb: !!float ""\n', 2, "not a value"),
        ("a: 1\nb: !!bool foo\n", 2, "not a value"),
        ("a: 1\nb: !!map foo\n", 2, "not a value"),
        ("a: 1" + ":59" * 300 + ".5\n", 1, "not a value"),  # more than a float holds
        ("a: 0x" + "f" * 5000, 1, "not a value"),
        ('a: "\\U00110000"\n', 1, "character"),
    ],
)
def test_r10_a_fault_is_named_with_its_line(text, line, words):
    with pytest.raises(YamlError) as caught:
        read_yaml(text)

    assert words in caught.value.message
    assert caught.value.line == line


def test_a_bomb_of_aliases_is_refused_before_it_is_built():
    bomb = "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(40))

    with pytest.raises(YamlError):
        read_yaml(bomb)
    with pytest.raises(YamlError):
        read_yaml("a: " + "x" * (5 * 1024 * 1024))


def test_a_number_of_many_digits_takes_no_time():
    began = time.monotonic()

    with pytest.raises(YamlError):
        read_yaml("a: 1" + ":59" * 1_000_000)

    assert time.monotonic() - began < 2


def test_plain_data_comes_out_with_its_lines():
    document = read_yaml("# one\n- name: x\n  files:\n    - uri: y\n  day: 2026-11-26\n- 1\n")

    assert document.data == [{"name": "x", "files": [{"uri": "y"}], "day": "2026-11-26"}, 1]
    assert document.line_of((0, "files", 0, "uri")) == 4
    assert document.line_of((0, "files", 0, "missing")) == 4
    assert document.line_of((1,)) == 6
    assert read_yaml("").data is None
