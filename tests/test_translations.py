"""Translations: whole, true to the sources, and no answer of the API is translated."""

import ast
import gettext
import re
import shutil
import subprocess
import sys

import pytest

from accounts.management.commands.makemessages import SHORT_NAMES
from tests.catalogues import Entry, entries
from tests.servers import ROOT
from tests.template_texts import unmarked

CATALOGUES = sorted((ROOT / "locale").glob("*/LC_MESSAGES/django.po"))
EACH = pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda each: each.parent.parent.name)
TEMPLATES = ROOT / "templates"
# Where the contract's wording is made. Nothing in there may ever ask for a translation.
FOR_PROGRAMS = ["core", "accounts/api", "accounts/openapi", "inference/api", "usage/api"]
# Pages in English alone: the document of the API.
ENGLISH_PAGES = {"accounts/swagger.html"}
# The same in every language: names, samples, classes of the page's layout.
SAME_EVERYWHERE = re.compile(
    r"[\s·␠,]*(Gatehouse|curl|Python|JavaScript|YAML|JSON|CSV|UTC|https://|wide|drawer"
    r"|notebook|ci-runner|lai-0a1b2c3d…?|qwen3-8b)?[\s·␠,]*"
)
SAMPLES = re.compile(r"name: my-model|Qwen/Qwen3|main$|name==|name/model/$|[\w-]+=\"")
_TAGS = re.compile(r"</?[a-z][^>]*>")
_PLACES = re.compile(r"%\(\w+\)[a-z]|%%|\{\w*\}|`[^`]+`|https?://\S+\w")


def texts_of(path):
    with path.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    return {key: value for key, value in catalogue._catalog.items() if key}


def fixed_parts(text):
    """What a translation may move and never change: placeholders and tags."""
    return sorted(_TAGS.findall(text)), sorted(set(_PLACES.findall(text)))


@EACH
def test_the_compiled_catalogue_is_the_written_one(catalogue, tmp_path):
    if shutil.which("msgfmt") is None:
        pytest.skip("gettext is not installed on this machine")
    made = tmp_path / "made.mo"
    checked = ["msgfmt", "--check-format", "-o", str(made), str(catalogue)]
    subprocess.run(checked, check=True, capture_output=True)

    assert texts_of(made) == texts_of(catalogue.with_suffix(".mo"))


@EACH
def test_every_text_is_translated_and_none_is_a_guess(catalogue):
    found = entries(catalogue.read_text())
    assert len(found) > 1000
    assert [each.msgid for each in found if not all(each.msgstr)] == []
    assert [each.msgid for each in found if "fuzzy" in each.flags] == []
    assert [each.msgid for each in found if each.plural and len(each.msgstr) != 2] == []


@EACH
def test_placeholders_and_tags_are_those_of_the_english_text(catalogue):
    differing = []
    for each in entries(catalogue.read_text()):
        allowed = [fixed_parts(text) for text in (each.msgid, each.plural) if text]
        # A singular may say "one"; a plural has the plural's.
        for text, sources in zip(each.msgstr, (allowed, allowed[-1:]), strict=False):
            if fixed_parts(text) not in sources:
                differing.append((each.msgid, text))
    assert differing == []


@EACH
def test_edges_are_those_of_the_english_text(catalogue):
    """A full stop, a question mark, a space at the end: labels stay labels, sentences sentences."""

    def edges(text):
        return text[:1].isspace(), text[-1:] if text[-1:] in " .?!:…" else ""

    found = [each for each in entries(catalogue.read_text()) if each.context != "date format"]
    colons = {each.msgid for each in found if each.context == "before a name"}
    differing = [
        (each.msgid, text)
        for each in found
        for text in each.msgstr
        if each.msgid not in colons and edges(text) != edges(each.msgid)
    ]
    assert differing == []


@EACH
def test_the_catalogue_has_what_the_sources_say_now(catalogue, tmp_path):
    if shutil.which("xgettext") is None:
        pytest.skip("xgettext is not installed on this machine (Debian: gettext)")
    gathered = gather_anew(catalogue, tmp_path)

    def keys(text):
        return {(each.context, each.msgid, each.plural) for each in entries(text)}

    committed = catalogue.read_text()
    assert keys(gathered) - keys(committed) == set(), "make messages, then translate"
    assert keys(committed) - keys(gathered) == set(), "make messages"


