"""Who is in the benchmark: settings, identity numbers, and the pictures each entry and the database consist of."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from attribench.errors import InputError

from .artists import ArtistIdentity, draw_artist, paint_object, paint_scene, same_hand, same_palette
from .fields import generator
from .media import in_medium, photo, photo_in_scene
from .objects import ObjectIdentity, draw_object, near_object

PARTITIONS = ("test", "train", "val")
SPLIT_PROMPTS = {"style": ("object", "gpt"), "object": ("media", "gpt")}
# Identity numbers of a partition start here; the span is also the largest number of entries.
IDENTITY_SPAN = 1_000_000
DATABASE_START = IDENTITY_SPAN * len(PARTITIONS)
_ROLE_PICTURE, _ROLE_DATABASE, _ROLE_COUNTS = 21, 22, 23
_KINDS = {"exemplar": 0, "object": 1, "gpt": 2, "media": 3}

# Shares of the database.
_DATABASE_MIX = {
    "artist": 0.38,
    "same_palette": 0.14,
    "same_hand": 0.12,
    "photo": 0.22,
    "medium": 0.05,
    "near_object": 0.09,
}
_DATABASE_ARTISTS = 600


def _default_style() -> dict[str, int]:
    return {"test": 24, "train": 16, "val": 6}


_default_object = _default_style


@dataclass(frozen=True)
class SampleSettings:
    """What to render.

    image_size in pixels (square); style_entries and object_entries: entries (artists, object instances) by partition;
    max_exemplars: artists have 1 to this many; queries_per_prompt: per entry and prompt type.
    """

    seed: int = 0
    image_size: int = 256
    style_entries: dict[str, int] = field(default_factory=_default_style)
    object_entries: dict[str, int] = field(default_factory=_default_object)
    max_exemplars: int = 8
    queries_per_prompt: int = 5
    database_images: int = 1500


@dataclass(frozen=True)
class Picture:
    """One image to render: path relative to the benchmark root, and what is in it (its key seeds the randomness)."""

    path: str
    role: str
    key: tuple[int, ...]


def _check_number(key: str, value: object, low: int, high: int | None = None) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        upper = "" if high is None else f" and at most {high}"
        raise InputError(f"{key} is {value!r}; expected a whole number of at least {low}{upper}")


def check_settings(settings: SampleSettings) -> None:
    """Raise a ValueError that names the first setting that cannot be rendered."""
    _check_number("seed", settings.seed, 0)
    _check_number("image_size", settings.image_size, 32)
    _check_number("max_exemplars", settings.max_exemplars, 1)
    _check_number("queries_per_prompt", settings.queries_per_prompt, 1)
    _check_number("database_images", settings.database_images, 1)
    for key in ("style_entries", "object_entries"):
        entries = getattr(settings, key)
        if not isinstance(entries, dict):
            raise InputError(f"{key} is {entries!r}; expected a mapping from partition to number of entries")
        for partition, count in entries.items():
            if partition not in PARTITIONS:
                raise InputError(f"{key} has the partition {partition!r}; expected one of {', '.join(PARTITIONS)}")
            _check_number(f"{key}.{partition}", count, 1, IDENTITY_SPAN)
        if "test" not in entries:
            raise InputError(f"{key} is {entries!r}; expected a number of entries for the partition test")


def identity_numbers(entries: dict[str, int]) -> dict[str, range]:
    """Identity numbers of the entries of each partition; the database's begin at DATABASE_START."""
    starts = {partition: IDENTITY_SPAN * place for place, partition in enumerate(PARTITIONS)}
    return {name: range(starts[name], starts[name] + entries[name]) for name in PARTITIONS if name in entries}


