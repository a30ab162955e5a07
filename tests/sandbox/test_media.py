"""The sandbox's files are real: other programs open them and find what was asked for."""

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
from rivya_async.sandbox.media import Artifact, Brief, describe, render
from rivya_async.sandbox.media.brief import film_seconds, ratio, tune_seconds
from rivya_async.sandbox.media.caption import readable
from rivya_async.sandbox.media.film import FRAMES_PER_SECOND
from rivya_async.sandbox.media.painting import SCENES, animate
from rivya_async.sandbox.media.painting import WORDS as SCENE_WORDS
from rivya_async.sandbox.media.palette import PALETTES
from rivya_async.sandbox.media.palette import WORDS as COLOUR_WORDS

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


SHORT: dict[str, dict[str, Any]] = {"image": {}, "video": {"duration": 0.5}, "audio": {"duration_seconds": 0.5}}


def ask(category: str = "image", prompt: str = "red hills", params: Mapping[str, Any] | None = None) -> Brief:
    return Brief(category, "z-image", prompt, params or {}, seed=7)


def opened(artifact: Artifact) -> Image.Image:
    picture = Image.open(BytesIO(artifact.data))
    picture.load()
    return picture


def played(artifact: Artifact) -> tuple[float, str, tuple[int, int]]:
    """Seconds, codec and size of a film, every frame of which is decoded."""
    with av.open(BytesIO(artifact.data), "r") as container:
        assert container.duration is not None
        context = container.streams.video[0].codec_context
        seconds = sum(1 for _ in container.decode(video=0)) / FRAMES_PER_SECOND
        assert seconds == container.duration / 1e6
        return seconds, context.name, (context.width, context.height)


def heard(artifact: Artifact) -> tuple[float, int, str, float]:
    """Seconds, sample rate, codec and loudness (0 to 1) of a sound."""
    with av.open(BytesIO(artifact.data), "r") as container:
        stream = container.streams.audio[0]
        mono = av.AudioResampler(format="s16", layout="mono")
        frames = [out for frame in container.decode(stream) for out in mono.resample(frame)]
        count = sum(frame.samples for frame in frames)
        peak = max(max(memoryview(frame.planes[0]).cast("B").cast("h")[: frame.samples]) for frame in frames)
        return count / stream.rate, stream.rate, stream.codec_context.name, peak / 32_768


# --- every model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MEDIA_MODELS, ids=lambda model: model.id)
def test_what_is_described_is_what_is_rendered(model: catalogue.Model) -> None:
    brief = Brief(model.category, model.id, "a small test", model.filled({}) | SHORT[model.category], seed=1)
    artifact = render(brief)
    assert (artifact.mime_type, artifact.extension) == describe(brief)
    if model.category == "image":
        assert Image.MIME[opened(artifact).format or ""] == artifact.mime_type
    else:
        with av.open(BytesIO(artifact.data), "r") as container:
            assert artifact.mime_type.partition("/")[0] == model.category
            assert len(container.streams) == 1


def test_the_catalogue_has_all_its_media_models() -> None:
    assert len(MEDIA_MODELS) == 51


def test_every_option_of_every_framing_param_is_understood() -> None:
    framing = [
        (model, option)
        for model in MEDIA_MODELS
        for param in model.params
        if param.key in {"aspect_ratio", "aspectRatio", "imageSize", "image_size"}
        for option in param.options - {"auto", "Auto", "adaptive", "square", "square_hd", "1:1"}
    ]
    assert len(framing) > 100
    for model, option in framing:
        params = model.filled({}) | {"aspect_ratio": option}
        assert ratio(Brief(model.category, model.id, "", params, 0)) != 1.0, (model.id, option)


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
def test_an_image_has_the_asked_shape_and_stays_small(params: dict[str, Any], size: tuple[int, int]) -> None:
    artifact = render(ask(params=params))
    assert opened(artifact).size == size
    assert len(artifact.data) < 300_000


