"""The types of the catalogue. `python -m rivya_async.catalogue` writes this file from `models.json`."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from .._core.generation_request import GenerationRequest, Reference
from .functions import DialogueLine as DialogueLine
from .functions import models as models

__all__ = [
    "DialogueLine",
    "ModelId",
    "elevenlabs_dialogue_v3",
    "elevenlabs_multilingual_v2",
    "elevenlabs_sound_effect_v2",
    "elevenlabs_turbo_2_5",
    "flux_2_flex",
    "flux_2_pro",
    "flux_kontext_max",
    "flux_kontext_pro",
    "google_imagen4",
    "google_imagen4_fast",
    "google_imagen4_ultra",
    "gpt_image_1_5",
    "gpt_image_2",
    "grok_imagine",
    "grok_imagine_video",
    "hailuo_pro",
    "hailuo_standard",
    "happyhorse_1_0",
    "ideogram_v3",
    "kling_2_6",
    "kling_3_0",
    "kling_v2_1_master",
    "kling_v2_5_turbo_pro",
    "model_4o_image",
    "models",
    "nano_banana",
    "nano_banana_2",
    "nano_banana_pro",
    "qwen2_image",
    "qwen_image",
    "runway",
    "seedance_1_0_lite",
    "seedance_1_0_pro",
    "seedance_1_5_pro",
    "seedance_2",
    "seedance_2_fast",
    "seedream_3_0",
    "seedream_4_0",
    "seedream_4_5",
    "seedream_5_lite",
    "sora_2",
    "sora_2_pro",
    "sora_watermark_remover",
    "veo3_1_fast",
    "veo3_1_lite",
    "wan_2_2_a14b_turbo",
    "wan_2_2_animate_replace",
    "wan_2_5_video",
    "wan_2_6",
    "wan_2_7_image",
    "wan_2_7_image_pro",
    "wan_2_7_video",
    "z_image",
]
ModelId: TypeAlias = Literal[
    "z-image",
    "4o-image",
    "qwen-image",
    "qwen2-image",
    "flux-2-pro",
    "flux-2-flex",
    "flux-kontext-pro",
    "flux-kontext-max",
    "gpt-image-1-5",
    "gpt-image-2",
    "google-imagen4",
    "google-imagen4-fast",
    "google-imagen4-ultra",
    "nano-banana",
    "nano-banana-2",
    "nano-banana-pro",
    "ideogram-v3",
    "seedream-3-0",
    "seedream-4-0",
    "seedream-4-5",
    "seedream-5-lite",
    "grok-imagine",
    "wan-2-7-image",
    "wan-2-7-image-pro",
    "veo3-1-lite",
    "veo3-1-fast",
    "kling-v2-1-master",
    "kling-v2-5-turbo-pro",
    "kling-2-6",
    "kling-3-0",
    "sora-2",
    "sora-2-pro",
    "happyhorse-1-0",
    "seedance-1-0-lite",
    "seedance-1-0-pro",
    "seedance-1-5-pro",
    "seedance-2",
    "seedance-2-fast",
    "wan-2-2-a14b-turbo",
    "wan-2-2-animate-replace",
    "sora-watermark-remover",
    "wan-2-5-video",
    "wan-2-6",
    "wan-2-7-video",
    "hailuo-pro",
    "hailuo-standard",
    "runway",
    "grok-imagine-video",
    "elevenlabs-turbo-2-5",
    "elevenlabs-multilingual-v2",
    "elevenlabs-dialogue-v3",
    "elevenlabs-sound-effect-v2",
    "gemini-2-5-flash-chat",
    "gpt-5-2-chat",
    "gpt-5-codex-chat",
    "gpt-5-3-codex-chat",
    "gpt-5.4-codex-chat",
    "claude-sonnet-4-6-chat",
]

def z_image(
    prompt: str,
    *,
    aspect_ratio: Literal['1:1', '4:3', '3:4', '16:9', '9:16'] = '1:1',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Z-Image, image: 1 credit per job.

    Prompt: at most 1,000 characters.
    aspect_ratio: Aspect ratio, default '1:1'.
    """


