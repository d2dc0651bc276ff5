"""List what is in the benchmark: its settings, and the pictures of each entry and of the database."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from attribench.common.errors import InputError
from attribench.sample.artists import ArtistIdentity, draw_artist, paint_object, paint_scene, same_hand, same_palette
from attribench.sample.fields import generator
from attribench.sample.media import in_medium, photo, photo_in_scene
from attribench.sample.objects import ObjectIdentity, draw_object, near_object

PARTITIONS = ("test", "train", "val")
SPLIT_PROMPTS = {"style": ("object", "gpt"), "object": ("media", "gpt")}
# Identity numbers of a partition start here; the span is also the largest number of entries.
IDENTITY_SPAN = 1_000_000
DATABASE_START = IDENTITY_SPAN * len(PARTITIONS)
# The first of the numbers that a generator depends on.
_PICTURE_STREAM, _DATABASE_STREAM, _COUNTS_STREAM = 21, 22, 23
_ROLE_NUMBERS = {"exemplar": 0, "object": 1, "gpt": 2, "media": 3}

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
    return {"test": 24, "train": 32, "val": 8}


_default_object = _default_style


@dataclass(frozen=True)
class SampleSettings:
    """Hold what to draw.

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
    """Hold one image to draw.

    path: relative to the benchmark root. subject: style, object or database. role: of an entry's image, exemplar or its
    prompt type. numbers: entry and number within it, or the number within the database; what is drawn depends on them.
    """

    path: str
    subject: str
    role: str
    numbers: tuple[int, ...]


def _check_number(name: str, value: object, low: int, high: int | None = None) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        upper = "" if high is None else f" and at most {high}"
        raise InputError(f"{name} is {value!r}; expected a whole number of at least {low}{upper}")


def check_settings(settings: SampleSettings) -> None:
    """Raise InputError that names the first setting that cannot be drawn."""
    _check_number("seed", settings.seed, 0)
    _check_number("image_size", settings.image_size, 32)
    _check_number("max_exemplars", settings.max_exemplars, 1)
    _check_number("queries_per_prompt", settings.queries_per_prompt, 1)
    _check_number("database_images", settings.database_images, 1)
    for name in ("style_entries", "object_entries"):
        entries = getattr(settings, name)
        if not isinstance(entries, dict):
            raise InputError(f"{name} is {entries!r}; expected a mapping from partition to number of entries")
        for partition, count in entries.items():
            if partition not in PARTITIONS:
                raise InputError(f"{name} has the partition {partition!r}; expected one of {', '.join(PARTITIONS)}")
            _check_number(f"{name}.{partition}", count, 1, IDENTITY_SPAN)
        if "test" not in entries:
            raise InputError(f"{name} is {entries!r}; expected a number of entries for the partition test")


def identity_numbers(entries: dict[str, int]) -> dict[str, range]:
    """Return the identity numbers of each partition's entries; those of the database begin at DATABASE_START."""
    starts = {partition: IDENTITY_SPAN * index for index, partition in enumerate(PARTITIONS)}
    return {name: range(starts[name], starts[name] + entries[name]) for name in PARTITIONS if name in entries}


