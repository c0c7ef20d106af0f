"""Catalogue entries about letters, words and sentences."""

from __future__ import annotations

from agents.offline.entries import LIST, NUMBER, WORD, Entry, Wording, rung

ENTRIES = (
    Entry(
        generator="spell_backward",
        title="Spelling backward",
        capability="handling the letters of a word in order",
        asks="A word is spelled backward; it has {phrase}.",
        kind="text",
        levels=(
            rung("three letters", min_word_len=3, max_word_len=3),
            rung("four or five letters", min_word_len=4, max_word_len=5),
            rung("six or seven letters", min_word_len=6, max_word_len=7),
            rung("eight or nine letters", min_word_len=8, max_word_len=9),
            rung("ten letters", min_word_len=10, max_word_len=10),
        ),
        form=WORD,
        wordings=(
            Wording(
                "Mirror writing",
                r"\): (?P<word>\w+)$",
                'The word "{word}" is held up to a mirror, so that its letters run from right to '
                "left. Which letters are read, from left to right and in one piece?",
            ),
        ),
    ),
    Entry(
        generator="word_sorting",
        title="Sorting words",
        capability="ordering words by their characters",
        asks="Words are put into ascending or descending order: {phrase}.",
        kind="words",
        levels=(
            rung("three short words", min_words=3, max_words=3, max_word_length=6),
            rung("four words", min_words=4, max_words=4, max_word_length=8),
            rung("five words", min_words=5, max_words=5),
            rung("six words", min_words=6, max_words=6, max_word_length=8),
            rung("eight words", min_words=8, max_words=8, max_word_length=6),
        ),
        form=LIST,
        wordings=(
            Wording(
                "First on the shelf",
                r"in (?P<order>\w+) order .+ list: (?P<words>.+)\n",
                "Books with these titles are shelved in {order} order, capital letters before "
                "small ones: {words}. Give the titles in the order of the shelf, separated by "
                "commas.",
                stretch=True,
            ),
        ),
    ),
    Entry(
        generator="word_sequence_reversal",
        title="Reversing a list of words",
        capability="reversing the order of items",
        asks="A list of words is written from the last to the first: {phrase}.",
        kind="words",
        levels=(
            rung("three words", min_words=3, max_words=3),
            rung("four words", min_words=4, max_words=4),
            rung("five or six words", min_words=5, max_words=6),
            rung("seven words", min_words=7, max_words=7),
            rung("nine words", min_words=9, max_words=9),
        ),
        form=LIST,
        wordings=(
            Wording(
                "The queue turns round",
                r"words: (?P<words>.+)\n",
                "In a queue stand, from front to back: {words}. The whole queue turns round, and "
                "the last is now the first. Name them in the new order, separated by commas.",
                stretch=True,
            ),
            Wording(
                "Back to front",
                r"words: (?P<words>.+)\n",
                "Reverse this list of words: {words}\nGive it as a comma-separated list.",
            ),
        ),
    ),
    Entry(
        generator="letter_counting",
        title="Counting a letter",
        capability="counting letters in a text",
        asks="The occurrences of one letter in a text are counted; the text has {phrase}.",
        kind="number",
        levels=(
            rung("four or five words", min_words=4, max_words=5),
            rung("six to eight words", min_words=6, max_words=8),
            rung("ten to twelve words", min_words=10, max_words=12),
            rung("fifteen words", min_words=14, max_words=16),
            rung("twenty words", min_words=19, max_words=21),
        ),
        form=NUMBER,
        wordings=(
            Wording(
                "One letter of a headline",
                r'letter "(?P<letter>.)" appear in the text: "(?P<text>.+)"',
                'A headline reads: "{text}". How often does the letter "{letter}" appear in it?',
            ),
        ),
    ),
    Entry(
        generator="sentence_reordering",
        title="Scrambled sentences",
        capability="restoring the order of words in a sentence",
        asks="The words of a sentence are put back into order: {phrase}.",
        kind="text",
        levels=(
            rung("three words", min_words_in_sentence=3, max_words_in_sentence=3),
            rung("four words", min_words_in_sentence=4, max_words_in_sentence=4),
            rung("five words", min_words_in_sentence=5, max_words_in_sentence=5),
            rung("six or seven words", min_words_in_sentence=6, max_words_in_sentence=7),
            rung("nine words", min_words_in_sentence=9, max_words_in_sentence=9),
        ),
        form="Give the sentence alone.",
        wordings=(
            Wording(
                "A shuffled sentence",
                r"sentence: (?P<words>.+)\n",
                "Someone has shuffled a sentence: {words}\nWrite it in the correct order of words.",
            ),
        ),
        avoid=r'["“”*_\[\]]',
    ),
    Entry(
        generator="palindrome_generation",
        title="Making palindromes",
        capability="arranging letters symmetrically",
        asks="All given letters are arranged into a palindrome: {phrase}.",
        kind="palindrome",
        levels=(
            rung("three letters", min_length=3, max_length=3),
            rung("four letters", min_length=4, max_length=4),
            rung("five letters", min_length=5, max_length=5),
            rung("six or seven letters", min_length=6, max_length=7),
            rung("nine letters", min_length=9, max_length=9),
        ),
        form=WORD,
        wordings=(
            Wording(
                "Words that read both ways",
                r"letters: (?P<letters>.+)\n",
                "Form a valid palindrome using the following letters: {letters}\n"
                "Use all of them, and answer with a single string.",
            ),
        ),
    ),
    Entry(
        generator="letter_jumble",
        title="Jumbled letters",
        capability="recognising words from their letters",
        asks="Words whose letters were shuffled are restored: {phrase}.",
        kind="text",
        levels=(
            rung("one short word", min_words=1, max_words=1, min_word_len=3, max_word_len=4),
            rung(
                "one word of five letters", min_words=1, max_words=1, min_word_len=5, max_word_len=5
            ),
            rung(
                "three words of up to six letters",
                min_words=3,
                max_words=3,
                min_word_len=2,
                max_word_len=6,
            ),
            rung("four words of up to eight letters", min_words=4, max_words=4, max_word_len=8),
            rung(
                "five words, heavily shuffled",
                min_words=5,
                max_words=5,
                max_word_len=10,
                min_corruption_level=0.6,
            ),
        ),
        form=WORD,
    ),
    Entry(
        generator="caesar_cipher",
        title="Caesar cipher",
        capability="shifting letters along the alphabet",
        asks="A text in Caesar cipher is decrypted: {phrase}.",
        kind="text",
        levels=(
            rung("two words, shifted by one", min_words=2, max_words=2, max_rotation=1),
            rung(
                "two or three words, shifted by up to two", min_words=2, max_words=3, max_rotation=2
            ),
            rung("three words, shifted by up to five", min_words=3, max_words=3, max_rotation=5),
            rung("four words, any shift", min_words=4, max_words=4),
            rung("five or six words, any shift", min_words=5, max_words=6),
        ),
        form="Give the decrypted text alone, in capital letters.",
    ),
)
