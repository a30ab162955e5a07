"""Rendered files open in other programs and have the requested size, length, format and caption."""

from __future__ import annotations

import subprocess
import sys
import wave
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import pairwise
from typing import Any

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from rivya_async.sandbox import catalogue
from rivya_async.sandbox.media import Artifact, RenderRequest, caption, render
from rivya_async.sandbox.media.image import FRAMES_PER_SECOND, THEMES, animate
from rivya_async.sandbox.media.scene import SCENES, Palette

ODD_PROMPTS = {
    "empty": "",
    "blank": " \n\t ",
    "endless": "a very long story " * 1_112,
    "one word": "x" * 20_000,
    "emoji": "a cat 😀 with 👩‍👩‍👧‍👦 and 🏳️‍🌈",
    "chinese": "一隻紅色的狐狸在雪地裡",
    "right to left": "ثعلب أحمر في الثلج",
    "vietnamese": "Phở bò Hà Nội — ảnh đẹp",
    "controls": "a\x00b\u200bc\u202ed\ufffe",
    "lone surrogate": "half \ud83d of an emoji",
}
MEDIA_MODELS = [model for model in catalogue.load_catalogue().models.values() if not model.is_chat]


SHORT_PARAMS: dict[str, dict[str, Any]] = {"image": {}, "video": {"duration": 0.5}, "audio": {"duration_seconds": 0.5}}


def make_request(
    category: str = "image", prompt: str = "red hills", params: Mapping[str, Any] | None = None
) -> RenderRequest:
    return RenderRequest(category, "z-image", prompt, params or {}, seed=7)


def open_image(artifact: Artifact) -> Image.Image:
    picture = Image.open(BytesIO(artifact.data))
    picture.load()
    return picture


def decode_video(artifact: Artifact) -> tuple[float, str, tuple[int, int]]:
    """Returns seconds, codec and size after decoding every frame."""
    with av.open(BytesIO(artifact.data), "r") as container:
        assert container.duration is not None
        context = container.streams.video[0].codec_context
        seconds = sum(1 for _ in container.decode(video=0)) / FRAMES_PER_SECOND
        assert seconds == container.duration / 1e6
        return seconds, context.name, (context.width, context.height)


def decode_audio(artifact: Artifact) -> tuple[float, int, str, float]:
    """Returns seconds, sample rate, codec and peak (0 to 1)."""
    with av.open(BytesIO(artifact.data), "r") as container:
        stream = container.streams.audio[0]
        mono = av.AudioResampler(format="s16", layout="mono")
        frames = [out for frame in container.decode(stream) for out in mono.resample(frame)]
        count = sum(frame.samples for frame in frames)
        peak = max(max(memoryview(frame.planes[0]).cast("B").cast("h")[: frame.samples]) for frame in frames)
        return count / stream.rate, stream.rate, stream.codec_context.name, peak / 32_768


# --- every model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MEDIA_MODELS, ids=lambda model: model.id)
def test_description_matches_file(model: catalogue.Model) -> None:
    request = RenderRequest(
        model.category, model.id, "a small test", model.filled({}) | SHORT_PARAMS[model.category], seed=1
    )
    artifact = render(request)
    assert artifact.mime_type == request.file_format.mime_type
    if model.category == "image":
        assert Image.MIME[open_image(artifact).format or ""] == artifact.mime_type
    else:
        with av.open(BytesIO(artifact.data), "r") as container:
            assert artifact.mime_type.partition("/")[0] == model.category
            assert len(container.streams) == 1


def test_catalogue_has_all_media_models() -> None:
    assert len(MEDIA_MODELS) == 52


