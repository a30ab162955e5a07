"""What the demo asks for: pictures, films and sounds, from many models, each with params of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._core.generation_request import GenerationRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH: Final[Sequence[tuple[str, str, dict[str, Any]]]] = (
    ("z-image", "A red kite over a calm sea at dawn", {"aspect_ratio": "4:3"}),
    ("seedream-4-5", "A city of glass towers in the last evening light", {"aspectRatio": "9:16", "quality": "high"}),
    ("grok-imagine-video", "Paper lanterns rise over a village", {"aspect_ratio": "1:1", "duration": 6}),
    ("veo3-1-lite", "Waves roll onto a black beach, slow and wide", {"aspectRatio": "16:9"}),
    ("nano-banana-pro", "Northern lights above a frozen lake", {"aspect_ratio": "4:5", "output_format": "jpg"}),
    (
        "elevenlabs-turbo-2-5",
        "Good morning. The ferry leaves at nine; the sea is calm, and the whales are back.",
        {"voice": "TX3LPaxmHKxFdv7VOQHJ", "speed": 0.95},
    ),
    (
        "flux-2-pro",
        "Terraced tea hills in morning fog, seen from a balloon",
        {"aspectRatio": "16:9", "resolution": "2K"},
    ),
    ("gpt-image-2", "A lighthouse keeper's window on a stormy night", {"aspect_ratio": "3:4"}),
    ("runway", "A night train crosses a viaduct in the rain", {"aspectRatio": "16:9", "duration": "5"}),
    ("elevenlabs-sound-effect-v2", "Rain on a tin roof, thunder far away", {"duration_seconds": 6}),
    (
        "ideogram-v3",
        "Poster of a desert observatory under the Milky Way",
        {"image_size": "square_hd", "style": "DESIGN"},
    ),
)
"""Model, prompt, params."""


def requests(key_of: Any) -> list[GenerationRequest]:
    """The batch as purchases; `key_of` mints each idempotency key."""
    return [
        GenerationRequest(model, prompt, params=params, idempotency_key=key_of()) for model, prompt, params in BATCH
    ]