@pytest.mark.parametrize(
    ("params", "model", "described", "opened_as"),
    [
        ({}, "z-image", ("image/png", ".png"), "PNG"),
        ({"output_format": "png"}, "nano-banana-2", ("image/png", ".png"), "PNG"),
        ({}, "nano-banana-2", ("image/jpeg", ".jpg"), "JPEG"),
        ({"output_format": "jpg"}, "z-image", ("image/jpeg", ".jpg"), "JPEG"),
        ({"outputFormat": "jpeg"}, "flux-kontext-pro", ("image/jpeg", ".jpg"), "JPEG"),
        ({"outputFormat": "WEBP"}, "z-image", ("image/webp", ".webp"), "WEBP"),
        ({"output_format": "tiff"}, "z-image", ("image/png", ".png"), "PNG"),
    ],
)
def test_an_image_has_the_asked_format(
    params: dict[str, Any], model: str, described: tuple[str, str], opened_as: str
) -> None:
    brief = Brief("image", model, "blue sea", params, seed=1)
    assert describe(brief) == described
    assert opened(render(brief)).format == opened_as


@pytest.mark.parametrize("category", ["image", "video", "audio"])
def test_the_same_brief_gives_the_same_bytes_in_any_thread(category: str) -> None:
    brief = ask(category, "a red fox", SHORT[category])
    with ThreadPoolExecutor(4) as threads:
        copies = list(threads.map(render, [brief] * 6))
    assert copies == [render(brief)] * 6


@pytest.mark.parametrize(
    "other",
    [
        Brief("image", "z-image", "a quiet place.", {}, seed=1),
        Brief("image", "4o-image", "a quiet place", {}, seed=1),
        Brief("image", "z-image", "a quiet place", {}, seed=2),
        Brief("image", "z-image", "a quiet place", {}, seed=1, index=1),
    ],
    ids=["prompt", "model", "seed", "index"],
)
def test_another_brief_gives_another_picture(other: Brief) -> None:
    assert render(other) != render(Brief("image", "z-image", "a quiet place", {}, seed=1))


@pytest.mark.parametrize("prompt", ODD_PROMPTS.values(), ids=ODD_PROMPTS.keys())
@pytest.mark.parametrize("shape", ["16:9", "8:1", "1:8"])
def test_any_prompt_can_be_drawn(prompt: str, shape: str) -> None:
    assert opened(render(ask(prompt=prompt, params={"aspect_ratio": shape}))).format == "PNG"


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("plain text", "plain text"),
        ("  two\n lines ", "two lines"),
        ("Phở bò Hà Nội — đẹp", "Pho bo Ha Noi - dep"),
        ("cat 😀", "cat (grinning face)"),
        ("red 狐", "red ·"),
        ("a\x00b\u200bc", "a bc"),
        ("“quoted” it\u2019s…", "“quoted” it's..."),
    ],
)
def test_letters_that_the_font_lacks_are_spelled_another_way(prompt: str, text: str) -> None:
    assert readable(prompt) == text


def test_the_caption_stands_out_from_what_is_behind_it() -> None:
    for name in SCENES:
        word = next(word for word, scene in SCENE_WORDS.items() if scene == name)
        picture = opened(render(ask(prompt=f"white {word}"))).convert("L")
        caption = picture.crop((20, 620, 400, 700))
        darkest, brightest = caption.getextrema()
        assert isinstance(darkest, int)
        assert isinstance(brightest, int)
        assert brightest > 235, name
        assert ImageStat.Stat(caption).median[0] < 150, name


@pytest.mark.parametrize(
    ("prompt", "channel"), [("red", 0), ("crimson fire", 0), ("green field", 1), ("blue", 2), ("oceans", 2)]
)
def test_a_colour_word_steers_the_palette(prompt: str, channel: int) -> None:
    mean = ImageStat.Stat(opened(render(ask(prompt=f"{prompt} mountains"))).convert("RGB")).mean
    assert max(range(3), key=mean.__getitem__) == channel


def test_words_lead_to_palettes_and_scenes_that_exist() -> None:
    assert set(COLOUR_WORDS.values()) == set(PALETTES)
    assert set(SCENE_WORDS.values()) == set(SCENES)


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
def test_a_video_has_the_asked_length_and_shape(params: dict[str, Any], seconds: float, size: tuple[int, int]) -> None:
    artifact = render(ask("video", "waves of the ocean", params))
    assert played(artifact) == (seconds, "h264", size)
    assert len(artifact.data) < 80_000 * seconds