def test_every_aspect_ratio_option_is_parsed() -> None:
    cases = [
        (model, option)
        for model in MEDIA_MODELS
        for param in model.params
        if param.key in {"aspect_ratio", "aspectRatio", "imageSize", "image_size"}
        for option in param.options - {"auto", "Auto", "adaptive", "square", "square_hd", "1:1"}
    ]
    assert len(cases) > 100
    for model, option in cases:
        params = model.filled({}) | {"aspect_ratio": option}
        assert RenderRequest(model.category, model.id, "", params, 0).aspect_ratio != 1.0, (model.id, option)


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "size"),
    [
        ({}, (768, 768)),
        ({"aspect_ratio": "16:9"}, (768, 432)),
        ({"aspectRatio": "9:16"}, (432, 768)),
        ({"imageSize": "4:5"}, (614, 768)),
        ({"imageSize": "auto"}, (768, 768)),
        ({"image_size": "square_hd"}, (768, 768)),
        ({"image_size": "portrait_4_3"}, (576, 768)),
        ({"image_size": "landscape_16_9"}, (768, 432)),
        ({"image_size": "landscape_21_9"}, (768, 329)),
        ({"size": "3:2"}, (768, 512)),
        ({"size": "1024x512"}, (768, 384)),
        ({"size": "standard", "aspect_ratio": "portrait"}, (432, 768)),
        ({"aspect_ratio": "8:1"}, (768, 96)),
        ({"aspect_ratio": "1:8"}, (96, 768)),
        ({"aspect_ratio": "0:0"}, (768, 768)),
        ({"aspect_ratio": "1:999"}, (77, 768)),
        ({"aspect_ratio": "16:9", "resolution": "2K"}, (1024, 576)),
        ({"image_resolution": "4K"}, (1280, 1280)),
    ],
)
def test_image_size(params: dict[str, Any], size: tuple[int, int]) -> None:
    artifact = render(make_request(params=params))
    assert open_image(artifact).size == size
    assert len(artifact.data) < 300_000


@pytest.mark.parametrize(
    ("params", "model", "described", "opened_as"),
    [
        ({}, "z-image", ("image/png", "png"), "PNG"),
        ({"output_format": "png"}, "nano-banana-2", ("image/png", "png"), "PNG"),
        ({}, "nano-banana-2", ("image/jpeg", "jpg"), "JPEG"),
        ({"output_format": "jpg"}, "z-image", ("image/jpeg", "jpg"), "JPEG"),
        ({"outputFormat": "jpeg"}, "flux-kontext-pro", ("image/jpeg", "jpg"), "JPEG"),
        ({"outputFormat": "WEBP"}, "z-image", ("image/webp", "webp"), "WEBP"),
        ({"output_format": "tiff"}, "z-image", ("image/png", "png"), "PNG"),
    ],
)
def test_image_format(params: dict[str, Any], model: str, described: tuple[str, str], opened_as: str) -> None:
    request = RenderRequest("image", model, "blue sea", params, seed=1)
    assert (request.file_format.mime_type, request.file_format.suffix) == described
    assert open_image(render(request)).format == opened_as


@pytest.mark.parametrize("category", ["image", "video", "audio"])
def test_same_request_gives_same_bytes_in_any_thread(category: str) -> None:
    request = make_request(category, "a red fox", SHORT_PARAMS[category])
    with ThreadPoolExecutor(4) as threads:
        copies = list(threads.map(render, [request] * 6))
    assert copies == [render(request)] * 6


@pytest.mark.parametrize(
    "other",
    [
        RenderRequest("image", "z-image", "a quiet place.", {}, seed=1),
        RenderRequest("image", "4o-image", "a quiet place", {}, seed=1),
        RenderRequest("image", "z-image", "a quiet place", {}, seed=2),
        RenderRequest("image", "z-image", "a quiet place", {}, seed=1, index=1),
    ],
    ids=["prompt", "model", "seed", "index"],
)
def test_different_request_gives_different_image(other: RenderRequest) -> None:
    assert render(other) != render(RenderRequest("image", "z-image", "a quiet place", {}, seed=1))


@pytest.mark.parametrize("prompt", ODD_PROMPTS.values(), ids=ODD_PROMPTS.keys())
@pytest.mark.parametrize("shape", ["16:9", "8:1", "1:8"])
def test_any_prompt_gives_valid_image(prompt: str, shape: str) -> None:
    assert open_image(render(make_request(prompt=prompt, params={"aspect_ratio": shape}))).format == "PNG"


@pytest.mark.parametrize(
    ("prompt", "channel"), [("red", 0), ("crimson fire", 0), ("green field", 1), ("blue", 2), ("oceans", 2)]
)
def test_color_word_selects_palette(prompt: str, channel: int) -> None:
    mean = ImageStat.Stat(open_image(render(make_request(prompt=f"{prompt} mountains"))).convert("RGB")).mean
    assert max(range(3), key=mean.__getitem__) == channel


