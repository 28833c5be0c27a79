"""docs/contract-coverage.md says what the tests say."""

import ast

from tests.contract_coverage import PAGE, named_in, page, unnumbered_in


def test_the_page_is_current():
    assert PAGE.read_text() == page(), "run python -m tests.contract_coverage"


def test_rows_are_found_in_names_and_docstrings():
    assert named_in("test_w09_another_model") == {"W-09"}
    assert named_in("test_e33_to_e36_without") == {"E-33", "E-34", "E-35", "E-36"}
    assert named_in("test_c11_s07_and_s28_x S-40") == {"C-11", "S-07", "S-28", "S-40"}
    assert named_in("test_three_of_12") == set()


def test_routes_and_settings_are_found_in_a_tests_texts():
    source = """
@parametrize("row", ["SET:cors"])
def test_x():
    'GET /api/models/job/:uid: what the UI polls, and POST /models/apply.'
"""
    found = unnumbered_in(ast.parse(source).body[0])
    assert found == {"SET:cors", "GET /api/models/job/:uid", "POST /models/apply"}
