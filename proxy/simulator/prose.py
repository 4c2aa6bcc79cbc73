"""Text whose length in tokens is known without counting.

Every word here, with its leading space, is exactly one token of both o200k and cl100k, and so is every full stop;
the tokenizers' splitting rules never join two of them. So n pieces are n tokens, and no tokenizer runs to write them.
A test holds this against the real tokenizer.
"""

from __future__ import annotations

import random
from functools import cache


def _listed(words: str) -> tuple[str, ...]:
    return tuple(words.split())


_OPENINGS = _listed("The These Those Most Some Many Several Our Your Their")
_DETERMINERS = _listed("the these those some their our your most many several")
_ADJECTIVES = _listed(
    "small large short long simple clear steady careful useful common recent local open shared stable exact strong "
    "quiet new old early late different similar important"
)
_NOUNS = _listed(
    "people teams users customers engineers researchers developers analysts managers systems services requests "
    "responses records budgets models tokens prices costs limits results answers questions documents pages tables "
    "queries indexes caches streams events errors reports samples values numbers changes steps plans ideas methods "
    "tools tests cases examples details parts layers sources signals measures reasons choices options"
)
_VERBS = _listed(
    "show give take make need hold send read write find count check move follow return explain compare improve reduce "
    "increase describe support handle suggest change keep use want"
)
_PREPOSITIONS = _listed("after before during between through without with from into under about against toward for on")
_ADVERBS = _listed("quickly slowly often again together directly first today later")
_JOINTS = _listed("and but so because while when")

_BANK_SIZE = 600
"""Sentences kept ready; an answer chooses among them, which is ten times faster than writing each anew."""


def write_prose(rng: random.Random, tokens: int) -> list[str]:
    """Write text of exactly so many tokens, one piece per token; the last sentence is cut off where they end."""
    bank = _sentence_bank()
    pieces: list[str] = []
    while len(pieces) < tokens:
        pieces += rng.choice(bank)
    del pieces[tokens:]
    if pieces:
        pieces[0] = pieces[0].lstrip()
    return pieces


@cache
def _sentence_bank() -> list[tuple[str, ...]]:
    rng = random.Random("sentences")
    return [tuple(_write_sentence(rng)) for _ in range(_BANK_SIZE)]


def _write_sentence(rng: random.Random) -> list[str]:
    words = [rng.choice(_OPENINGS), *_write_clause(rng)]
    if rng.random() < 0.5:
        words += [rng.choice(_JOINTS), rng.choice(_DETERMINERS), *_write_clause(rng)]
    return [f" {word}" for word in words] + ["."]


def _write_clause(rng: random.Random) -> list[str]:
    """Write everything of a clause that follows its first determiner."""
    words = [*_write_noun(rng), rng.choice(_VERBS), rng.choice(_DETERMINERS), *_write_noun(rng)]
    if rng.random() < 0.4:
        words += [rng.choice(_PREPOSITIONS), rng.choice(_DETERMINERS), *_write_noun(rng)]
    return [*words, rng.choice(_ADVERBS)] if rng.random() < 0.3 else words


def _write_noun(rng: random.Random) -> list[str]:
    noun = rng.choice(_NOUNS)
    return [rng.choice(_ADJECTIVES), noun] if rng.random() < 0.5 else [noun]
