"""The answer's sentences: one for each shape that results can have."""

import pytest
from attribench.plots.captions import listing
from attribench.report.answer import answers, difference_text, p_text, plain_number
from helpers.standings import made_standings

GOOD, MIXED, SWAPPED, BAD = [1] * 12, [1, 2] * 6, [2, 1] * 6, [60] * 12
NEAR = [2, 1] * 5 + [2, 2]
CHANCE = [90, 3, 70, 50, 20, 30, 60, 80, 40, 10, 100, 55]


def answer(ranks, **options):
    [only] = answers(made_standings(ranks, **options), {"tuned": ["zoo_train"]}, 1000)
    return only


def sure(found):
    return " ".join(found.sure)


def details(found, prompt_type="gpt"):
    return " ".join(dict(found.details)[prompt_type])


def test_a_clear_winner():
    found = answer({"bad": {"gpt": BAD}, "good": {"gpt": GOOD}, "worse": {"gpt": CHANCE}})
    assert found.use == "Use good"
    assert found.why == "good has the highest mAP: 1.000 with gpt prompts."
    assert sure(found).startswith("With gpt prompts, good has +0.9")
    assert sure(found).endswith("It is ahead of worse and bad.")
    text = details(found)
    assert text.startswith("good has the highest mAP, 1.000 (95 % interval 0.")
    assert "a random ranking has 0.05" in text
    assert "It is ahead of worse by 0.9" in text and "cannot be told" not in text


def test_a_winner_on_every_prompt_type_names_both_values():
    found = answer({"bad": {"gpt": BAD, "object": BAD}, "good": {"gpt": GOOD, "object": MIXED}})
    assert (
        found.why
        == "good has the highest mAP with every prompt type: 1.000 with gpt prompts and 0.750 with object prompts."
    )
    assert [sentence.split(",")[0] for sentence in found.sure] == ["With gpt prompts", "With object prompts"]


def test_a_tie_names_whom_the_best_cannot_be_told_from():
    found = answer({"a": {"gpt": MIXED}, "b": {"gpt": NEAR}, "c": {"gpt": BAD}})
    assert found.use == "Use a or b"
    assert sure(found).startswith("With gpt prompts, a has +0.042 mAP [\N{MINUS SIGN}0.")
    assert sure(found).endswith("over the next, b. It is ahead of c; not told apart from b.")
    assert "It cannot be told from the next: it leads b by 0.042 [" in details(
        found
    ) and "this interval holds 0" in details(found)


def test_many_ties_are_counted():
    found = answer({f"m{i}": {"gpt": NEAR if i else MIXED} for i in range(4)})
    assert found.use == "Use m0, or one of 3 others that cannot be told from it at the 95 % level"


def test_a_tie_with_one_prompt_type_says_with_which():
    found = answer({"a": {"gpt": MIXED, "object": GOOD}, "b": {"gpt": NEAR, "object": BAD}})
    assert found.use == "Use a"
    assert [sentence.split("It is ")[1] for sentence in found.sure] == ["not told apart from b.", "ahead of b."]


def test_a_lead_that_holms_adjustment_takes_away_is_likely():
    """a and b, and c and d, differ in 6 of 9 entries: of 2^6 sign vectors 2 are as extreme, twice that after Holm."""
    a, b, c, d = [1] * 9, [1] * 3 + [2] * 6, [60] * 9, [60] * 3 + [61] * 6
    found = answer({"a": {"gpt": a}, "b": {"gpt": b}, "c": {"gpt": c}, "d": {"gpt": d}})
    assert sure(found).endswith("It is ahead of c and d; likely ahead of b.")
    assert "It is likely ahead of b by 0.333 [" in details(found)
    assert "of 6 pairs that are compared at once" in details(found) and "(p 0.062)" in details(found)
    assert "may do so by chance" in details(found) and "by Holm's method; intervals are not" in details(found)


def test_another_leader_for_each_prompt_type():
    found = answer({"a": {"gpt": GOOD, "object": BAD}, "b": {"gpt": BAD, "object": GOOD}})
    assert found.use == "It depends on the prompt type"
    assert found.why == "Highest mAP: a (1.000) with gpt prompts; b (1.000) with object prompts."
    assert found.sure[0].startswith("With gpt prompts, a has +") and found.sure[0].endswith("It is ahead of b.")
    assert found.sure[1].endswith("over the next, a. It is ahead of a.")


def test_equal_methods_are_all_the_best():
    found = answer(
        {f"m{i}": {"gpt": GOOD, "GPT two": MIXED} for i in range(12)} | {"bad": {"gpt": BAD, "GPT two": BAD}}
    )
    assert found.use == "Use m0, or one of 11 others that cannot be told from it at the 95 % level"
    assert found.why.startswith("m0, m1 and 10 others have the same highest mAP with every prompt type: 1.000 with gpt")
    assert found.sure[1].startswith("With GPT two prompts, m0 has 0.000 mAP [")
    assert found.sure[1].endswith("] over its equal, m1. It is likely ahead of bad.")
    text = details(found)
    assert text.startswith("m0, m1 and 10 others have the same highest mAP, 1.000; a random ranking has 0.05")
    assert "m0 is likely ahead of bad by 0.98" in text and "more by" not in text and "cannot be told" not in text