def model_4o_image(
    prompt: str,
    *,
    size: Literal['1:1', '3:2', '2:3'] = '1:1',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """4o Image, image: 3 credits per job.

    size: Aspect ratio, default '1:1'.
    """


def qwen_image(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    image_size: Literal['square', 'square_hd', 'portrait_4_3', 'portrait_16_9', 'landscape_4_3', 'landscape_16_9'] = 'square_hd',
    output_format: Literal['png', 'jpeg'] = 'png',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Qwen Image, image: 4 credits per job.

    Prompt: at most 5,000 characters.
    References (image): Up to 1 image for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    image_size: Output framing, default 'square_hd'.
    output_format: Output file format, default 'png'.
    """


def qwen2_image(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    image_size: Literal['1:1', '3:4', '4:3', '9:16', '16:9'] = '16:9',
    output_format: Literal['png', 'jpeg'] = 'png',
    seed: int | None = None,
    nsfw_checker: Literal['false', 'true', False, True] = 'false',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Qwen2 Image, image: 6 credits per job.

    Prompt: at most 800 characters.
    References (image): Up to 1 image for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    image_size: Output framing, default '16:9'.
    output_format: Output file format, default 'png'.
    seed: Random seed; leave out for a new random result, at least 0.
    nsfw_checker: Content filter switch, default 'false'.
    """


def flux_2_pro(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspectRatio: Literal['1:1', '4:3', '3:4', '16:9', '9:16', '3:2', '2:3'] = '1:1',
    resolution: Literal['1K', '2K'] = '1K',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Flux 2 Pro, image: 5 credits per job with the default settings; resolution may change it.

    Prompt: at most 5,000 characters.
    References (image): Up to 8 images for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    aspectRatio: Aspect ratio, default '1:1'.
    resolution: Output resolution tier, default '1K'.
    """


def flux_2_flex(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspectRatio: Literal['1:1', '4:3', '3:4', '16:9', '9:16', '3:2', '2:3'] = '1:1',
    resolution: Literal['1K', '2K'] = '1K',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Flux 2 Flex, image: 14 credits per job with the default settings; resolution may change it.

    Prompt: at most 5,000 characters.
    References (image): Up to 8 images for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    aspectRatio: Aspect ratio, default '1:1'.
    resolution: Output resolution tier, default '1K'.
    """


def flux_kontext_pro(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspectRatio: Literal['21:9', '16:9', '4:3', '1:1', '3:4', '9:16'] = '16:9',
    outputFormat: Literal['jpeg', 'png'] = 'jpeg',
    enableTranslation: Literal['true', 'false', True, False] = 'true',
    promptUpsampling: Literal['false', 'true', False, True] = 'false',
    safetyTolerance: float = 2,
    watermark: str | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Flux Kontext Pro, image: 4 credits per job.

    References (image): Up to 1 image for image editing.
    aspectRatio: Aspect ratio, default '16:9'.
    outputFormat: Output file format, default 'jpeg'.
    enableTranslation: Translate the prompt automatically, default 'true'.
    promptUpsampling: Let the model expand the prompt, default 'false'.
    safetyTolerance: Moderation strictness; lower is stricter, from 0 to 6, default 2.
    watermark: Watermark text.
    """


def flux_kontext_max(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspectRatio: Literal['21:9', '16:9', '4:3', '1:1', '3:4', '9:16'] = '16:9',
    outputFormat: Literal['jpeg', 'png'] = 'jpeg',
    enableTranslation: Literal['true', 'false', True, False] = 'true',
    promptUpsampling: Literal['false', 'true', False, True] = 'false',
    safetyTolerance: float = 2,
    watermark: str | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Flux Kontext Max, image: 8 credits per job.

    References (image): Up to 1 image for image editing.
    aspectRatio: Aspect ratio, default '16:9'.
    outputFormat: Output file format, default 'jpeg'.
    enableTranslation: Translate the prompt automatically, default 'true'.
    promptUpsampling: Let the model expand the prompt, default 'false'.
    safetyTolerance: Moderation strictness; lower is stricter, from 0 to 6, default 2.
    watermark: Watermark text.
    """


def gpt_image_1_5(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    quality: Literal['medium', 'high'] = 'medium',
    aspect_ratio: Literal['1:1', '2:3', '3:2'] = '1:1',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """GPT Image 1.5, image: 4 credits per job with the default settings; quality may change it.

    References (image): Up to 16 images for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    quality: Quality tier, default 'medium'.
    aspect_ratio: Aspect ratio, default '1:1'.
    """


def gpt_image_2(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspect_ratio: Literal['auto', '1:1', '9:16', '16:9', '4:3', '3:4'] = '1:1',
    resolution: Literal['1K', '2K', '4K'] = '1K',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """GPT Image 2, image: 3 credits per job with the default settings; resolution may change it.

    Prompt: at most 20,000 characters.
    References (image): Up to 16 images for image-to-image.
      image up to 10 MB: image/jpeg, image/png, image/webp
    aspect_ratio: Aspect ratio, default '1:1'.
    resolution: Output resolution tier, default '1K'.
    """


def google_imagen4(
    prompt: str,
    *,
    aspect_ratio: Literal['1:1', '16:9', '9:16', '3:4', '4:3'] = '1:1',
    negative_prompt: str | None = None,
    seed: str | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Google Imagen4, image: 8 credits per job.

    Prompt: at most 5,000 characters.
    aspect_ratio: Aspect ratio, default '1:1'.
    negative_prompt: What to avoid.
    seed: Random seed; leave out for a new random result.
    """


def google_imagen4_fast(
    prompt: str,
    *,
    aspect_ratio: Literal['1:1', '16:9', '9:16', '3:4', '4:3'] = '16:9',
    negative_prompt: str | None = None,
    seed: int | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Google Imagen4 Fast, image: 4 credits per job.

    Prompt: at most 5,000 characters.
    aspect_ratio: Aspect ratio, default '16:9'.
    negative_prompt: What to avoid.
    seed: Random seed; leave out for a new random result, at least 0.
    """


def google_imagen4_ultra(
    prompt: str,
    *,
    aspect_ratio: Literal['1:1', '16:9', '9:16', '3:4', '4:3'] = '1:1',
    negative_prompt: str | None = None,
    seed: str | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Google Imagen4 Ultra, image: 12 credits per job.

    Prompt: at most 5,000 characters.
    aspect_ratio: Aspect ratio, default '1:1'.
    negative_prompt: What to avoid.
    seed: Random seed; leave out for a new random result.
    """


def nano_banana(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    imageSize: Literal['1:1', '9:16', '16:9', '3:4', '4:3', '3:2', '2:3', '5:4', '4:5', '21:9', 'auto'] = '1:1',
    output_format: Literal['png', 'jpeg'] = 'png',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Nano Banana, image: 3 credits per job.

    Prompt: at most 5,000 characters.
    References (image): Up to 10 images for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    imageSize: Output framing, default '1:1'.
    output_format: Output file format, default 'png'.
    """


def nano_banana_2(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspect_ratio: Literal['auto', '1:1', '16:9', '9:16', '3:2', '2:3', '4:3', '3:4', '5:4', '4:5', '21:9', '4:1', '1:4', '8:1', '1:8'] = 'auto',
    resolution: Literal['1K', '2K', '4K'] = '1K',
    output_format: Literal['jpg', 'png'] = 'jpg',
    google_search: Literal['false', 'true', False, True] = 'false',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Nano Banana 2, image: 5 credits per job with the default settings; resolution, google_search may change it.

    Prompt: at most 20,000 characters.
    References (image): Up to 14 images for image projects.
      image up to 30 MB: image/jpeg, image/png, image/webp
    aspect_ratio: Aspect ratio, default 'auto'.
    resolution: Output resolution tier, default '1K'.
    output_format: Output file format, default 'jpg'.
    google_search: Use Google Search, default 'false'.
    """


def nano_banana_pro(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspect_ratio: Literal['1:1', '2:3', '3:2', '3:4', '4:3', '4:5', '5:4', '9:16', '16:9', '21:9', 'auto'] = '1:1',
    resolution: Literal['1K', '2K', '4K'] = '1K',
    output_format: Literal['png', 'jpg'] = 'png',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Nano Banana Pro, image: 8 credits per job with the default settings; resolution may change it.

    Prompt: at most 10,000 characters.
    References (image): Up to 8 images for image projects.
      image up to 30 MB: image/jpeg, image/png, image/webp
    aspect_ratio: Aspect ratio, default '1:1'.
    resolution: Output resolution tier, default '1K'.
    output_format: Output file format, default 'png'.
    """


def ideogram_v3(
    prompt: str,
    *,
    rendering_speed: Literal['TURBO', 'BALANCED', 'QUALITY'] = 'BALANCED',
    style: Literal['AUTO', 'GENERAL', 'REALISTIC', 'DESIGN'] = 'AUTO',
    expand_prompt: Literal['true', 'false', True, False] = 'true',
    image_size: Literal['square', 'square_hd', 'portrait_4_3', 'portrait_16_9', 'landscape_4_3', 'landscape_16_9'] = 'square_hd',
    seed: int | None = None,
    negative_prompt: str | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Ideogram V3, image: 7 credits per job with the default settings; rendering_speed may change it.

    Prompt: at most 5,000 characters.
    rendering_speed: Speed, cost and detail trade-off, default 'BALANCED'.
    style: Style, default 'AUTO'.
    expand_prompt: Prompt expansion switch, default 'true'.
    image_size: Output framing, default 'square_hd'.
    seed: Random seed; leave out for a new random result, at least 0.
    negative_prompt: What to avoid.
    """


def seedream_3_0(
    prompt: str,
    *,
    image_size: Literal['square', 'square_hd', 'portrait_4_3', 'portrait_16_9', 'landscape_4_3', 'landscape_16_9'] = 'square_hd',
    guidance_scale: float = 2.5,
    seed: int | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Seedream 3.0, image: 5 credits per job.

    Prompt: at most 5,000 characters.
    image_size: Output framing, default 'square_hd'.
    guidance_scale: How closely to follow the prompt, from 1 to 10, in steps of 0.1, default 2.5.
    seed: Random seed; leave out for a new random result, from 0 to 2147483647.
    """


def seedream_4_0(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    image_size: Literal['square', 'square_hd', 'portrait_4_3', 'portrait_3_2', 'portrait_16_9', 'landscape_4_3', 'landscape_3_2', 'landscape_16_9', 'landscape_21_9'] = 'square_hd',
    image_resolution: Literal['1K', '2K', '4K'] = '1K',
    max_images: int = 1,
    seed: int | None = None,
    nsfw_checker: Literal['false', 'true', False, True] = 'false',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Seedream 4.0, image: 6 credits per job.

    Prompt: at most 5,000 characters.
    References (image): the limit is not published.
    image_size: Output framing, default 'square_hd'.
    image_resolution: Output resolution tier, default '1K'.
    max_images: How many images one task may return, from 1 to 6, in steps of 1, default 1.
    seed: Random seed; leave out for a new random result, from 0 to 2147483647, in steps of 1.
    nsfw_checker: Content filter switch, default 'false'.
    """


def seedream_4_5(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspectRatio: Literal['1:1', '4:3', '3:4', '16:9', '9:16', '2:3', '3:2', '21:9'] = '1:1',
    quality: Literal['basic', 'high'] = 'basic',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Seedream 4.5, image: 7 credits per job with the default settings; quality may change it.

    Prompt: at most 3,000 characters.
    References (image): the limit is not published.
    aspectRatio: Aspect ratio, default '1:1'.
    quality: Quality tier, default 'basic'.
    """


def seedream_5_lite(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspectRatio: Literal['1:1', '4:3', '3:4', '16:9', '9:16', '2:3', '3:2', '21:9'] = '1:1',
    quality: Literal['basic', 'high'] = 'basic',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Seedream 5.0 Lite, image: 6 credits per job with the default settings; quality may change it.

    Prompt: at most 3,000 characters.
    References (image): the limit is not published.
    aspectRatio: Aspect ratio, default '1:1'.
    quality: Quality tier, default 'basic'.
    """


def grok_imagine(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspect_ratio: Literal['1:1', '2:3', '3:2', '16:9', '9:16'] = '1:1',
    enable_pro: Literal['false', 'true', False, True] = 'false',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Grok Imagine, image: 4 credits per job with the default settings; enable_pro may change it.

    Prompt: at most 5,000 characters.
    References (image): Up to 1 image for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    aspect_ratio: Aspect ratio, default '1:1'.
    enable_pro: Quality toggle, text-to-image only; image editing ignores it, default 'false'.
    """


def wan_2_7_image(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspect_ratio: Literal['1:1', '16:9', '4:3', '21:9', '3:4', '9:16', '8:1', '1:8'] = '1:1',
    resolution: Literal['1K', '2K'] = '2K',
    watermark: Literal['false', 'true', False, True] = 'false',
    seed: int | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Wan 2.7 Image, image: 5 credits per job with the default settings; resolution may change it.

    Prompt: at most 5,000 characters.
    References (image): Up to 9 images for image editing.
      image up to 20 MB: image/jpeg, image/png, image/webp
    aspect_ratio: Aspect ratio, default '1:1'.
    resolution: Output resolution tier, default '2K'.
    watermark: Add a watermark, default 'false'.
    seed: Random seed; leave out for a new random result, from 0 to 2147483647.
    """


def wan_2_7_image_pro(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspect_ratio: Literal['1:1', '16:9', '4:3', '21:9', '3:4', '9:16', '8:1', '1:8'] = '1:1',
    resolution: Literal['1K', '2K'] = '2K',
    watermark: Literal['false', 'true', False, True] = 'false',
    seed: int | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Wan 2.7 Image Pro, image: 12 credits per job with the default settings; resolution may change it.

    Prompt: at most 5,000 characters.
    References (image): Up to 9 images for image editing.
      image up to 20 MB: image/jpeg, image/png, image/webp
    aspect_ratio: Aspect ratio, default '1:1'.
    resolution: Output resolution tier, default '2K'.
    watermark: Add a watermark, default 'false'.
    seed: Random seed; leave out for a new random result, from 0 to 2147483647, in steps of 1.
    """


def veo3_1_lite(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    aspectRatio: Literal['16:9', '9:16', 'Auto'] = '16:9',
    watermark: str | None = None,
    seeds: int | None = None,
    enableTranslation: Literal['true', 'false', True, False] = 'true',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Veo3.1 Lite, video: 10 credits per job.

    Prompt: at most 5,000 characters.
    References (image): Up to 2 images for the image-driven project.
      image up to 10 MB: image/jpeg, image/png, image/webp
    aspectRatio: Aspect ratio, default '16:9'.
    watermark: Watermark text.
    seeds: Random seed; leave out for a new random result, from 10000 to 99999, in steps of 1.
    enableTranslation: Translate the prompt, default 'true'.
    """


def veo3_1_fast(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    generationType: Literal['FIRST_AND_LAST_FRAMES_2_VIDEO', 'REFERENCE_2_VIDEO'] = 'FIRST_AND_LAST_FRAMES_2_VIDEO',
    aspectRatio: Literal['16:9', '9:16', 'Auto'] = '16:9',
    watermark: str | None = None,
    seeds: int | None = None,
    enableTranslation: Literal['true', 'false', True, False] = 'true',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Veo3.1 Fast, video: 20 credits per job.

    Prompt: at most 5,000 characters.
    References (image): Up to 3 images for image- and reference-driven projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    generationType: How reference images are used, default 'FIRST_AND_LAST_FRAMES_2_VIDEO'.
    aspectRatio: Aspect ratio, default '16:9'.
    watermark: Watermark text.
    seeds: Random seed; leave out for a new random result, from 10000 to 99999, in steps of 1.
    enableTranslation: Translate the prompt, default 'true'.
    """


def kling_v2_1_master(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    duration: Literal['5', '10', 5, 10] = '5',
    aspect_ratio: Literal['16:9', '9:16', '1:1'] = '16:9',
    negative_prompt: str | None = None,
    cfg_scale: float = 0.5,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Kling V2.1 Master, video: 160 credits per job with the default settings; duration may change it.

    Prompt: at most 5,000 characters.
    References (image): Optional single image switches to image-to-video; none means text mode.
      image up to 10 MB: image/jpeg, image/png, image/webp
    duration: Seconds, default '5'.
    aspect_ratio: Aspect ratio, default '16:9'.
    negative_prompt: What to avoid.
    cfg_scale: How closely to follow the prompt, from 0 to 1, default 0.5.
    """


def kling_v2_5_turbo_pro(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    duration: Literal['5', '10', 5, 10] = '5',
    aspect_ratio: Literal['16:9', '9:16', '1:1'] = '16:9',
    negative_prompt: str | None = None,
    cfg_scale: float = 0.5,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Kling V2.5 Turbo Pro, video: 42 credits per job with the default settings; duration may change it.

    Prompt: at most 2,500 characters.
    References (image): Optional, up to 2 images for image-to-video; the second becomes the end frame.
    duration: Seconds, default '5'.
    aspect_ratio: Aspect ratio, default '16:9'.
    negative_prompt: What to avoid.
    cfg_scale: How closely to follow the prompt, from 0 to 1, default 0.5.
    """


def kling_2_6(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    duration: Literal['5', '10', 5, 10] = '5',
    sound: Literal['false', 'true', False, True] = 'false',
    aspect_ratio: Literal['1:1', '16:9', '9:16'] = '1:1',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Kling 2.6, video: 55 credits per job with the default settings; duration, sound may change it.

    Prompt: at most 1,000 characters.
    References (image): Up to 1 image for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    duration: Seconds, default '5'.
    sound: Generate audio, default 'false'.
    aspect_ratio: Aspect ratio, default '1:1'.
    """


def kling_3_0(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    mode: Literal['std', 'pro'] = 'pro',
    multi_shots: Literal['false', 'true', False, True] = 'false',
    duration: Literal['3', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13', '14', '15', 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] = '5',
    sound: Literal['false', 'true', False, True] = 'false',
    aspect_ratio: Literal['16:9', '9:16', '1:1'] = '16:9',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Kling 3.0, video: 90 credits per job with the default settings; mode, multi_shots, duration, sound may change it.

    Prompt: at most 2,000 characters.
    References (image): Up to 2 images in total for image-to-video.
      image up to 10 MB: image/jpeg, image/png, image/webp
    mode: Generation mode, default 'pro'.
    multi_shots: Shot mode, default 'false'.
    duration: Seconds, default '5'.
    sound: Generate audio, default 'false'.
    aspect_ratio: Aspect ratio, default '16:9'.
    """


def sora_2(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    n_frames: Literal['10', '15', 10, 15] = '10',
    aspect_ratio: Literal['landscape', 'portrait'] = 'landscape',
    remove_watermark: Literal['false', 'true', False, True] = 'false',
    upload_method: Literal['s3', 'oss'] = 's3',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Sora 2, video: 6 credits per job with the default settings; n_frames may change it.

    Prompt: at most 10,000 characters.
    References (image): Up to 1 image for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    n_frames: Length of the clip, default '10'.
    aspect_ratio: Orientation, default 'landscape'.
    remove_watermark: Remove the watermark, default 'false'.
    upload_method: Upload target, default 's3'.
    """


def sora_2_pro(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    size: Literal['standard', 'high', None] = None,
    n_frames: Literal['10', '15', 10, 15] = '10',
    aspect_ratio: Literal['landscape', 'portrait'] = 'landscape',
    remove_watermark: Literal['false', 'true', False, True] = 'false',
    upload_method: Literal['s3', 'oss'] = 's3',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Sora 2 Pro, video: 75 credits per job with the default settings; size, n_frames may change it.

    Prompt: at most 10,000 characters.
    References (image): Up to 1 image for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    size: Quality tier.
    n_frames: Length of the clip, default '10'.
    aspect_ratio: Orientation, default 'landscape'.
    remove_watermark: Remove the watermark, default 'false'.
    upload_method: Upload target, default 's3'.
    """


def happyhorse_1_0(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    resolution: Literal['720p', '1080p'] = '1080p',
    aspect_ratio: Literal['16:9', '9:16', '1:1', '4:3', '3:4'] = '16:9',
    duration: float = 5,
    audio_setting: Literal['auto', 'origin'] = 'auto',
    seed: int = 0,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """HappyHorse 1.0, video: 28 credits per job with the default settings; resolution, duration, audio_setting may change it.

    Prompt: at most 5,000 characters.
    References (image, video): Without a video up to 9 images; video editing takes 1 video plus up to 5 images.
      image up to 10 MB: image/jpeg, image/png, image/webp
      video up to 95 MB: video/mp4, video/quicktime
    resolution: Resolution, default '1080p'.
    aspect_ratio: Aspect ratio, default '16:9'.
    duration: Seconds, from 3 to 15, default 5.
    audio_setting: Video audio handling, default 'auto'.
    seed: Random seed; leave out for a new random result, from 0 to 2147483647, default 0.
    """


def seedance_1_0_lite(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    resolution: Literal['480p', '720p', '1080p'] = '720p',
    duration: Literal['5', '10', 5, 10] = '5',
    aspect_ratio: Literal['16:9', '4:3', '1:1', '3:4', '9:16', '9:21'] = '16:9',
    camera_fixed: Literal['false', 'true', False, True] = 'false',
    seed: int = -1,
    enable_safety_checker: Literal['true', 'false', True, False] = 'true',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Seedance 1.0 Lite, video: 16 credits per job with the default settings; resolution, duration may change it.

    Prompt: at most 10,000 characters.
    References (any kind): 1 source image for image-to-video, or 2 images to give an end frame as well.
    resolution: Resolution, default '720p'.
    duration: Seconds, default '5'.
    aspect_ratio: Aspect ratio, default '16:9'.
    camera_fixed: Keep the camera still, default 'false'.
    seed: Random seed; leave out for a new random result, from -1 to 2147483647, default -1.
    enable_safety_checker: Safety checker switch, default 'true'.
    """


def seedance_1_0_pro(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    resolution: Literal['480p', '720p', '1080p'] = '720p',
    duration: Literal['5', '10', 5, 10] = '5',
    aspect_ratio: Literal['21:9', '16:9', '4:3', '1:1', '3:4', '9:16'] = '16:9',
    camera_fixed: Literal['false', 'true', False, True] = 'false',
    seed: int = -1,
    enable_safety_checker: Literal['true', 'false', True, False] = 'true',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Seedance 1.0 Pro, video: 25 credits per job with the default settings; resolution, duration may change it.

    Prompt: at most 10,000 characters.
    References (image): At most one image.
    resolution: Resolution, default '720p'.
    duration: Seconds, default '5'.
    aspect_ratio: Aspect ratio, default '16:9'.
    camera_fixed: Keep the camera still, default 'false'.
    seed: Random seed; leave out for a new random result, from -1 to 2147483647, default -1.
    enable_safety_checker: Safety checker switch, default 'true'.
    """


def seedance_1_5_pro(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    resolution: Literal['480p', '720p', '1080p'] = '720p',
    duration: Literal['4', '8', '12', 4, 8, 12] = '8',
    generate_audio: Literal['false', 'true', False, True] = 'false',
    aspectRatio: Literal['1:1', '4:3', '3:4', '16:9', '9:16', '21:9'] = '1:1',
    fixed_lens: Literal['false', 'true', False, True] = 'false',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Seedance 1.5 Pro, video: 28 credits per job with the default settings; resolution, duration, generate_audio may change it.

    Prompt: at most 2,500 characters.
    References (image): Up to 2 images for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    resolution: Resolution, default '720p'.
    duration: Seconds, default '8'.
    generate_audio: Generate audio, default 'false'.
    aspectRatio: Aspect ratio, default '1:1'.
    fixed_lens: Keep the camera still, default 'false'.
    """


def seedance_2(
    prompt: str,
    *,
    seedance_scene: Literal['text', 'frames', 'reference'] = 'text',
    resolution: Literal['480p', '720p'] = '720p',
    aspect_ratio: Literal['1:1', '4:3', '3:4', '16:9', '9:16', '21:9', 'adaptive'] = '16:9',
    duration: float = 5,
    generate_audio: Literal['true', 'false', True, False] = 'true',
    return_last_frame: Literal['false', 'true', False, True] = 'false',
    web_search: Literal['false', 'true', False, True] = 'false',
    nsfw_checker: Literal['false', 'true', False, True] = 'false',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Seedance 2.0, video: 175 credits per job with the default settings; resolution, duration, generate_audio, web_search may change it.

    Prompt: at most 2,500 characters.
    seedance_scene: Which path to run: text, first/last frames, or multimodal reference, default 'text'.
    resolution: Resolution, default '720p'.
    aspect_ratio: Aspect ratio, default '16:9'.
    duration: Seconds, from 4 to 15, default 5.
    generate_audio: Generate audio, default 'true'.
    return_last_frame: Also return the last frame as an image, default 'false'.
    web_search: Web search, default 'false'.
    nsfw_checker: Content filter switch, default 'false'.
    """


def seedance_2_fast(
    prompt: str,
    *,
    seedance_scene: Literal['text', 'frames', 'reference'] = 'text',
    resolution: Literal['480p', '720p'] = '720p',
    aspect_ratio: Literal['1:1', '4:3', '3:4', '16:9', '9:16', '21:9', 'adaptive'] = '16:9',
    duration: float = 5,
    generate_audio: Literal['true', 'false', True, False] = 'true',
    return_last_frame: Literal['false', 'true', False, True] = 'false',
    web_search: Literal['false', 'true', False, True] = 'false',
    nsfw_checker: Literal['false', 'true', False, True] = 'false',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Seedance 2.0 Fast, video: 140 credits per job with the default settings; resolution, duration, generate_audio, web_search may change it.

    Prompt: at most 2,500 characters.
    seedance_scene: Which path to run: text, first/last frames, or multimodal reference, default 'text'.
    resolution: Resolution, default '720p'.
    aspect_ratio: Aspect ratio, default '16:9'.
    duration: Seconds, from 4 to 15, default 5.
    generate_audio: Generate audio, default 'true'.
    return_last_frame: Also return the last frame as an image, default 'false'.
    web_search: Web search, default 'false'.
    nsfw_checker: Content filter switch, default 'false'.
    """


def wan_2_2_a14b_turbo(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    resolution: Literal['480p', '580p', '720p'] = '720p',
    aspect_ratio: Literal['16:9', '9:16'] = '16:9',
    enable_prompt_expansion: Literal['false', 'true', False, True] = 'false',
    seed: int | None = None,
    acceleration: Literal['none', 'regular'] = 'none',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Wan 2.2 A14B Turbo, video: 12 credits per job with the default settings; resolution, acceleration may change it.

    Prompt: at most 5,000 characters.
    References (image, audio): the limit is not published.
    resolution: Resolution; 580p only on the image-plus-audio path, unsupported tiers are filtered by mode, default '720p'.
    aspect_ratio: Aspect ratio, text-to-video only, default '16:9'.
    enable_prompt_expansion: Expand the prompt; text and image runs only, default 'false'.
    seed: Random seed; leave out for a new random result, from 0 to 2147483647.
    acceleration: Acceleration; text and image runs only, default 'none'.
    """


def wan_2_2_animate_replace(
    prompt: str | None = None,
    *,
    video_url: str | None = None,
    image_url: str | None = None,
    resolution: Literal['480p', '580p', '720p'] = '480p',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Wan Animate Replace, video: 20 credits per job with the default settings; resolution may change it.

    video_url: Public URL of the source video (MP4, MOV or MKV).
    image_url: Public URL of the replacement image (JPEG, PNG or WebP).
    resolution: Resolution, default '480p'.
    """


def sora_watermark_remover(
    prompt: str | None = None,
    *,
    video_url: str,
    upload_method: Literal['s3', 'oss'],
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Sora Watermark Remover, video: 3 credits per job.

    video_url: Public URL of the source video, required.
    upload_method: Storage of the result, required.
    """


def wan_2_5_video(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    resolution: Literal['720p', '1080p'] = '720p',
    duration: Literal['5', '10', 5, 10] = '5',
    aspect_ratio: Literal['16:9', '9:16', '1:1'] = '16:9',
    enable_prompt_expansion: Literal['false', 'true', False, True] = 'false',
    seed: int | None = None,
    negative_prompt: str | None = None,
    nsfw_checker: Literal['false', 'true', False, True] = 'false',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Wan 2.5 Video, video: 60 credits per job with the default settings; resolution, duration may change it.

    Prompt: at most 5,000 characters.
    References (image): Up to 1 image for image-to-video.
    resolution: Resolution, default '720p'.
    duration: Seconds, default '5'.
    aspect_ratio: Aspect ratio, default '16:9'.
    enable_prompt_expansion: Expand the prompt, default 'false'.
    seed: Random seed; leave out for a new random result, from 0 to 2147483647.
    negative_prompt: What to avoid.
    nsfw_checker: Content filter switch, default 'false'.
    """


def wan_2_6(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    resolution: Literal['720p', '1080p'] = '720p',
    duration: Literal['5', '10', '15', 5, 10, 15] = '5',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Wan 2.6, video: 70 credits per job with the default settings; resolution, duration may change it.

    Prompt: at most 5,000 characters.
    References (image, video): Up to 1 image or video.
      image up to 10 MB: image/jpeg, image/png, image/webp
      video up to 10 MB: video/mp4, video/quicktime, video/x-matroska
    resolution: Resolution, default '720p'.
    duration: Seconds, default '5'.
    """


def wan_2_7_video(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    resolution: Literal['720p', '1080p'] = '720p',
    duration: Literal['5', '10', '15', 5, 10, 15] = '5',
    aspect_ratio: Literal['16:9', '9:16', '1:1', '4:3', '3:4'] = '16:9',
    negative_prompt: str | None = None,
    prompt_extend: Literal['true', 'false', True, False] = 'true',
    watermark: Literal['false', 'true', False, True] = 'false',
    audio_setting: Literal['auto', 'origin'] = 'auto',
    seed: int | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Wan 2.7 Video, video: 80 credits per job with the default settings; resolution, duration, audio_setting may change it.

    Prompt: at most 5,000 characters.
    References (image, video): the limit is not published.
    resolution: Resolution, default '720p'.
    duration: Seconds; video editing is capped at 10, default '5'.
    aspect_ratio: Aspect ratio; image-to-video follows the uploaded frame, default '16:9'.
    negative_prompt: What to avoid.
    prompt_extend: Let the model rewrite the prompt, default 'true'.
    watermark: Add a watermark, default 'false'.
    audio_setting: Audio handling in video editing, default 'auto'.
    seed: Random seed; leave out for a new random result, from 0 to 2147483647.
    """


def hailuo_pro(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    prompt_optimizer: Literal['false', 'true', False, True] = 'false',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Hailuo Pro, video: 57 credits per job.

    Prompt: at most 1,500 characters.
    References (image): Up to 2 images; the second becomes the last frame.
      image up to 10 MB: image/jpeg, image/png, image/webp
    prompt_optimizer: Let the model rewrite the prompt, default 'false'.
    """


def hailuo_standard(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    duration: Literal['6', '10', 6, 10] = '6',
    resolution: Literal['512P', '768P'] = '512P',
    prompt_optimizer: Literal['false', 'true', False, True] = 'false',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Hailuo Standard, video: 30 credits per job with the default settings; duration, resolution may change it.

    Prompt: at most 1,500 characters.
    References (image): Up to 2 images; the second becomes the last frame.
      image up to 10 MB: image/jpeg, image/png, image/webp
    duration: Seconds, default '6'.
    resolution: Resolution, default '512P'.
    prompt_optimizer: Let the model rewrite the prompt, default 'false'.
    """


def runway(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    duration: Literal['5', '10', 5, 10] = '5',
    quality: Literal['720p', '1080p'] = '720p',
    aspectRatio: Literal['16:9', '4:3', '1:1', '3:4', '9:16'] = '16:9',
    waterMark: str | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Runway, video: 12 credits per job with the default settings; duration, quality may change it.

    Prompt: at most 1,800 characters.
    References (image): Optional single image switches to image-to-video; none means text mode.
      image up to 10 MB: image/jpeg, image/png, image/webp
    duration: Seconds, default '5'.
    quality: Quality tier, default '720p'.
    aspectRatio: Aspect ratio, default '16:9'.
    waterMark: Watermark text; empty for none.
    """


def grok_imagine_video(
    prompt: str,
    *,
    references: Sequence[Reference] = (),
    mode: Literal['fun', 'normal', 'spicy'] = 'normal',
    duration: int = 6,
    resolution: Literal['480p', '720p'] = '480p',
    aspect_ratio: Literal['1:1', '16:9', '9:16', '2:3', '3:2'] = '2:3',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """Grok Imagine Video, video: 10 credits per job with the default settings; mode, duration, resolution may change it.

    Prompt: at most 5,000 characters.
    References (image): Up to 1 image for image projects.
      image up to 10 MB: image/jpeg, image/png, image/webp
    mode: Generation mode, default 'normal'.
    duration: Seconds, from 6 to 30, in steps of 1, default 6.
    resolution: Resolution, default '480p'.
    aspect_ratio: Aspect ratio, default '2:3'.
    """


def elevenlabs_turbo_2_5(
    prompt: str,
    *,
    voice: Literal['TX3LPaxmHKxFdv7VOQHJ', 'cgSgspJ2msm6clMCkdW9', 'pNInz6obpgDQGcFmaJgB', 'BIvP0GN1cAtSRTxNHnWS', 'aMSt68OGf4xUZAnLpTU8'],
    stability: float = 0.5,
    similarity_boost: float = 0.75,
    style: float = 0,
    speed: float = 1,
    timestamps: Literal['false', 'true', False, True] = 'false',
    previous_text: str | None = None,
    next_text: str | None = None,
    language_code: str | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """ElevenLabs Turbo 2.5, audio: metered, 6 credits listed.

    Prompt: at most 5,000 characters.
    voice: Voice id, required.
    stability: Stability, from 0 to 1, in steps of 0.05, default 0.5.
    similarity_boost: Similarity boost, from 0 to 1, in steps of 0.05, default 0.75.
    style: Style, from 0 to 1, in steps of 0.05, default 0.
    speed: Speed, from 0.7 to 1.2, in steps of 0.05, default 1.
    timestamps: Return timestamps, default 'false'.
    previous_text: Text before this passage.
    next_text: Text after this passage.
    language_code: Language code such as en or zh.
    """


def elevenlabs_multilingual_v2(
    prompt: str,
    *,
    voice: Literal['TX3LPaxmHKxFdv7VOQHJ', 'cgSgspJ2msm6clMCkdW9', 'pNInz6obpgDQGcFmaJgB', 'BIvP0GN1cAtSRTxNHnWS', 'aMSt68OGf4xUZAnLpTU8'],
    stability: float = 0.5,
    similarity_boost: float = 0.75,
    style: float = 0,
    speed: float = 1,
    timestamps: Literal['false', 'true', False, True] = 'false',
    previous_text: str | None = None,
    next_text: str | None = None,
    language_code: str | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """ElevenLabs Multilingual V2, audio: metered, 12 credits listed.

    Prompt: at most 5,000 characters.
    voice: Voice id, required.
    stability: Stability, from 0 to 1, in steps of 0.05, default 0.5.
    similarity_boost: Similarity boost, from 0 to 1, in steps of 0.05, default 0.75.
    style: Style, from 0 to 1, in steps of 0.05, default 0.
    speed: Speed, from 0.7 to 1.2, in steps of 0.05, default 1.
    timestamps: Return timestamps, default 'false'.
    previous_text: Text before this passage.
    next_text: Text after this passage.
    language_code: Language code such as en or zh.
    """


def elevenlabs_dialogue_v3(
    prompt: str | None = None,
    *,
    dialogue: Sequence[DialogueLine],
    default_voice: Literal['Adam', 'Alice', 'Bill', 'Brian', 'Callum', 'Charlie', 'Chris', 'Daniel', 'Eric', 'George', 'Harry', 'Jessica', 'Laura', 'Liam', 'Lily', 'Matilda', 'River', 'Roger', 'Sarah', 'Will'] = 'Adam',
    stability: Literal['0', '0.5', '1', 0, 1] | float = '0.5',
    language_code: str | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """ElevenLabs Dialogue V3, audio: metered, 14 credits listed.

    Prompt: at most 5,000 characters.
    dialogue: Dialogue lines, each an object with voice and text; the server builds the prompt from it, required.
    default_voice: Default voice, default 'Adam'.
    stability: Stability, default '0.5'.
    language_code: Language code.
    """


def elevenlabs_sound_effect_v2(
    prompt: str,
    *,
    loop: Literal['false', 'true', False, True] = 'false',
    duration_seconds: float = 3,
    prompt_influence: float = 0.3,
    output_format: Literal['mp3_22050_32', 'mp3_44100_32', 'mp3_44100_64', 'mp3_44100_96', 'mp3_44100_128', 'mp3_44100_192', 'pcm_8000', 'pcm_16000', 'pcm_22050', 'pcm_24000', 'pcm_44100', 'pcm_48000', 'ulaw_8000', 'alaw_8000', 'opus_48000_32', 'opus_48000_64', 'opus_48000_96', 'opus_48000_128', 'opus_48000_192'] = 'mp3_44100_128',
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
) -> GenerationRequest:
    """ElevenLabs Sound Effect V2, audio: metered, 3 credits listed.

    Prompt: at most 5,000 characters.
    loop: Loop the sound, default 'false'.
    duration_seconds: Seconds, from 0.5 to 22, in steps of 0.5, default 3.
    prompt_influence: How closely to follow the prompt, from 0 to 1, in steps of 0.05, default 0.3.
    output_format: Audio format, default 'mp3_44100_128'.
    """
