"""How much of everything a conversation may hold, and how often an answer is written down."""

KIB, MIB = 1024, 1024 * 1024

MAX_CONVERSATIONS = 10_000  # of one person
MAX_MESSAGES = 20_000  # of one conversation, on all its branches
MAX_TITLE_CHARS = 200
TITLE_FROM_WORDS_CHARS = 60  # of a title that is made of the first message
MAX_SYSTEM_CHARS = 32 * KIB
MAX_TEXT_CHARS = 256 * KIB  # of what a person writes, and of one text file
MAX_ANSWER_CHARS = 1 * MIB
MAX_FILES = 8  # of one message
MAX_FILE_NAME_CHARS = 255
MAX_IMAGE_BYTES = 4 * MIB
MAX_IMAGES_BYTES = 6 * MIB  # of one message; as base64 it goes to the engine with others
MAX_SEARCH_CHARS = 200
MAX_SEED = 2**63 - 1
MAX_KEY_CHARS = 64  # of what a client calls one request of its own
MAX_MAX_TOKENS = 1_000_000

# What goes to an engine: `inference.request_rules` takes no more messages and images.
MAX_SENT_MESSAGES = 2_000
MAX_SENT_IMAGES = 16
MAX_SENT_CHARS = 4 * MIB
MAX_SENT_IMAGE_BYTES = 8 * MIB  # as base64, of all of them together

CHATS_A_PAGE, MAX_CHATS_A_PAGE = 50, 200
MESSAGES_A_PAGE, MAX_MESSAGES_A_PAGE = 50, 200
MAX_PAGE_CHARS = 4 * MIB  # a page of messages ends sooner, where they are this long

MAX_ANSWERS_AT_ONCE = 8  # of one person
MAX_ANSWERS_A_WORKER = 256
MAX_WATCHERS_A_WORKER = 256
ANSWER_TIMEOUT_S = 3600.0
VERDICT_S = 2.0  # how long a caller waits to be told that the answer cannot begin

FLUSH_S = 0.25  # at most so often is one answer written down,
FLUSH_CHARS = 16 * KIB  # and for each so many characters of it a quarter of a second less often
MAX_FLUSH_S = 2.0
LEASE_S, LEASE_EVERY_S = 20.0, 5.0
