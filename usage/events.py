"""What happens to recorded events besides being added and read."""

from collections.abc import Sequence
from uuid import UUID

from accounts.models import User
from usage.journal import Record
from usage.models import UsageEvent

UUID_CHARS = 36  # the legacy key and the single user have shorter ids
DELETED_ID, DELETED_NAME = "deleted", "Deleted user"


def forget_user(user_id: UUID) -> None:
    """Make the events of a deleted account nobody's: totals stay, the name goes (S-19)."""
    UsageEvent.objects.filter(user_id=str(user_id)).update(
        user_id=DELETED_ID, user_name=DELETED_NAME, api_key_id=None, api_key_name=None
    )


def give_up_names_of_the_deleted(records: Sequence[Record]) -> None:
    """What accounts left in the journal that were deleted meanwhile becomes nobody's, too (S-19)."""
    owners = {record["u"] for record in records if len(record["u"]) == UUID_CHARS}
    there = {str(pk) for pk in User.objects.filter(pk__in=owners).values_list("pk", flat=True)}
    gone = owners - there
    for record in records:
        if record["u"] in gone:
            record.update(u=DELETED_ID, un=DELETED_NAME, ki=None, kn=None)
