"""Catalogue entries about properties, forms and sequences of numbers."""

from __future__ import annotations

from agents.offline.entries import LIST, NUMBER, WORD, Entry, Wording, rung

ENTRIES = (
    Entry(
        generator="gcd",
        title="Greatest common divisors",
        capability="finding common divisors of whole numbers",
        asks="The greatest common divisor is asked for {phrase}.",
        kind="number",
        levels=(
            rung("two numbers up to 30", min_value=2, max_value=30),
            rung("two numbers up to 100", min_value=10, max_value=100),
            rung("two numbers up to 500", min_value=100, max_value=500),
            rung("two numbers up to 5000", min_value=500, max_value=5000),
            rung(
                "three numbers up to 2000",
                min_numbers=3,
                max_numbers=3,
                min_value=200,
                max_value=2000,
            ),
        ),
        form=NUMBER,
        wordings=(
            Wording(
                "Square tiles for a floor",
                r"numbers: (?P<a>\d+), (?P<b>\d+)\.",
                "A floor of {a} by {b} cm is covered with equal square tiles, none of them cut. "
                "How long is the side of the largest tile that fits, in cm?",
                stretch=True,
            ),
            Wording(
                "The largest common factor",
                r"numbers: (?P<a>\d+), (?P<b>\d+)\.",
                "What is the largest whole number that divides both {a} and {b}?",
            ),
        ),
    ),
    Entry(
        generator="lcm",
        title="Least common multiples",
        capability="finding common multiples of whole numbers",
        asks="The least common multiple is asked for {phrase}.",
        kind="number",
        levels=(
            rung("two numbers up to 10", min_value=2, max_value=10),
            rung("two numbers up to 20", min_value=2, max_value=20),
            rung("two numbers up to 60", min_value=10, max_value=60),
            rung("two numbers up to 200", min_value=40, max_value=200),
            rung(
                "three numbers up to 60", min_numbers=3, max_numbers=3, min_value=10, max_value=60
            ),
        ),
        form=NUMBER,
        wordings=(
            Wording(
                "Two blinking lights",
                r"numbers: (?P<a>\d+), (?P<b>\d+)$",
                "One light blinks every {a} seconds, another every {b} seconds. They have just "
                "blinked together. After how many seconds do they do so again?",
                stretch=True,
            ),
            Wording(
                "The smallest common multiple",
                r"numbers: (?P<a>\d+), (?P<b>\d+)$",
                "What is the smallest number that is a multiple of both {a} and {b}?",
            ),
        ),
    ),
    Entry(
        generator="number_filtering",
        title="Keeping some numbers",
        capability="comparing numbers with a limit",
        asks="Numbers above or below a limit are kept or removed; the list has {phrase}.",
        kind="numbers",
        levels=(
            rung(
                "three whole numbers",
                min_numbers=3,
                max_numbers=3,
                max_decimals=0,
                min_value=-20,
                max_value=50,
            ),
            rung(
                "three or four whole numbers",
                min_numbers=3,
                max_numbers=4,
                max_decimals=0,
                min_value=-99,
                max_value=99,
            ),
            rung(
                "five whole numbers",
                min_numbers=5,
                max_numbers=5,
                max_decimals=0,
                min_value=-99,
                max_value=99,
            ),
            rung(
                "five numbers with one decimal",
                min_numbers=5,
                max_numbers=5,
                min_decimals=1,
                max_decimals=1,
            ),
            rung(
                "seven numbers with two decimals",
                min_numbers=7,
                max_numbers=7,
                min_decimals=2,
                max_decimals=2,
            ),
        ),
        form=LIST,
    ),
    Entry(
        generator="prime_factorization",
        title="Prime factors",
        capability="breaking numbers into primes",
        asks="A whole number is written as a product of primes; {phrase}.",
        kind="factors",
        levels=(
            rung("it is at most 20", min_value=4, max_value=20),
            rung("it is at most 60", min_value=12, max_value=60),
            rung("it is at most 200", min_value=60, max_value=200),
            rung("it is at most 1000", min_value=200, max_value=1000),
            rung("it is at most 5000", min_value=1000, max_value=5000),
        ),
        form="Give the prime factors alone, as in 2 \u00d7 3 \u00d7 3.",
    ),
    Entry(
        generator="count_bits",
        title="Ones in binary",
        capability="converting numbers to binary",
        asks="The ones in the binary form of a number are counted; {phrase}.",
        kind="number",
        levels=(
            rung("the number is at most 15", max_n=15),
            rung("the number is at most 63", min_n=8, max_n=63),
            rung("the number is at most 255", min_n=64, max_n=255),
            rung("the number is at most 4095", min_n=256, max_n=4095),
            rung("the number is at most a million", min_n=10000, max_n=1000000),
        ),
        form=NUMBER,
    ),
    Entry(
        generator="count_primes",
        title="Primes in an interval",
        capability="recognising primes",
        asks="The primes between two bounds are counted; {phrase}.",
        kind="number",
        levels=(
            rung("both bounds are at most 15", max_n=15),
            rung("both bounds are at most 30", max_n=30),
            rung("both bounds are at most 80", max_n=80),
            rung("both bounds are at most 300", max_n=300),
            rung("both bounds are at most 2000", min_n=100, max_n=2000),
        ),
        form=NUMBER,
    ),
    Entry(
        generator="base_conversion",
        title="Number bases",
        capability="converting numbers between bases",
        asks="A number is written in another base: {phrase}.",
        kind="text",
        levels=(
            rung("up to 9, with bases 2 to 4", max_base=4, max_value=9),
            rung("up to 31, with bases 2 to 4", max_base=4, max_value=31),
            rung("up to 99, with bases 2 to 10", max_base=10, min_value=20, max_value=99),
            rung("up to 500, with bases up to 16", max_base=16, min_value=99, max_value=500),
            rung("up to 5000, with bases up to 30", max_base=30, min_value=500, max_value=5000),
        ),
        form=WORD,
    ),
    Entry(
        generator="number_format",
        title="Formats of numbers",
        capability="reading numbers in several notations",
        asks="The largest or smallest of {phrase}, each in another notation, is picked.",
        kind="number",
        levels=(
            rung(
                "two numbers far apart", max_num_candidates=2, min_n=10, max_n=1000, max_delta=500.0
            ),
            rung(
                "two numbers up to 10,000",
                max_num_candidates=2,
                min_n=1000,
                max_n=10000,
                max_delta=900.0,
            ),
            rung(
                "three numbers up to 100,000",
                min_num_candidates=3,
                max_num_candidates=3,
                min_n=1000,
                max_n=100000,
                max_delta=500.0,
            ),
            rung(
                "three close numbers up to a million",
                min_num_candidates=3,
                max_num_candidates=3,
                min_n=10000,
                max_n=1000000,
                max_delta=20.0,
            ),
            rung(
                "four close numbers up to a billion",
                min_num_candidates=4,
                max_num_candidates=4,
                min_n=1000000,
                max_n=1000000000,
                max_delta=10.0,
            ),
        ),
        form=NUMBER,
    ),
    Entry(
        generator="number_sequence",
        title="Next in the sequence",
        capability="finding the rule of a sequence",
        asks="A sequence of numbers is continued; {phrase}.",
        kind="number",
        levels=(
            rung("small numbers and a plain rule", min_value=0, max_value=10, max_complexity=1),
            rung(
                "numbers up to 30 and a plain rule",
                min_terms=5,
                min_value=0,
                max_value=30,
                max_complexity=1,
            ),
            rung("a rule of up to two parts", min_value=0, max_value=50, max_complexity=2),
            rung(
                "negative numbers and a rule of up to two parts",
                min_value=-50,
                max_value=50,
                max_complexity=2,
            ),
            rung("a rule of up to three parts", max_complexity=3),
        ),
        form=NUMBER,
    ),
)