def exemplar_count(settings: SampleSettings, number: int) -> int:
    """Exemplars of the artist with this identity number: every count from 1 to the maximum comes up in turn."""
    turn, place = divmod(number % IDENTITY_SPAN, settings.max_exemplars)
    order = generator(settings.seed, _ROLE_COUNTS, number // IDENTITY_SPAN, turn).permutation(settings.max_exemplars)
    return int(order[place]) + 1


def database_identity(settings: SampleSettings, index: int) -> tuple[str, ArtistIdentity | ObjectIdentity]:
    """(kind of distractor, whose picture it is) of database image `index`: it depends on no later image."""
    seed = settings.seed
    rng = generator(seed, _ROLE_DATABASE, index)
    kind = tuple(_DATABASE_MIX)[rng.choice(len(_DATABASE_MIX), p=tuple(_DATABASE_MIX.values()))]
    # A few hundred artists recur, as they do in a real collection; near misses and objects are all their own.
    artist = DATABASE_START + int(rng.integers(_DATABASE_ARTISTS))
    own = DATABASE_START + IDENTITY_SPAN + index
    if kind == "artist":
        return kind, draw_artist(seed, artist)
    if kind in ("same_palette", "same_hand"):
        target = draw_artist(seed, int(rng.integers(settings.style_entries["test"])))
        other = draw_artist(seed, own)
        return kind, same_palette(target, other) if kind == "same_palette" else same_hand(seed, target, other, own)
    if kind == "near_object":
        return kind, near_object(seed, draw_object(seed, int(rng.integers(settings.object_entries["test"]))), own)
    return kind, draw_object(seed, own)


def _draw_database(settings: SampleSettings, index: int) -> np.ndarray:
    kind, who = database_identity(settings, index)
    rng = generator(settings.seed, _ROLE_PICTURE, DATABASE_START, index)
    if isinstance(who, ArtistIdentity):
        return (paint_scene if rng.random() < 0.6 else paint_object)(who, settings.image_size, rng)
    if kind == "medium" or (kind == "near_object" and rng.random() < 0.15):
        return in_medium(who, settings.image_size, rng)
    return (photo if rng.random() < 0.5 else photo_in_scene)(who, settings.image_size, rng)


def draw_picture(settings: SampleSettings, picture: Picture) -> np.ndarray:
    """The pixels of a picture, float32 [size, size, 3], nominally in 0..1."""
    if picture.role == "database":
        return _draw_database(settings, *picture.key)
    subject, kind = picture.role.split("/")
    number = picture.key[0]
    side = tuple(SPLIT_PROMPTS).index(subject)
    rng = generator(settings.seed, _ROLE_PICTURE, side, _KINDS[kind], *picture.key)
    size = settings.image_size
    if subject == "style":
        artist = draw_artist(settings.seed, number)
        alone = kind == "object" or (kind == "exemplar" and rng.random() < 0.15)
        return (paint_object if alone else paint_scene)(artist, size, rng)
    thing = draw_object(settings.seed, number)
    painter = {"exemplar": photo, "gpt": photo_in_scene, "media": in_medium}[kind]
    return painter(thing, size, rng)


def entry_pictures(settings: SampleSettings, subject: str, partition: str, number: int) -> dict[str, list[Picture]]:
    """The pictures of one entry: its exemplars under "exemplar", its queries under their prompt type."""
    name = f"{subject}_{number % IDENTITY_SPAN:04d}"
    exemplars = exemplar_count(settings, number) if subject == "style" else 1
    folders = {"exemplar": (f"dataset/exemplar/{partition}_sample_{subject}/{name}", exemplars)}
    for prompt in SPLIT_PROMPTS[subject]:
        folders[prompt] = (f"dataset/synth/{partition}_sample_{subject}/{name}/{prompt}", settings.queries_per_prompt)
    return {
        kind: [Picture(f"{folder}/{k}.jpg", f"{subject}/{kind}", (number, k)) for k in range(count)]
        for kind, (folder, count) in folders.items()
    }


def split_entry(settings: SampleSettings, subject: str, partition: str, number: int) -> dict:
    """One entry of a split file."""
    paths = {
        kind: [picture.path for picture in pictures]
        for kind, pictures in entry_pictures(settings, subject, partition, number).items()
    }
    who = draw_artist(settings.seed, number) if subject == "style" else draw_object(settings.seed, number)
    return {
        "exemplar": paths.pop("exemplar"),
        "synth": paths,
        "class_id": f"{subject}_{number % IDENTITY_SPAN:04d}",
        "category": who.school if isinstance(who, ArtistIdentity) else who.kind,
    }


def subjects(settings: SampleSettings) -> dict[str, dict[str, int]]:
    """Entries by partition of each subject, style and object."""
    return {"style": settings.style_entries, "object": settings.object_entries}


def all_pictures(settings: SampleSettings) -> Iterator[Picture]:
    """Every picture of the benchmark, one at a time: entries first, then the database."""
    for subject, entries in subjects(settings).items():
        for partition, numbers in identity_numbers(entries).items():
            for number in numbers:
                for pictures in entry_pictures(settings, subject, partition, number).values():
                    yield from pictures
    for index in range(settings.database_images):
        yield Picture(f"dataset/database/{index // 1000:02d}/{index:06d}.jpg", "database", (index,))


def picture_count(settings: SampleSettings) -> int:
    """Number of pictures that all_pictures gives."""
    total = settings.database_images
    for subject, entries in subjects(settings).items():
        for numbers in identity_numbers(entries).values():
            exemplars = sum(exemplar_count(settings, n) for n in numbers) if subject == "style" else len(numbers)
            total += exemplars + len(numbers) * settings.queries_per_prompt * len(SPLIT_PROMPTS[subject])
    return total