def test_a_video_can_start_before_it_is_all_there() -> None:
    data = render(ask("video", params={"duration": 1})).data
    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_moves_gently(scene: str) -> None:
    word = next(word for word, name in SCENE_WORDS.items() if name == scene)
    frame = animate(ask("video", word), (352, 198))
    pictures = [frame(n / 12) for n in range(0, 48, 4)]
    steps = [ImageStat.Stat(ImageChops.difference(a, b).convert("L")).mean[0] for a, b in pairwise(pictures)]
    assert all(0 < step < 4 for step in steps)


# --- sounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "described", "codec", "rate"),
    [
        (None, ("audio/mpeg", ".mp3"), "mp3float", 44_100),
        ("mp3_22050_32", ("audio/mpeg", ".mp3"), "mp3float", 22_050),
        ("mp3_44100_192", ("audio/mpeg", ".mp3"), "mp3float", 44_100),
        ("pcm_8000", ("audio/wav", ".wav"), "pcm_s16le", 8_000),
        ("pcm_48000", ("audio/wav", ".wav"), "pcm_s16le", 48_000),
        ("ulaw_8000", ("audio/wav", ".wav"), "pcm_mulaw", 8_000),
        ("alaw_8000", ("audio/wav", ".wav"), "pcm_alaw", 8_000),
        ("opus_48000_64", ("audio/ogg", ".ogg"), "opus", 48_000),
        ("wav", ("audio/wav", ".wav"), "pcm_s16le", 44_100),
        ("flac", ("audio/mpeg", ".mp3"), "mp3float", 44_100),
    ],
)
def test_a_sound_has_the_asked_format_and_length(
    asked: str | None, described: tuple[str, str], codec: str, rate: int
) -> None:
    params: dict[str, Any] = {"duration_seconds": 1.5} | ({"output_format": asked} if asked else {})
    artifact = render(ask("audio", "rain on a roof", params))
    assert (artifact.mime_type, artifact.extension) == described
    seconds, sampled, played_as, loudness = heard(artifact)
    assert (sampled, played_as) == (rate, codec)
    assert seconds == pytest.approx(1.5, abs=0.001)
    assert 0.5 < loudness < 1.0


def test_pcm_opens_with_the_standard_library() -> None:
    artifact = render(ask("audio", params={"output_format": "pcm_16000", "duration_seconds": 2}))
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
def test_speech_takes_as_long_as_its_text(prompt: str, params: dict[str, Any], seconds: float) -> None:
    brief = Brief("audio", "elevenlabs-turbo-2-5", prompt, params | {"voice": "Adam"}, seed=3)
    assert tune_seconds(brief) == pytest.approx(seconds)
    assert heard(render(brief))[0] == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize("prompt", ODD_PROMPTS.values(), ids=ODD_PROMPTS.keys())
def test_any_prompt_can_be_spoken(prompt: str) -> None:
    artifact = render(Brief("audio", "elevenlabs-turbo-2-5", prompt, {"duration_seconds": 1}, seed=3))
    assert heard(artifact)[3] > 0.3


@pytest.mark.parametrize("odd", ["soon", "nan", None, -3, 0, [], {}])
def test_a_length_that_cannot_be_read_is_the_usual_one(odd: Any) -> None:
    assert film_seconds(ask("video", params={"duration": odd})) == 5.0


def test_a_length_beyond_reason_is_cut() -> None:
    assert film_seconds(ask("video", params={"duration": 86_400})) == 60.0


# --- what it costs to have --------------------------------------------------------------------------------------------


def test_importing_the_package_loads_neither_pillow_nor_pyav() -> None:
    program = "import sys, rivya_async.sandbox.media; print(sorted({'PIL', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("missing", "category"), [("PIL", "image"), ("av", "video"), ("av", "audio")])
def test_a_missing_library_is_named_with_its_remedy(missing: str, category: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from rivya_async.sandbox.media import Brief, describe, render
brief = Brief({category!r}, "m", "p", {{}}, 0)
assert describe(brief)
try:
    render(brief)
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "install rivya-async[sandbox]" in done.stdout
