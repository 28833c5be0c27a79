import pytest

from core.keyring import Keyring

OLD, NEW = "o" * 32, "n" * 32


def test_a_value_signed_with_an_old_secret_is_still_good_after_rotation():
    signed = Keyring([OLD], "session").sign("abc")

    assert Keyring([NEW, OLD], "session").unsign(signed) == "abc"
    assert Keyring([NEW], "session").unsign(signed) is None


@pytest.mark.parametrize(
    "change", [lambda s: s[:-1] + ("0" if s[-1] != "0" else "1"), lambda s: "x" + s, lambda s: ""]
)
def test_a_changed_value_is_refused(change):
    ring = Keyring([OLD], "session")

    assert ring.unsign(change(ring.sign("abc"))) is None


def test_digests_for_two_purposes_differ():
    assert Keyring([OLD], "session").digest("a") != Keyring([OLD], "api-key").digest("a")


@pytest.mark.parametrize("secrets", [[], [""], ["short"], [OLD, ""]])
def test_an_empty_or_short_secret_never_makes_a_key(secrets):
    with pytest.raises(ValueError, match="32 characters"):
        Keyring(secrets, "session")