def exemplar_count(settings: SampleSettings, number: int) -> int:
    """Return how many exemplars the artist with this identity number has: each count from 1 to the maximum in turn."""
    turn, position = divmod(number % IDENTITY_SPAN, settings.max_exemplars)
    order = generator(settings.seed, _COUNTS_STREAM, number // IDENTITY_SPAN, turn).permutation(settings.max_exemplars)
    return int(order[position]) + 1


def database_identity(settings: SampleSettings, index: int) -> tuple[str, ArtistIdentity | ObjectIdentity]:
    """Return what sort of distractor database image `index` is, and its artist or object, whatever images follow."""
    seed = settings.seed
    rng = generator(seed, _DATABASE_STREAM, index)
    sort = tuple(_DATABASE_MIX)[rng.choice(len(_DATABASE_MIX), p=tuple(_DATABASE_MIX.values()))]
    # A few hundred artists recur, as they do in a real collection; near misses and objects are all their own.
    artist = DATABASE_START + int(rng.integers(_DATABASE_ARTISTS))
    own = DATABASE_START + IDENTITY_SPAN + index
    if sort == "artist":
        return sort, draw_artist(seed, artist)
    if sort in ("same_palette", "same_hand"):
        target = draw_artist(seed, int(rng.integers(settings.style_entries["test"])))
        other = draw_artist(seed, own)
        return sort, same_palette(target, other) if sort == "same_palette" else same_hand(seed, target, other, own)
    if sort == "near_object":
        return sort, near_object(seed, draw_object(seed, int(rng.integers(settings.object_entries["test"]))), own)
    return sort, draw_object(seed, own)


def _draw_database(settings: SampleSettings, index: int) -> np.ndarray:
    sort, who = database_identity(settings, index)
    rng = generator(settings.seed, _PICTURE_STREAM, DATABASE_START, index)
    if isinstance(who, ArtistIdentity):
        return (paint_scene if rng.random() < 0.6 else paint_object)(who, settings.image_size, rng)
    if sort == "medium" or (sort == "near_object" and rng.random() < 0.15):
        return in_medium(who, settings.image_size, rng)
    return (photo if rng.random() < 0.5 else photo_in_scene)(who, settings.image_size, rng)


def draw_picture(settings: SampleSettings, picture: Picture) -> np.ndarray:
    """Draw the pixels of a picture: float32 [size, size, 3], nominally in 0..1."""
    subject, role = picture.subject, picture.role
    if subject == "database":
        return _draw_database(settings, *picture.numbers)
    number = picture.numbers[0]
    side = tuple(SPLIT_PROMPTS).index(subject)
    rng = generator(settings.seed, _PICTURE_STREAM, side, _ROLE_NUMBERS[role], *picture.numbers)
    size = settings.image_size
    if subject == "style":
        artist = draw_artist(settings.seed, number)
        alone = role == "object" or (role == "exemplar" and rng.random() < 0.15)
        return (paint_object if alone else paint_scene)(artist, size, rng)
    thing = draw_object(settings.seed, number)
    painter = {"exemplar": photo, "gpt": photo_in_scene, "media": in_medium}[role]
    return painter(thing, size, rng)


def entry_pictures(settings: SampleSettings, subject: str, partition: str, number: int) -> dict[str, list[Picture]]:
    """Return the pictures of one entry by role: its exemplars, and its queries by prompt type."""
    name = f"{subject}_{number % IDENTITY_SPAN:04d}"
    exemplars = exemplar_count(settings, number) if subject == "style" else 1
    folders = {"exemplar": (f"dataset/exemplar/{partition}_sample_{subject}/{name}", exemplars)}
    for prompt in SPLIT_PROMPTS[subject]:
        folders[prompt] = (f"dataset/synth/{partition}_sample_{subject}/{name}/{prompt}", settings.queries_per_prompt)
    return {
        role: [Picture(f"{folder}/{k}.jpg", subject, role, (number, k)) for k in range(count)]
        for role, (folder, count) in folders.items()
    }


def split_files(settings: SampleSettings) -> dict[str, list[dict]]:
    """Return the content of each split file, by its path below the root."""
    return {
        f"dataset/json/{partition}_sample_{subject}.json": [
            _split_entry(settings, subject, partition, number) for number in numbers
        ]
        for subject, entries in subjects(settings).items()
        for partition, numbers in identity_numbers(entries).items()
    }


def _split_entry(settings: SampleSettings, subject: str, partition: str, number: int) -> dict:
    """Return one entry of a split file."""
    paths = {
        role: [picture.path for picture in pictures]
        for role, pictures in entry_pictures(settings, subject, partition, number).items()
    }
    who = draw_artist(settings.seed, number) if subject == "style" else draw_object(settings.seed, number)
    return {
        "exemplar": paths.pop("exemplar"),
        "synth": paths,
        "class_id": f"{subject}_{number % IDENTITY_SPAN:04d}",
        "category": who.school if isinstance(who, ArtistIdentity) else who.category,
    }


def subjects(settings: SampleSettings) -> dict[str, dict[str, int]]:
    """Return the number of entries by partition of each subject, style and object."""
    return {"style": settings.style_entries, "object": settings.object_entries}


def all_pictures(settings: SampleSettings) -> Iterator[Picture]:
    """Yield every picture of the benchmark: those of entries, then those of the database."""
    for subject, entries in subjects(settings).items():
        for partition, numbers in identity_numbers(entries).items():
            for number in numbers:
                for pictures in entry_pictures(settings, subject, partition, number).values():
                    yield from pictures
    for index in range(settings.database_images):
        yield Picture(f"dataset/database/{index // 1000:02d}/{index:06d}.jpg", "database", "", (index,))


def picture_count(settings: SampleSettings) -> int:
    """Return the number of pictures that `all_pictures` yields."""
    total = settings.database_images
    for subject, entries in subjects(settings).items():
        for numbers in identity_numbers(entries).values():
            exemplars = sum(exemplar_count(settings, n) for n in numbers) if subject == "style" else len(numbers)
            total += exemplars + len(numbers) * settings.queries_per_prompt * len(SPLIT_PROMPTS[subject])
    return total
