"""Letters that differ by their case alone, which `(?i)` takes for the same."""

from __future__ import annotations

# Those that are the same but for their case, where the methods of `str` do not lead to all of
# them: Unicode's simple case folding, which RE2 goes by.
_ALIKE = (
    "Kk\u212a", "Ss\u017f", "\u00b5\u039c\u03bc", "\u00c5\u00e5\u212b", "\u00df\u1e9e", "\u0131",
    "\u0345\u0399\u03b9\u1fbe", "\u0392\u03b2\u03d0", "\u0395\u03b5\u03f5",
    "\u0398\u03b8\u03d1\u03f4", "\u039a\u03ba\u03f0", "\u03a0\u03c0\u03d6", "\u03a1\u03c1\u03f1",
    "\u03a3\u03c2\u03c3", "\u03a6\u03c6\u03d5", "\u03a9\u03c9\u2126", "\u0412\u0432\u1c80",
    "\u0414\u0434\u1c81", "\u041e\u043e\u1c82", "\u0421\u0441\u1c83", "\u0422\u0442\u1c84\u1c85",
    "\u042a\u044a\u1c86", "\u0462\u0463\u1c87", "\u1c88\ua64a\ua64b", "\u1e60\u1e61\u1e9b",
)  # fmt: skip
_CASES = {one: frozenset(letters) for letters in _ALIKE for one in letters}


def cases_of(character: str) -> frozenset[str]:
    """Return the characters that are this one for `(?i)`."""
    found = (character, character.lower(), character.upper(), character.title())
    return _CASES.get(character) or frozenset(one for one in found if len(one) == 1)