def test_themes_name_existing_scenes() -> None:
    assert set(THEMES["scenes"]) == set(SCENES)


# --- captions ---------------------------------------------------------------------------------------------------------

LONG_PROMPT = "A wide shot of an old lighthouse on a cliff at dawn, with fog that rolls in from the sea, on 35mm film. "
CAPTIONS = {
    "short": "A red kite",
    "accents": "Phở bò Hà Nội — ảnh đẹp, façade naïve, Łódź, straße",
    "long": LONG_PROMPT * 4,
    "very long": LONG_PROMPT * 24,
    "one word": "Donaudampfschifffahrtsgesellschaft" * 9,
    "narrow and wide letters": "iiiiiiiiiiWWWWWWWWWW" * 12,
    "chinese": "一隻紅色的狐狸在雪地裡、夕陽下的山丘" * 3,
    "japanese": "夕焼けの丘を走る赤いキツネ",
    "arabic": "ثعلب أحمر في الثلج فوق التلال البعيدة عند الغروب " * 3,
    "emoji": "a cat 😀 in the rain",
}
SIZES = [(768, 768), (768, 432), (432, 768), (1280, 1280), (352, 198), (198, 352), (768, 329)]
NARROW_SIZES = [(768, 96), (96, 768)]
GRAYS = Palette(*((level,) * 3 for level in (90, 150, 220, 100, 0)))
needs_system_font = pytest.mark.skipif(len(caption.installed_fonts()) == 1, reason="no system font is installed")


def without_spaces(text: str) -> str:
    return "".join(text.split())


def white_box(layer: Image.Image) -> tuple[int, int, int, int]:
    """Returns the part of a caption layer that has letters."""
    box = layer.getchannel("R").point([255 if level > 200 else 0 for level in range(256)]).getbbox()
    assert box is not None
    return box


@pytest.mark.parametrize("size", SIZES + NARROW_SIZES, ids=str)
@pytest.mark.parametrize("prompt", CAPTIONS.values(), ids=CAPTIONS.keys())
def test_caption_is_never_cropped(prompt: str, size: tuple[int, int]) -> None:
    left, top, right, bottom = white_box(caption.render_caption(size, prompt, "z-image", GRAYS))
    margin = max(4, round(min(size) * 0.055)) - 1  # one pixel for smooth edges
    assert margin <= left < right <= size[0] - margin
    assert margin <= top < bottom <= size[1] - margin


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("prompt", CAPTIONS.values(), ids=CAPTIONS.keys())
def test_caption_has_the_whole_prompt(prompt: str, size: tuple[int, int]) -> None:
    text, font_name = caption.spell_in_best_font(prompt)
    width, height = size[0] - 40, size[1] - 60
    lines, font = caption.fit_text(text, font_name, width, height)
    assert len(lines) * round(font.size * caption.LINE_SPACING) <= height
    assert max(font.getlength(line) for line in lines) <= width
    if len(prompt) < 1_000 or size[0] * size[1] > 200_000:
        assert without_spaces("".join(lines)) == without_spaces(text)
    else:
        assert lines[-1].endswith("…")


@pytest.mark.parametrize("prompt", [LONG_PROMPT * 190, "x" * 20_000, "…" * 20_000], ids=["words", "letters", "signs"])
def test_caption_that_fits_in_no_size_ends_with_ellipsis(prompt: str) -> None:
    lines, font = caption.fit_text(prompt.strip(), caption.BUILT_IN_FONT, 600, 400)
    shown = "".join(line + " " for line in lines).strip()
    assert font.size == caption.MIN_FONT_SIZE
    assert len(lines) > 25
    assert max(font.getlength(line) for line in lines) <= 600
    assert shown.endswith("…")
    assert without_spaces(prompt).startswith(without_spaces(shown[:-1]))
    if " " in prompt:
        assert shown[:-1].split()[-1] in LONG_PROMPT.split()


