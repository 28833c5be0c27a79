"""What the usage templates say of numbers, columns and people.

Rows that come by the dozen are put together here: a loop of template tags costs several times that.
"""

from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.templatetags.ui import bar
from accounts.ui.numbers import grouped
from usage import labels
from usage.chart import Chart
from usage.money import amount
from usage.reports.overview import Column, Line, Overview
from usage.reports.people import Person

register = template.Library()
_CELLS = (
    '<td class="num c-sm">{}</td><td class="num c-md">{}</td><td class="num c-md">{}</td>'
    '<td class="num c-md">{}</td><td class="c-sm w-bar">{}</td><td class="num strong">{}</td>'
)
_COLUMN = (
    '<tr data-prompt="{}" data-completion="{}" data-readout="{}"><th scope="row">{}</th>'
    '<td class="num">{}</td><td class="num">{}</td><td class="num">{}</td></tr>'
)


@register.simple_tag
def money(nano: int, currency: str) -> SafeString:
    """`$1.97`; the exact number of 10⁻⁹ of the currency is its `value`."""
    return format_html('<data value="{}">{}</data>', nano, amount(nano, currency))


@register.simple_tag
def exactly(number: int) -> SafeString:
    """A count in the reader's grouping; the plain number is its `value`."""
    return format_html('<data value="{}">{}</data>', number, grouped(number))


@register.simple_tag
def sum_cells(line: Line, currency: str) -> SafeString:
    """A table row after its name: requests, prompt, completion, cost, share, total."""
    sums = line.sums
    counts = (exactly(each) for each in (sums.requests, sums.prompt, sums.completion))
    cost = money(sums.cost, currency)
    return format_html(_CELLS, *counts, cost, bar(line.share, ""), exactly(sums.total))


@register.simple_tag
def column_rows(overview: Overview) -> SafeString:
    """The table behind a chart, newest first; the chart's module reads its `data-`."""
    rows = []
    for each in reversed(overview.columns):
        sums = each.sums
        counts = (grouped(number) for number in (sums.prompt, sums.completion, sums.total))
        words = (labels.readout(each), labels.long(each))
        rows.append((sums.prompt, sums.completion, *words, *counts))
    return format_html_join("", _COLUMN, rows)


@register.simple_tag
def chart_bars(chart: Chart) -> SafeString:
    """The rectangles of the server's picture."""
    one = '<rect class="{}" x="{}" y="{}" width="6.8" height="{}"/>'
    return format_html_join("", one, ((b.kind, b.x, b.y, b.height) for b in chart.bars))


@register.filter
def short(column: Column) -> str:
    return labels.short(column)


@register.filter
def long(column: Column) -> str:
    return labels.long(column)


@register.filter
def readout(column: Column) -> str:
    return labels.readout(column)


@register.filter
def person_words(person: Person) -> tuple[str, str]:
    """Name and second line, of nobodies too."""
    return labels.nobody_words(person.user_id) or (person.name, person.email)


@register.filter
def href_of(wanted: Any, user_id: str) -> str:
    """The page with this person opened, or closed where they are open."""
    return str(wanted.href(user="" if wanted.user_id == user_id else user_id))
