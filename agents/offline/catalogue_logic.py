"""Catalogue entries about relations, space, time and chance."""

from __future__ import annotations

from agents.offline.entries import NUMBER, WORD, YES_NO, Entry, Wording, rung

ENTRIES = (
    Entry(
        generator="family_relationships",
        title="Family ties",
        capability="following kinship through a family",
        asks="A family is described, and how two of its members are related is asked: {phrase}.",
        kind="text",
        levels=(
            rung("four people", min_family_size=4, max_family_size=4),
            rung("five or six people", min_family_size=5, max_family_size=6),
            rung("seven people", min_family_size=7, max_family_size=7),
            rung("eight people", min_family_size=8, max_family_size=8),
            rung("nine people", min_family_size=9, max_family_size=9),
        ),
        form="Give the word for the relation alone.",
        wordings=(
            Wording(
                "A family album",
                r"^(?P<story>.+)\n\n(?P<question>.+)\n",
                "In a family album stands: {story}\n\n{question}",
            ),
        ),
    ),
    Entry(
        generator="aiw",
        title="Alice's circle",
        capability="taking another person's point of view in counting",
        asks="Siblings, friends or colleagues are counted from another's point of view; {phrase}.",
        kind="number",
        levels=(
            rung("groups are of up to three", max_entities=3),
            rung("groups are of up to six", max_entities=6),
            rung("groups are of up to twelve", max_entities=12),
            rung("groups are of up to thirty", max_entities=30),
            rung("groups are of up to ninety", max_entities=90),
        ),
        form=NUMBER,
        wordings=(Wording("A riddle at dinner", r"^(?P<riddle>(?s:.+))\n$", "A riddle: {riddle}"),),
    ),
    Entry(
        generator="knights_knaves",
        title="Knights and knaves",
        capability="deducing who lies",
        asks="Islanders either always lie or always tell the truth; {phrase}.",
        kind="statements",
        levels=(
            rung("two make short claims", n_people=2, depth_constraint=2, width_constraint=2),
            rung("two make longer claims", n_people=2, depth_constraint=2, width_constraint=3),
            rung("two make nested claims", n_people=2, depth_constraint=3, width_constraint=3),
            rung("three make short claims", n_people=3, depth_constraint=2, width_constraint=2),
            rung("three make longer claims", n_people=3, depth_constraint=2, width_constraint=3),
        ),
        form="Say of each person what they are, as in: A is a knight, and B is a knave.",
    ),
    Entry(
        generator="color_cube_rotation",
        title="Turning a cube",
        capability="rotating objects in mind",
        asks="A cube with coloured sides is turned, and a side's colour is asked: {phrase}.",
        kind="text",
        levels=(
            rung("one turn", min_rotations=1, max_rotations=1),
            rung("one or two turns", min_rotations=1, max_rotations=2),
            rung("two turns", min_rotations=2, max_rotations=2),
            rung("three turns", min_rotations=3, max_rotations=3),
            rung("four turns", min_rotations=4, max_rotations=4),
        ),
        form="Give the colour alone.",
    ),
    Entry(
        generator="calendar_arithmetic",
        title="Calendar",
        capability="reckoning with dates and weekdays",
        asks="A question about days of the week is answered: {phrase}.",
        kind="text",
        levels=(
            rung("up to three days away", tasks=["weekday_offset"], offset_upper_bound=3),
            rung("up to two weeks away", tasks=["weekday_offset"], offset_upper_bound=14),
            rung("up to a hundred days away", tasks=["weekday_offset"], offset_upper_bound=100),
            rung("the weekday of a date", tasks=["weekday_of_date"]),
            rung("business days in an interval", tasks=["count_business_days"]),
        ),
        form=WORD,
    ),
    Entry(
        generator="needle_haystack",
        title="Who said so",
        capability="finding a fact among distractors",
        asks="One fact is looked up among {phrase} about people's likings.",
        kind="text",
        levels=(
            rung("four statements", min_num_statements=4, max_num_statements=4),
            rung("six statements", min_num_statements=6, max_num_statements=6),
            rung("eight statements", min_num_statements=8, max_num_statements=8),
            rung("ten statements", min_num_statements=10, max_num_statements=10),
            rung("twelve statements", min_num_statements=12, max_num_statements=12),
        ),
        form="Give the name alone.",
        wordings=(
            Wording(
                "A village chronicle",
                r"^(?P<facts>.+)\nWho (?P<what>.+)\? Reply",
                "From a village chronicle: {facts}\nWho {what}? Reply only with a name.",
            ),
        ),
    ),
    Entry(
        generator="syllogism",
        title="Syllogisms",
        capability="judging whether a conclusion follows",
        asks="Whether a conclusion follows from two premises is asked; {phrase}.",
        kind="text",
        levels=(
            rung("they speak of all and none", allow_some=False, allow_some_not=False),
            rung("they speak of all, none and some", allow_some_not=False, invalid_ratio=0.4),
            rung("they may hold for some only", invalid_ratio=0.4),
            rung("some are stated the other way round", inversion_probability=0.6),
            rung("most conclusions are tempting and false", invalid_ratio=0.7),
        ),
        form=YES_NO,
        wordings=(
            Wording(
                "A conclusion in court",
                r"1\. (?P<one>.+)\n2\. (?P<two>.+)\s+Does it logically follow that:\n(?P<end>.+)\?",
                "A witness states:\n1. {one}\n2. {two}\n\nDoes it follow that:\n{end}?\n"
                "(Answer Yes or No)",
            ),
        ),
    ),
    Entry(
        generator="leg_counting",
        title="Counting legs",
        capability="multiplying and adding with facts about animals",
        asks="The legs of several animals are added up: {phrase}.",
        kind="number",
        levels=(
            rung("one kind of animal", min_animals=1, max_animals=1, max_instances=4),
            rung("two kinds", min_animals=2, max_animals=2, max_instances=5),
            rung("three kinds", min_animals=3, max_animals=3, max_instances=9),
            rung("four kinds", min_animals=4, max_animals=4, max_instances=12),
            rung("six kinds", min_animals=6, max_animals=6, max_instances=15),
        ),
        form=NUMBER,
        wordings=(
            Wording(
                "Shoes for a zoo",
                r"if you have (?P<animals>.+)\?",
                "A zoo keeps {animals}. Every foot gets one shoe. How many shoes are needed?",
            ),
        ),
    ),
    Entry(
        generator="time_intervals",
        title="Elapsed time",
        capability="subtracting clock times and dates",
        asks="The time between two moments is asked: {phrase}.",
        kind="text",
        levels=(
            rung(
                "clock times less than half an hour apart",
                task_types=["time"],
                max_time_difference_seconds=1800,
            ),
            rung(
                "clock times up to three hours apart",
                task_types=["time"],
                max_time_difference_seconds=10800,
            ),
            rung("dates up to twenty days apart", task_types=["date"], max_date_difference_days=20),
            rung(
                "clock times with seconds",
                task_types=["time_seconds"],
                max_time_difference_seconds=30000,
            ),
            rung("dates up to a year apart", task_types=["date"], max_date_difference_days=365),
        ),
        form="Give the duration alone, in the form that was asked for.",
        avoid=r"\d(?:AM|PM)\b",
    ),
    Entry(
        generator="coin_flip",
        title="Coin flips",
        capability="calculating probabilities",
        asks="The probability of a number of heads is asked for {phrase}.",
        kind="number",
        levels=(
            rung("two or three flips", min_trials=2, max_trials=3),
            rung("three or four flips", min_trials=3, max_trials=4),
            rung("five flips", min_trials=5, max_trials=5),
            rung("six or seven flips", min_trials=6, max_trials=7),
            rung("nine flips", min_trials=9, max_trials=9),
        ),
        form="Give the exact probability as a decimal number.",
    ),
    Entry(
        generator="dice",
        title="Odds of dice",
        capability="counting equally likely cases",
        asks="The odds of rolling at least some total are asked for {phrase}.",
        kind="fraction",
        levels=(
            rung("one die of up to six sides", num_dice=1, max_dice_size=6),
            rung("one die of up to twenty sides", num_dice=1, max_dice_size=20),
            rung("two dice of up to six sides", num_dice=2, max_dice_size=6),
            rung("two dice of up to twelve sides", num_dice=2, max_dice_size=12),
            rung("three dice of up to ten sides", num_dice=3, max_dice_size=10),
        ),
        form="Give one reduced fraction, as in 1/60, and nothing else.",
    ),
    Entry(
        generator="rotate_matrix",
        title="Turning a grid",
        capability="keeping track of rows and columns",
        asks="A square grid of digits is turned clockwise: {phrase}.",
        kind="numbers",
        levels=(
            rung("two by two, a quarter turn", min_n=2, max_n=2, min_rotations=1, max_rotations=1),
            rung("two by two, any turn", min_n=2, max_n=2, min_rotations=1, max_rotations=3),
            rung(
                "three by three, a quarter turn", min_n=3, max_n=3, min_rotations=1, max_rotations=1
            ),
            rung("three by three, any turn", min_n=3, max_n=3, min_rotations=1, max_rotations=3),
            rung("four by four, any turn", min_n=4, max_n=4, min_rotations=1, max_rotations=3),
        ),
        form="Give the grid alone, one row in each line.",
    ),
)