def test_equal_with_one_prompt_type_and_ahead_with_the_other():
    found = answer({"a": {"gpt": GOOD, "object": MIXED}, "b": {"gpt": GOOD, "object": GOOD}})
    assert found.why.startswith("b has the highest mAP with every prompt type: 1.000")


@pytest.mark.parametrize(
    ("ranks", "use", "why", "doubt"),
    [
        ({"gpt": GOOD, "object": GOOD}, "One method, better than chance", "1.000 with gpt", ""),
        ({"gpt": GOOD, "object": BAD}, "One method, better than chance with gpt prompts only", "1.000 with gpt", ""),
        ({"gpt": BAD}, "One method, not shown to be better than chance", "0.017 with gpt", ""),
        (
            {"gpt": [60] * 3},
            "One method, not shown to be better than chance",
            "0.017 with gpt",
            "3 entries are too few",
        ),
    ],
)
def test_one_method_alone_is_compared_with_chance(ranks, use, why, doubt):
    found = answer({"a": ranks})
    assert found.use == use and found.why.startswith(f"a has mAP {why} prompts")
    assert found.why.endswith("a random ranking has " + " and ".join(["0.051"] * len(ranks)) + ".")
    assert sure(found).startswith(doubt) and sure(found).endswith("It is the only method here: it cannot be compared.")
    assert details(found).startswith("a has mAP ")


def test_none_better_than_chance():
    found = answer({"a": {"gpt": CHANCE}, "b": {"gpt": BAD}})
    assert found.use == "None of them" and found.why.startswith("a has the highest mAP: 0.0")
    assert "No method is shown to be better than chance" in sure(found)
    assert "So it is not shown to be better than chance." in details(found)


@pytest.mark.parametrize(("n", "few"), [(5, "5 entries are too few"), (1, "1 entry is too few")])
def test_few_entries(n, few):
    found = answer({"a": {"gpt": [1] * n}, "b": {"gpt": [60] * n}})
    assert found.use == "Perhaps a" and sure(found).startswith(f"We are not: {few} for intervals")
    assert f"there are too few entries ({n}) for an interval" in details(found)


def test_a_method_tuned_on_the_split_is_said_to_be():
    found = answer({"a": {"gpt": GOOD}, "b": {"gpt": BAD}}, seen="train")
    assert "tuned on this split, which flatters it" in details(found) and "tuned on this split" in sure(found)
    assert "tuned on this split" not in sure(answer({"a": {"gpt": GOOD}}, seen="no"))


def test_the_best_that_has_a_mapper_stands_beside_the_best_without():
    ranks = {
        "a": {"gpt": MIXED, "object": BAD},
        "a_tuned": {"gpt": GOOD, "object": GOOD},
        "b": {"gpt": BAD, "object": MIXED},
    }
    assert answer(ranks).why.endswith(
        " It was tuned with one seed on this benchmark's zoo_train. "
        "Without tuning: a (0.750 with gpt prompts); b (0.750 with object prompts)."
    )
    given = answer({"a": {"gpt": BAD}, "a_given": {"gpt": GOOD}}).why
    assert given.endswith("It was tuned elsewhere. Without tuning: a (0.017 with gpt prompts).")
    assert "tun" not in answer({"a": {"gpt": GOOD}, "a_tuned": {"gpt": BAD}}).why


@pytest.mark.parametrize(
    ("p_value", "p_holm", "text"),
    [
        (1 / 10_001, 10 / 10_001, "p \N{LESS-THAN OR EQUAL TO} 0.001"),
        (1 / 10_001, 45 / 10_001, "p \N{LESS-THAN OR EQUAL TO} 0.005"),
        (2 / 10_001, 20 / 10_001, "p 0.002"),
        (2**-13, 2**-13, "p < 0.001"),
        (0.008, 0.08, "p 0.080"),
    ],
)
def test_p_has_three_digits_and_says_where_the_test_gives_none_smaller(p_value, p_holm, text):
    assert p_text(p_value, p_holm, 1 / 10_001) == text


def test_another_metric_that_disagrees_is_named():
    """a is first half the time and far otherwise; b is always sixth, so never among the first five but always near."""
    ranks = {"a": {"gpt": [1, 60] * 6}, "b": {"gpt": [6] * 12}}
    found = answer(ranks, recall_ks=(5, 10))
    assert found.use == "Use a" and "By recall@10, b is highest instead." in details(found)
    assert "By recall@5" not in details(found)


def test_of_many_methods_only_some_are_listed():
    found = answer({"good": {"gpt": [1] * 20}} | {f"m{i}": {"gpt": [20 + i] * 20} for i in range(7)})
    assert "and 3 more by as much or more" in details(found)
    assert sure(found).endswith("It is ahead of m0, m1, m2, m3 and 3 others.")


def test_numbers_are_written_alike():
    assert plain_number(-0.0001) == "0.000" and plain_number(-0.25) == "\N{MINUS SIGN}0.250"
    assert difference_text(0.5, float("nan"), float("nan")) == "0.500"
    assert difference_text(0.5, -0.1, 1) == "0.500 [\N{MINUS SIGN}0.100, 1.000]"
    assert [listing(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
