"""What the sandbox's chat models say: the same to the same message. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

OPENINGS: Final = (
    "Here is a short plan for {topic}.",
    "Good question: {topic} is best taken one step at a time.",
    "Let us look at {topic} — briefly.",
    "In a few words, {topic} comes down to three things.",
)
STEPS: Final = (
    "Begin with the light: it decides the mood before anything else does.",
    "Keep the first draft small, and look at it before you make the second.",
    "Name the colours; “a warm dusk over a calm sea” says more than “beautiful”.",
    "Choose one subject and let everything else lead the eye to it.",
    "Write down what must not change, then vary the rest.",
    "Two or three references are enough: more of them begin to argue with each other.",
    "Try a café at six in the morning, when the street is still empty.",
    "Leave room at the edges, so that a title fits later.",
)
ENDINGS: Final = (
    "Shall I turn this into a prompt?",
    "Tell me which of these you like best, and we go on from there.",
    "That is all it takes to begin.",
)
STEPS_SAID: Final = 3
TOPIC_WORDS: Final = 6


def reply_to(message: str, *, pictures: int = 0, searched: bool = False) -> str:
    """The answer to a message."""
    dice = hashlib.sha256(message.encode("utf-8", "surrogatepass")).digest()
    words = re.findall(r"[\w'-]+", message)[:TOPIC_WORDS]
    topic = f"“{' '.join(words)}”" if words else "this"
    first = dice[0] % len(STEPS)
    stride = 1 + 2 * (dice[1] % 2)  # odd, so that no step comes twice
    steps = [STEPS[(first + stride * number) % len(STEPS)] for number in range(STEPS_SAID)]
    said = [OPENINGS[dice[2] % len(OPENINGS)].format(topic=topic)]
    if pictures:
        said.append(f"I have looked at {'the picture' if pictures == 1 else f'the {pictures} pictures'}.")
    if searched:
        said.append("What I found on the web agrees with this.")
    listed = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    return f"{' '.join(said)}\n\n{listed}\n\n{ENDINGS[dice[3] % len(ENDINGS)]}"


def tokens(text: str) -> Sequence[str]:
    """The pieces in which a text is streamed and counted: words with the space before them. Joined they are the text.

    >>> tokens("Two words")
    ['Two', ' words']
    """
    return re.findall(r"\s*\S+|\s+\Z", text)
