"""The admins' pages about everybody: list, approval, rights, quotas (R-24, R-29, R-40, E-17 to E-27)."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import runtime
from accounts.models import AuditRecord, User
from accounts.tests.test_pages import form
from tests.people import PASSWORD, Api, sign_in
from usage.models import QuotaRule
from usage.people import listing

HOSTILE = '<img src=x onerror=alert(1)>"\u202e{{ 7 }}'
LIST = "/app/users"
NOWHERE = "00000000-0000-4000-8000-000000000000"


def text_of(answer):
    return answer.content.decode()


@pytest.fixture
def strict(alice):
    """Alice, an admin, in a browser whose forms are checked for their token."""
    api = sign_in(alice)
    api.client.handler.enforce_csrf_checks = True
    return api


@pytest.fixture
def lin(make_user, alice):
    return make_user("lin@example.org", status="pending")


def people(first, past):
    made = [
        User(email=f"p{i:05}@example.net", name=f"Person {i:05}", status="active")
        for i in range(first, past)
    ]
    return User.objects.bulk_create(made)


@pytest.mark.parametrize("path", ["", "/invites", "/audit", f"/{NOWHERE}", f"/{NOWHERE}/delete"])
def test_r24_the_pages_are_for_admins(path, as_bob):
    user, anonymous = as_bob.get(LIST + path), Api().get(LIST + path)

    assert (user.status_code, user.headers["location"]) == (302, "/app?notice=admins_only")
    assert anonymous.headers["location"].startswith("/login?next=%2Fapp%2Fusers")


@pytest.mark.parametrize("path", ["role", "status", "password", "delete"])
def test_r24_an_ordinary_users_posts_change_nothing(path, as_bob, mallory):
    data = {"role": "admin", "status": "disabled", "password": PASSWORD}
    answer = as_bob.client.post(f"{LIST}/{mallory.pk}/{path}", data)

    assert answer.status_code == 403
    after = User.objects.get(pk=mallory.pk)
    assert (after.role, after.status) == ("user", "active")


def test_nobody_is_there_for_an_unknown_id(strict):
    for path in ("", "/password", "/delete"):
        assert strict.get(f"{LIST}/{NOWHERE}{path}").status_code == 404
    for path, data in (("role", {"role": "admin"}), ("status", {"status": "active"})):
        answer = form(strict, f"{LIST}/{NOWHERE}/{path}", LIST, **data)
        assert answer.status_code == 302
    assert "This account is not there any more." in text_of(strict.get(LIST))


def test_hostile_names_and_addresses_are_text(strict, bob, lin):
    User.objects.filter(pk=bob.pk).update(name=HOSTILE, email='"<svg/onload=x>"@example.org')
    User.objects.filter(pk=lin.pk).update(name=HOSTILE)

    for path in ("", f"/{bob.pk}", f"/{bob.pk}/password", f"/{bob.pk}/delete"):
        shown = text_of(strict.get(LIST + path))
        assert "<img src=x" not in shown
        assert "<svg/onload" not in shown
        assert "&lt;img src=x" in shown


def test_search_filters_and_order_are_the_servers(strict, alice, bob, make_user):
    make_user("zoe@example.org", status="disabled")
    User.objects.filter(pk=bob.pk).update(name="Robert Ångström")

    def names(query):
        shown = text_of(strict.get(f"{LIST}?{query}"))
        return re.findall(r'<span class="sub cut"><bdi>([^<]+)</bdi>', shown)

    assert names("q=robert") == ["bob@example.org"]
    assert names("q=BOB%40example") == ["bob@example.org"]
    assert names("q=100%25") == []
    assert names("role=admin") == ["alice@example.org"]
    assert names("status=disabled") == ["zoe@example.org"]
    assert names("sort=-name")[0] == "zoe@example.org"
    assert names("role=x&status=x&sort=x&page=x") == names("")
    assert "Nobody found" in text_of(strict.get(f"{LIST}?q=%25_%27"))


def test_r29_last_seen_is_the_latest_use_or_sign_in(strict, alice, bob, make_user):
    now, never = timezone.now(), make_user("never@example.org")
    used, signed_in = now - timedelta(days=2), now - timedelta(days=4)
    User.objects.filter(pk=bob.pk).update(last_login=signed_in, last_seen_at=used)
    User.objects.filter(pk=alice.pk).update(last_login=now, last_seen_at=None)

    bob.refresh_from_db()
    (row,) = listing.rows([bob], self_id="")
    assert row.last_seen == used
    for sort, wanted in (("-seen", [alice, bob, never]), ("seen", [never, bob, alice])):
        assert [user.pk for user in listing.found(listing.Choice(sort=sort))] == [
            user.pk for user in wanted
        ]


def test_r40_one_is_approved_from_their_row(strict, lin):
    answer = form(strict, f"{LIST}/waiting", LIST, approve=str(lin.pk))

    assert (answer.status_code, answer.headers["location"]) == (302, LIST)
    assert User.objects.get(pk=lin.pk).status == "active"
    assert "1 person approved." in text_of(strict.get(LIST))


def test_r40_declining_deletes_and_is_recorded(strict, lin, bob):
    form(strict, f"{LIST}/waiting", LIST, decline=str(lin.pk))

    assert not User.objects.filter(pk=lin.pk).exists()
    assert AuditRecord.objects.filter(subject_id=str(lin.pk)).exists()

    form(strict, f"{LIST}/waiting", LIST, decline=str(bob.pk))
    assert User.objects.filter(pk=bob.pk).exists()  # who does not wait is not declined


def test_r40_several_are_answered_at_once(strict, make_user, alice):
    waiting = [make_user(f"w{n}@example.org", status="pending") for n in range(3)]
    first = [str(each.pk) for each in waiting[:2]]

    form(strict, f"{LIST}/waiting", LIST, do="approve", user=[*first, "no id", NOWHERE])

    states = list(User.objects.order_by("email").values_list("status", flat=True))
    assert states == ["active", "active", "active", "pending"]
    form(strict, f"{LIST}/waiting", LIST, do="decline", user=[str(waiting[2].pk)])
    assert not User.objects.filter(pk=waiting[2].pk).exists()
    form(strict, f"{LIST}/waiting", LIST, do="approve")
    assert "Nobody is selected." in text_of(strict.get(LIST))


def test_e18_and_e19_role_and_state(strict, bob):
    form(strict, f"{LIST}/{bob.pk}/role", LIST, role="admin")
    assert User.objects.get(pk=bob.pk).role == "admin"
    form(strict, f"{LIST}/{bob.pk}/role", LIST, role="user")
    form(strict, f"{LIST}/{bob.pk}/status", LIST, status="disabled")
    after = User.objects.get(pk=bob.pk)
    assert (after.role, after.status) == ("user", "disabled")
    form(strict, f"{LIST}/several", LIST, do="enable", user=[str(bob.pk)])
    assert User.objects.get(pk=bob.pk).status == "active"
    assert AuditRecord.objects.filter(action="role_changed").count() == 2
    assert AuditRecord.objects.filter(action="status_changed").count() == 2


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("{}/role", {"role": "user"}),
        ("{}/status", {"status": "disabled"}),
        ("{}/delete", {}),
        ("{}/password", {"password": PASSWORD}),
        ("several", {"do": "disable", "user": "{}"}),
    ],
)
def test_e18_nobody_changes_their_own_account_here(strict, alice, make_user, path, data):
    make_user("other@example.org", role="admin")
    data = {name: value.format(alice.pk) for name, value in data.items()}

    form(strict, f"{LIST}/{path.format(alice.pk)}", LIST, **data)

    after = User.objects.get(pk=alice.pk)
    assert (after.role, after.status) == ("admin", "active")
    assert after.check_password(PASSWORD)
    assert "Your own account is left as it is." in text_of(strict.get(LIST))


def test_s08_the_last_admin_stays_one(alice, bob):
    """The legacy key is an admin without an account: it alone could demote the last one."""
    legacy = Api(key="legacy-key-one")
    for path, data in (
        ("role", {"role": "user"}),
        ("status", {"status": "disabled"}),
        ("delete", {}),
    ):
        legacy.client.post(f"{LIST}/{alice.pk}/{path}", data, headers=legacy.headers)

    after = User.objects.get(pk=alice.pk)
    assert (after.role, after.status) == ("admin", "active")


def test_e20_a_password_is_reset(strict, bob):
    path = f"{LIST}/{bob.pk}/password"
    weak = form(strict, path, password="password12345")
    assert weak.status_code == 422
    assert "Use this password anyway" in text_of(weak)

    answer = form(strict, path, password="a wholly different phrase")

    assert (answer.status_code, answer.headers["location"]) == (302, LIST)
    after = User.objects.get(pk=bob.pk)
    assert after.must_change_password
    assert after.check_password("a wholly different phrase")


def test_e21_a_person_is_asked_about_and_then_deleted(strict, bob):
    path = f"{LIST}/{bob.pk}/delete"
    assert "This cannot be undone." in text_of(strict.get(path))
    assert User.objects.filter(pk=bob.pk).exists()

    answer = form(strict, path)

    assert answer.status_code == 302
    assert not User.objects.filter(pk=bob.pk).exists()
    assert AuditRecord.objects.filter(action="user_deleted").count() == 1


def test_over_the_list_a_form_is_a_dialog_and_answers_where_to_go(strict, bob):
    path = f"{LIST}/{bob.pk}/delete"
    shown = text_of(strict.get(path, x_over="1"))
    assert shown.lstrip().startswith("<dialog")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', shown)[1]

    answer = strict.client.post(path, {"csrfmiddlewaretoken": token}, headers={"x-over": "1"})

    assert (answer.status_code, answer.headers["x-go"]) == (204, LIST)
    assert "The account is deleted." in text_of(strict.get(LIST))


def test_10000_people_cost_no_more_queries_than_three(strict, bob, lin):
    people(0, 3)
    QuotaRule.objects.create(user=bob, window_s=3600, max_requests=1)
    queries = ("", "?q=p0&sort=-seen&page=7", "?role=user&status=active&page=100")
    strict.get(LIST)
    few = []
    for query in queries:
        with CaptureQueriesContext(connection) as counted:
            assert strict.get(LIST + query).status_code == 200
        few.append(len(counted))
    people(3, 10_000)
    User.objects.filter(email__startswith="p099").update(status="pending")

    for query, before in zip(queries, few, strict=True):
        with CaptureQueriesContext(connection) as counted:
            assert strict.get(LIST + query).status_code == 200
        assert len(counted) == before
    assert "1 to 25 of" in text_of(strict.get(LIST))


def test_g07_without_accounts_the_pages_are_not_there(db, settings):
    settings.GATEHOUSE = settings.GATEHOUSE.model_copy(update={"auth": False, "api_key": []})
    runtime.forget_auth_mode()
    try:
        for path in (LIST, f"{LIST}/invites", f"{LIST}/audit", "/app/account"):
            assert Api().get(path, accept="text/html").status_code == 404
        assert b'href="/app/users"' not in Api().get("/app").content
    finally:
        runtime.forget_auth_mode()
