"""The usage page as tests read it, and usage to show on it."""

import re
from datetime import UTC, datetime, timedelta

from usage.drain import journal_folder
from usage.journal.writer import Journal
from usage.tests.books import event, record

PAGE = "/app/usage"
PERIODS = ("day", "week", "month", "all")


def page_of(api, path=PAGE, status=200):
    answer = api.get(path, accept="text/html")
    assert answer.status_code == status, answer.content[:2000]
    return answer.content.decode()


def values(html, part):
    """The exact numbers (`<data value>`) of a part of the page, by its id."""
    begin = html.index(f'id="{part}"')
    end = min(html.index(tag, begin) for tag in ("</section>", "</dl>") if tag in html[begin:])
    return [int(value) for value in re.findall(r'<data value="(\d+)"', html[begin:end])]


def lines(html, part):
    """The rows of a table by id: their names' text and exact numbers."""
    begin = html.index(f'id="{part}"')
    rows = re.findall(r"<tr>(.*?)</tr>", html[begin : html.index("</section>", begin)], re.DOTALL)
    found = {}
    for row in rows:
        numbers = [int(value) for value in re.findall(r'<data value="(\d+)"', row)]
        if numbers:
            found[re.search(r"<bdi>([^\s<]+)", row)[1]] = numbers
    return found


def some_usage(user, now=None):
    now, mine = now or datetime.now(UTC), {"u": str(user.pk), "un": user.name}
    event(now, **mine, p=1_000, c=234, ki="k1", kn="ci-runner")
    event(now - timedelta(hours=3), **mine, p=50, c=7, s="web", ki=None, kn=None, m="other")
    event(now - timedelta(days=3), **mine, p=11, c=0, s="web", ki=None, kn=None)
    event(now - timedelta(days=12), **mine, p=13, c=1, ki="k2", kn="laptop")
    event(now - timedelta(days=60), **mine, p=17, c=2)
    event(now, **mine, p=0, c=0, n=False, st=503)


def journal_of(*records):
    """As a worker writes them, and ends."""
    journal = Journal(journal_folder())
    for fields in records:
        journal.write(record(**fields))
    journal.close()
