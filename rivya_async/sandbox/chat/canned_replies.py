"""The replies of the chat models: equal for equal messages."""

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
CLOSINGS: Final = (
    "Shall I turn this into a prompt?",
    "Please choose which of these you like best, and we go on from there.",
    "That is all it takes to begin.",
)
STEP_COUNT: Final = 3
"""Steps in a reply."""

MAX_TOPIC_WORDS: Final = 6
"""Words of the message that a reply quotes."""


def compose_reply(message: str, *, images: int = 0, web_search: bool = False) -> str:
    """Returns the reply to a message with this number of attached images."""
    digest = hashlib.sha256(message.encode("utf-8", "surrogatepass")).digest()
    words = re.findall(r"[\w'-]+", message)[:MAX_TOPIC_WORDS]
    topic = f"“{' '.join(words)}”" if words else "this"
    first = digest[0] % len(STEPS)
    stride = 1 + 2 * (digest[1] % 2)  # odd, so that no step is repeated
    steps = [STEPS[(first + stride * number) % len(STEPS)] for number in range(STEP_COUNT)]
    sentences = [OPENINGS[digest[2] % len(OPENINGS)].format(topic=topic)]
    if images:
        sentences.append(f"I have looked at {'the picture' if images == 1 else f'the {images} pictures'}.")
    if web_search:
        sentences.append("The results of a web search agree with this.")
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    return f"{' '.join(sentences)}\n\n{numbered}\n\n{CLOSINGS[digest[3] % len(CLOSINGS)]}"


def split_tokens(text: str) -> Sequence[str]:
    """Returns the tokens of a text, words with the space before them; joined they are the text.

    >>> split_tokens("Two words")
    ['Two', ' words']
    """
    return re.findall(r"\s*\S+|\s+\Z", text)
