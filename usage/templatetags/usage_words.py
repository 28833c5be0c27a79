"""What the usage templates say of numbers, columns and people.

Rows that come by the dozen are put together here: a loop of template tags costs several times that.
"""

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.templatetags.ui import bar
from accounts.ui.numbers import grouped
from usage import labels
from usage.chart import Chart
from usage.money import amount
from usage.reports.overview import Column, Line, Overview

register = template.Library()
_NUMBER = '<data value="{}">{}</data>'
_CELLS = (
    f'<td class="num c-sm">{_NUMBER}</td><td class="num c-md">{_NUMBER}</td>'
    f'<td class="num c-md">{_NUMBER}</td><td class="num c-md">{_NUMBER}</td>'
    f'<td class="c-sm w-bar">{{}}</td><td class="num strong">{_NUMBER}</td>'
)
_COLUMN = (
    '<tr data-prompt="{}" data-completion="{}" data-readout="{}"><th scope="row">{}</th>'
    '<td class="num">{}</td><td class="num">{}</td><td class="num">{}</td></tr>'
)


@register.simple_tag
def money(nano: int, currency: str) -> SafeString:
    """`$1.97`; the exact number of 10⁻⁹ of the currency is its `value`."""
    return format_html(_NUMBER, nano, amount(nano, currency))


@register.simple_tag
def exactly(number: int) -> SafeString:
    """A count in the reader's grouping; the plain number is its `value`."""
    return format_html(_NUMBER, number, grouped(number))


@register.simple_tag
def sum_cells(line: Line, currency: str) -> SafeString:
    """A table row after its name: requests, prompt, completion, cost, share, total."""
    sums = line.sums
    given = [
        text for n in (sums.requests, sums.prompt, sums.completion) for text in (n, grouped(n))
    ]
    given += [sums.cost, amount(sums.cost, currency), bar(line.share, "")]
    return format_html(_CELLS, *given, sums.total, grouped(sums.total))


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