def test_short_captions_have_large_letters() -> None:
    sizes = [
        caption.fit_text(prompt, caption.BUILT_IN_FONT, 684, 650)[1].size
        for prompt in ("A red kite", LONG_PROMPT * 4, LONG_PROMPT * 30)
    ]
    assert sizes[0] > 40 > sizes[1] > 20 > sizes[2]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("plain text", "plain text"),
        ("  two\n lines ", "two lines"),
        ("Phở bò Hà Nội — đẹp, straße", "Pho bo Ha Noi - dep, strasse"),
        ("cat 😀", "cat (grinning face)"),
        ("red 狐", "red [1 CJK character]"),
        ("一隻紅色的狐狸 fox", "[7 CJK characters] fox"),
        ("fox狐狸、雪地, sea", "fox [5 CJK characters], sea"),
        ("ثعلب أحمر", "[8 Arabic characters]"),
        ("a\x00b\u200bc", "a bc"),
        ("half \ud83d of an emoji", "half of an emoji"),
        ("“quoted” it\u2019s…", "“quoted” it\u2019s…"),
    ],
)
def test_missing_letters_are_spelled_another_way(monkeypatch: pytest.MonkeyPatch, prompt: str, text: str) -> None:
    monkeypatch.setattr(caption, "installed_fonts", lambda: [caption.BUILT_IN_FONT])
    assert caption.spell_in_best_font(prompt) == (text, caption.BUILT_IN_FONT)


@needs_system_font
def test_accents_are_kept_if_a_font_has_them() -> None:
    text, font_name = caption.spell_in_best_font("Phở bò Hà Nội — đẹp")
    assert text == "Phở bò Hà Nội — đẹp"
    assert font_name != caption.BUILT_IN_FONT


@needs_system_font
def test_arabic_is_aligned_to_the_right() -> None:
    if "[" in caption.spell_in_best_font("ثعلب أحمر")[0]:
        pytest.skip("no font of this machine has Arabic letters, or no library joins them")
    left, _, right, _ = white_box(caption.render_caption((768, 432), "ثعلب أحمر", "m" * 200, GRAYS))
    assert left > 384
    assert right > 730


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize(("repeated", "box"), [(1, (42, 620, 400, 710)), (20, (42, 335, 400, 400))])
def test_caption_is_legible_on_bright_scene(scene: str, repeated: int, box: tuple[int, int, int, int]) -> None:
    prompt = f"white {THEMES['scenes'][scene].split()[0]}. " + LONG_PROMPT * (repeated - 1)
    lines = open_image(render(make_request(prompt=prompt))).convert("L").crop(box)
    _, brightest = lines.getextrema()
    assert isinstance(brightest, int)
    assert brightest > 235
    assert ImageStat.Stat(lines).median[0] < 150


# --- videos -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "seconds", "size"),
    [
        ({}, 5.0, (352, 198)),
        ({"duration": "3", "aspect_ratio": "9:16"}, 3.0, (198, 352)),
        ({"duration": 4, "aspectRatio": "Auto"}, 4.0, (352, 198)),
        ({"n_frames": "10", "aspect_ratio": "portrait"}, 10.0, (198, 352)),
        ({"duration_seconds": 1.5, "aspect_ratio": "1:1"}, 1.5, (352, 352)),
        ({"duration": 30, "aspect_ratio": "21:9"}, 30.0, (352, 152)),
    ],
)
def test_video_length_and_size(params: dict[str, Any], seconds: float, size: tuple[int, int]) -> None:
    artifact = render(make_request("video", "waves of the ocean", params))
    assert decode_video(artifact) == (seconds, "h264", size)
    assert len(artifact.data) < 80_000 * seconds


def test_video_index_precedes_data() -> None:
    data = render(make_request("video", params={"duration": 1})).data
    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("scene", SCENES)
def test_scene_moves_slowly(scene: str) -> None:
    draw_frame = animate(make_request("video", THEMES["scenes"][scene].split()[0]))
    pictures = [draw_frame(n / FRAMES_PER_SECOND) for n in range(0, 48, 4)]
    steps = [ImageStat.Stat(ImageChops.difference(a, b).convert("L")).mean[0] for a, b in pairwise(pictures)]
    assert all(0 < step < 4 for step in steps)


def test_frame_of_video_shows_caption() -> None:
    artifact = render(make_request("video", "white hills", {"duration": 1}))
    with av.open(BytesIO(artifact.data), "r") as container:
        frame = list(container.decode(video=0))[-1].reformat(format="gray")
    picture = Image.frombytes("L", (352, 198), bytes(frame.planes[0]), "raw", "L", frame.planes[0].line_size)
    darkest, brightest = picture.crop((10, 150, 180, 190)).getextrema()
    assert isinstance(darkest, int)
    assert isinstance(brightest, int)
    assert darkest < 80
    assert brightest > 220