def gather_anew(catalogue, tmp_path):
    """What `make messages` makes of the sources, in a copy of them."""
    language = catalogue.parent.parent.name
    recipe = (ROOT / "Makefile").read_text()
    command = re.search(r"manage\.py (makemessages .*)", recipe).group(1).split()
    command[command.index("--locale") + 1] = language
    for name in ("accounts", "chat", "core", "inference", "usage", "localai_project", "templates"):
        ignored = shutil.ignore_patterns("tests", "__pycache__", "vendor")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("manage.py", "pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "locale").mkdir()
    subprocess.run([sys.executable, "manage.py", *command], cwd=tmp_path, check=True)
    return (tmp_path / catalogue.relative_to(ROOT)).read_text()


def test_gettext_has_only_names_that_gathering_knows():
    """A text behind another name would never be gathered and silently stay English."""
    known = {f"{kind}gettext{lazy}" for kind in ("", "n", "p", "np") for lazy in ("", "_lazy")}
    known.add("gettext_noop")
    unknown = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation":
                names = [(each.name, each.asname or each.name) for each in node.names]
                unknown += [
                    (str(path.relative_to(ROOT)), name)
                    for real, name in names
                    if "gettext" in real and name not in {*known, *SHORT_NAMES}
                ]
    assert unknown == []


def sources():
    apps = ("accounts", "chat", "core", "inference", "usage", "localai_project")
    return [
        each for app in apps for each in (ROOT / app).rglob("*.py") if "tests" not in each.parts
    ]


def test_every_visible_text_of_a_template_is_marked_for_translation():
    found = {
        str(path.relative_to(TEMPLATES)): texts
        for path in sorted(TEMPLATES.rglob("*.html"))
        if (texts := [each for each in unmarked(path.read_text()) if not is_same_everywhere(each)])
    }
    assert {name: texts for name, texts in found.items() if name not in ENGLISH_PAGES} == {}


def is_same_everywhere(text):
    bare = text.strip("\"'")
    words = re.split(r"[\s·,]+", bare)
    return all(SAME_EVERYWHERE.fullmatch(each) for each in words) or bool(SAMPLES.match(bare))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("<p>Hello {{ name }}</p>", ["Hello ␠"]),
        ('<p>{% translate "Hello" %}</p><p>{{ a }} · 12 %</p>', []),
        ("{% blocktranslate %}Hello{% endblocktranslate %}{% comment %}why{% endcomment %}", []),
        ('<a title="Back" href="/words">{{ x }}</a>', ["Back"]),
        ("<a title=\"{% translate 'Back' %}\" aria-label='{{ x }}'></a>", []),
        ('{% button label="New" icon="plus" %}{% button label=_("Old") %}', ['"New"']),
        ('{% codeblock label="curl" id="x" %}curl it{% endcodeblock %}<code>make</code>', []),
        (
            '<b data-confirm="Sure?">{% if a %}yes{% else %}{{ no }}{% endif %}</b>',
            ["Sure?", "yes␠"],
        ),
    ],
)
def test_unmarked_texts_are_found(source, found):
    assert unmarked(source) == found


def test_the_catalogue_is_read_as_gettext_reads_it():
    text = (
        'msgid ""\nmsgstr "head"\n\n#, fuzzy, python-format\nmsgctxt "c"\nmsgid "a \\"%(n)s\\""\n'
    )
    text += (
        'msgid_plural ""\n"two\\n"\nmsgstr[0] "x"\nmsgstr[1] "y"\n\n#~ msgid "old"\n#~ msgstr "z"\n'
    )
    only = Entry("c", 'a "%(n)s"', "two\n", ("x", "y"), {"fuzzy", "python-format"})
    assert entries(text) == [only]


@pytest.mark.parametrize("folder", FOR_PROGRAMS)
def test_what_programs_read_is_never_translated(folder):
    for path in (ROOT / folder).rglob("*.py"):
        assert not re.search(r"\bu?n?p?gettext|utils\.translation", path.read_text()), path