# --- sounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "described", "codec", "rate"),
    [
        (None, ("audio/mpeg", "mp3"), "mp3float", 44_100),
        ("mp3_22050_32", ("audio/mpeg", "mp3"), "mp3float", 22_050),
        ("mp3_44100_192", ("audio/mpeg", "mp3"), "mp3float", 44_100),
        ("pcm_8000", ("audio/wav", "wav"), "pcm_s16le", 8_000),
        ("pcm_48000", ("audio/wav", "wav"), "pcm_s16le", 48_000),
        ("ulaw_8000", ("audio/wav", "wav"), "pcm_mulaw", 8_000),
        ("alaw_8000", ("audio/wav", "wav"), "pcm_alaw", 8_000),
        ("opus_48000_64", ("audio/ogg", "ogg"), "opus", 48_000),
        ("wav", ("audio/wav", "wav"), "pcm_s16le", 44_100),
        ("flac", ("audio/mpeg", "mp3"), "mp3float", 44_100),
    ],
)
def test_audio_format_and_length(asked: str | None, described: tuple[str, str], codec: str, rate: int) -> None:
    params: dict[str, Any] = {"duration_seconds": 1.5} | ({"output_format": asked} if asked else {})
    request = make_request("audio", "rain on a roof", params)
    artifact = render(request)
    assert (artifact.mime_type, request.file_format.suffix) == described
    seconds, sampled, played_as, loudness = decode_audio(artifact)
    assert (sampled, played_as) == (rate, codec)
    assert seconds == pytest.approx(1.5, abs=0.001)
    assert 0.5 < loudness < 1.0


def test_pcm_opens_with_standard_library() -> None:
    artifact = render(make_request("audio", params={"output_format": "pcm_16000", "duration_seconds": 2}))
    with wave.open(BytesIO(artifact.data)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 16_000)
        assert sound.getnframes() == 32_000


@pytest.mark.parametrize(
    ("prompt", "params", "seconds"),
    [
        ("hello", {}, 2.0),
        ("one two three four five six seven eight nine ten", {}, 3.5),
        ("word " * 500, {}, 20.0),
        ("", {"dialogue": [{"voice": "Adam", "text": "one two three four"}, {"text": "five six seven eight"}]}, 2.8),
        ("紅" * 60, {}, 3.5),
    ],
)
def test_default_length_of_speech_follows_text(prompt: str, params: dict[str, Any], seconds: float) -> None:
    request = RenderRequest("audio", "elevenlabs-turbo-2-5", prompt, params | {"voice": "Adam"}, seed=3)
    assert request.seconds == pytest.approx(seconds)
    assert decode_audio(render(request))[0] == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize("prompt", ODD_PROMPTS.values(), ids=ODD_PROMPTS.keys())
def test_any_prompt_gives_valid_audio(prompt: str) -> None:
    artifact = render(RenderRequest("audio", "elevenlabs-turbo-2-5", prompt, {"duration_seconds": 1}, seed=3))
    assert decode_audio(artifact)[3] > 0.3


@pytest.mark.parametrize("odd", ["soon", "nan", None, -3, 0, [], {}])
def test_invalid_duration_falls_back_to_default(odd: Any) -> None:
    assert make_request("video", params={"duration": odd}).seconds == 5.0


def test_excessive_duration_is_clamped() -> None:
    assert make_request("video", params={"duration": 86_400}).seconds == 60.0


# --- imports --------------------------------------------------------------------------------------------


def test_import_loads_neither_pillow_nor_pyav() -> None:
    program = "import sys, rivya_async.sandbox.media; print(sorted({'PIL', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("missing", "category"), [("PIL", "image"), ("av", "video"), ("av", "audio")])
def test_missing_library_error_names_extra(missing: str, category: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from rivya_async.sandbox.media import RenderRequest, render
request = RenderRequest({category!r}, "m", "p", {{}}, 0)
assert request.file_format
try:
    render(request)
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "install rivya-async[sandbox]" in done.stdout
