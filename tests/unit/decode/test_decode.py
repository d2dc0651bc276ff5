"""Decoding: the pixels that torchvision's transforms give, whatever the file; and what becomes of bad files."""

import io
import time
from multiprocessing import active_children

import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.decode import VERSION
from attribench.decode.decode import decode_shard, decoded_pixels
from attribench.decode.eight_bits import UnreadableImage
from attribench.decode.preprocessing import Preprocessing, load_pixels
from attribench.decode.reading import AS_PUBLISHED
from attribench.formats.shards import ShardWriter, open_pixel_shard
from helpers import golden_bytes
from helpers.images import picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

SMALL = Preprocessing(16, 12, "bicubic")


FILES = {
    "png": ("PNG", lambda image: image),
    "grey.png": ("PNG", lambda image: image.convert("L")),
    "palette.png": ("PNG", lambda image: image.quantize(16)),
    "alpha.png": ("PNG", lambda image: image.convert("RGBA")),
    "cmyk.jpg": ("JPEG", lambda image: image.convert("CMYK")),
    "narrow.png": ("PNG", lambda image: image.resize((1, 40))),
    "JPEG": ("JPEG", lambda image: image),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("text", ["bicubic-16-12", "bilinear-23-23", "lanczos-30-29"])
def test_pixels_equal_torchvisions(tmp_path, name, text):
    kind, convert = FILES[name]
    path = tmp_path / f"a.{name}"
    convert(picture()).save(path, kind)
    preprocessing = Preprocessing.parse(text)
    assert str(preprocessing) == text
    mode = transforms.InterpolationMode(preprocessing.interpolation)
    reference = transforms.Compose(
        [transforms.Resize(preprocessing.resize, mode), transforms.CenterCrop(preprocessing.crop)]
    )
    expected = np.asarray(reference(Image.open(path).convert("RGB")))
    np.testing.assert_array_equal(load_pixels(path, [preprocessing])[0], expected)


# Around each published size, and around where a rounding turns over.
SIZES = [(1, 1), (1, 3), (2, 3), (3, 2), (40, 1), (7, 200), (223, 224), (224, 223), (224, 224), (225, 224), (224, 226),
         (255, 256), (257, 256), (256, 259), (287, 288), (289, 577), (383, 384), (385, 384), (427, 640), (641, 427),
         (500, 375), (333, 499), (512, 512), (1000, 331)]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["bicubic-224-224", "bicubic-256-224", "bilinear-256-224", "bilinear-384-384", "bilinear-288-288"]
)
def test_every_size_gives_torchvisions_pixels(tmp_path, text):
    """The short side as asked, the long one cut to whole pixels, and offsets rounded to the even neighbour."""
    preprocessing = Preprocessing.parse(text)
    mode = transforms.InterpolationMode(preprocessing.interpolation)
    reference = transforms.Compose(
        [transforms.Resize(preprocessing.resize, mode), transforms.CenterCrop(preprocessing.crop)]
    )
    for seed, size in enumerate(SIZES):
        image = picture(*size, seed)
        image.save(tmp_path / "a.bmp")
        [found] = load_pixels(tmp_path / "a.bmp", [preprocessing])
        assert np.array_equal(found, np.asarray(reference(image))), size


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_part_that_is_resized_alone_has_torchvisions_pixels(tmp_path_factory, data):
    """In square images whose sides' ratio has few bits, as that of 512 and 256 has; others are resized whole."""
    short = data.draw(st.sampled_from([16, 24, 32, 40]))
    scale = data.draw(st.sampled_from([1 / 2, 3 / 4, 5 / 4, 3 / 2, 2, 3, 13 / 8]))
    sides = [int(short * scale), int(short * data.draw(st.sampled_from([1, 1, 1, 1.25, 2, 6])) * scale)]
    image = picture(*data.draw(st.permutations(sides)), seed=data.draw(st.integers(0, 99)))
    name = data.draw(st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]))
    preprocessing = Preprocessing(short, data.draw(st.integers(1, short)), name)
    path = tmp_path_factory.getbasetemp() / "part.png"
    image.save(path)
    mode = transforms.InterpolationMode(name)
    reference = transforms.Compose([transforms.Resize(short, mode), transforms.CenterCrop(preprocessing.crop)])
    np.testing.assert_array_equal(load_pixels(path, [preprocessing])[0], np.asarray(reference(image)))


def test_squashing_gives_torchvisions_pixels(tmp_path):
    preprocessing = Preprocessing.parse("bicubic-squash40-32")
    assert str(preprocessing) == "bicubic-squash40-32"
    reference = transforms.Compose(
        [transforms.Resize((40, 40), transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(32)]
    )
    for size in ((37, 90), (90, 37), (40, 41)):
        picture(*size).save(tmp_path / "a.png")
        [found] = load_pixels(tmp_path / "a.png", [preprocessing])
        np.testing.assert_array_equal(found, np.asarray(reference(picture(*size))))


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(InputError, match="bicubic-16-20: crop 20 is larger than resize 16"):
        Preprocessing.parse("bicubic-16-20")


def test_preprocessing_text_is_parsed_never_guessed():
    for text in ("bicubic-16", "cubic-16-12", "bicubic-16-12-", ""):
        with pytest.raises(InputError, match="expected INTERPOLATION-RESIZE-CROP"):
            Preprocessing.parse(text)


def bad_files(folder):
    """Files that are no whole images, by name."""
    encoded = io.BytesIO()
    picture(200, 200).save(encoded, "JPEG")
    contents = {"truncated.jpg": encoded.getvalue()[:3000], "text.png": b"hello", "empty.jpg": b""}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return list(contents)


def test_bad_files_are_unreadable_and_missing_ones_are_missing(tmp_path):
    for name in bad_files(tmp_path):
        with pytest.raises(UnreadableImage):
            load_pixels(tmp_path / name, [SMALL])
    with pytest.raises(InputError, match=r"none.jpg: the image does not exist"):
        load_pixels(tmp_path / "none.jpg", [SMALL])


def collection(tmp_path, n=9):
    for i in range(n):
        picture(seed=i).save(tmp_path / f"{i}.png")
    return [f"{i}.png" for i in range(n)]


@pytest.mark.parametrize(("n", "workers"), [(1, 1), (1, 2), (19, 1), (19, 2)])
def test_a_shard_holds_the_images_in_order(tmp_path, n, workers):
    """In each preprocessing asked for, from one decoding."""
    paths = collection(tmp_path, n)
    several = [SMALL, Preprocessing(20, 20, "bilinear"), Preprocessing(16, 12, "lanczos", squash=True)]
    decode_shard(tmp_path / "s.h5", tmp_path, paths, several, quarantine=False, workers=workers)
    for preprocessing in several:
        with open_pixel_shard(tmp_path / "s.h5", str(preprocessing)) as shard:
            assert shard.rows.paths == paths
            assert shard.rows.valid.all()
            for path, pixels in zip(paths, shard.read(), strict=True):
                np.testing.assert_array_equal(pixels, load_pixels(tmp_path / path, [preprocessing])[0])
    with pytest.raises(InputError, match=r"s.h5: has no dataset pixels/bicubic-99-99, .*; expected a shard of"):
        open_pixel_shard(tmp_path / "s.h5", "bicubic-99-99").__enter__()


def test_processes_that_decode_faster_than_a_disk_writes_wait_for_it(tmp_path, monkeypatch):
    """They share memory for a few images, which is used over and over."""
    append = ShardWriter.append
    monkeypatch.setattr(ShardWriter, "append", lambda writer, block: (time.sleep(0.05), append(writer, block)))
    paths = collection(tmp_path, 150)
    decode_shard(tmp_path / "s.h5", tmp_path, paths, [SMALL], quarantine=False, workers=2)
    with open_pixel_shard(tmp_path / "s.h5", str(SMALL)) as shard:
        expected = [load_pixels(tmp_path / path, [SMALL])[0] for path in paths]
        np.testing.assert_array_equal(shard.read(), expected)


def test_a_process_that_is_killed_stops_the_shard_with_a_message(tmp_path, monkeypatch):
    """As the system does when memory is short."""
    append = ShardWriter.append

    def append_and_kill(writer, block):
        for child in active_children():
            child.kill()
        append(writer, block)

    monkeypatch.setattr(ShardWriter, "append", append_and_kill)
    with pytest.raises(InputError, match="a process that decodes images was killed, .* max_pixels"):
        decode_shard(tmp_path / "s.h5", tmp_path, collection(tmp_path, 150), [SMALL], quarantine=False, workers=2)
    assert not (tmp_path / "s.h5").exists()


def test_decoded_pixels_are_taken_when_they_have_the_preprocessing(tmp_path):
    """Else the images are decoded for this one job, which leaves nothing."""
    paths, other = collection(tmp_path), Preprocessing(20, 20, "bilinear")
    decode_shard(tmp_path / "pixels.h5", tmp_path, paths, [SMALL], quarantine=False, key="k")
    before = set(tmp_path.iterdir())
    work = {"quarantine": False, "reading": AS_PUBLISHED, "workers": 1}
    with decoded_pixels(tmp_path / "pixels.h5", tmp_path / "out.h5", tmp_path, paths, SMALL, **work) as path:
        assert path == tmp_path / "pixels.h5"
    for pixels, preprocessing in ((tmp_path / "pixels.h5", other), (None, SMALL)):
        with decoded_pixels(pixels, tmp_path / "out.h5", tmp_path, paths, preprocessing, **work) as path:
            assert path.parent == tmp_path and path not in before
            with open_pixel_shard(path, str(preprocessing)) as shard:
                expected = [load_pixels(tmp_path / name, [preprocessing])[0] for name in paths]
                np.testing.assert_array_equal(shard.read(), expected)
        assert set(tmp_path.iterdir()) == before


def test_an_unreadable_image_stops_the_shard_and_leaves_nothing(tmp_path):
    paths = collection(tmp_path) + bad_files(tmp_path)[:1]
    with pytest.raises(InputError, match=r"truncated.jpg: cannot be decoded .*invalid_images"):
        decode_shard(tmp_path / "s.h5", tmp_path, paths, [SMALL], quarantine=False)
    assert not [path for path in tmp_path.iterdir() if "s." in path.name and path.suffix == ".h5"]


@pytest.mark.parametrize("workers", [1, 2])
def test_all_unreadable_images_of_a_shard_are_named_at_once(tmp_path, workers):
    bad = [f"bad-{i}.png" for i in range(25)]
    for name in bad:
        (tmp_path / name).write_bytes(b"no image")
    paths = [name for pair in zip(collection(tmp_path, 25), bad, strict=True) for name in pair]
    with pytest.raises(InputError, match=r"^25 images cannot be decoded; .* invalid_images .*:\n") as error:
        decode_shard(tmp_path / "s.h5", tmp_path, paths, [SMALL], quarantine=False, workers=workers)
    _, *lines, rest = str(error.value).splitlines()
    assert [line.partition(" (")[0].strip() for line in lines] == [str(tmp_path / name) for name in bad[:20]]
    assert rest == "  … and 5 more" and not list(tmp_path.glob("*s.*h5"))


def test_quarantine_keeps_the_rows_and_the_reasons(tmp_path):
    good = collection(tmp_path, 3)
    bad = bad_files(tmp_path)
    paths = [good[0], *bad, *good[1:]]
    decode_shard(tmp_path / "s.h5", tmp_path, paths, [SMALL], quarantine=True)
    with open_pixel_shard(tmp_path / "s.h5", str(SMALL)) as shard:
        assert shard.rows.valid.tolist() == [True, False, False, False, True, True]
        assert all(reason for reason, valid in zip(shard.rows.reasons, shard.rows.valid, strict=True) if not valid)
        assert not shard.read()[1:4].any()


def test_an_empty_shard_is_a_shard(tmp_path):
    decode_shard(tmp_path / "s.h5", tmp_path, [], [SMALL], quarantine=False)
    with open_pixel_shard(tmp_path / "s.h5", str(SMALL)) as shard:
        assert shard.read().shape == (0, 12, 12, 3)


def test_golden_bytes(tmp_path):
    """PNG alone: what JPEG files decode to depends on the platform."""
    image = picture(37, 23)
    palette = Image.fromarray(np.asarray(image.convert("L")) // 16, "P")
    palette.putpalette(np.random.default_rng(1).integers(0, 256, 48, np.uint8).tobytes())
    images = {"rgb": image, "tall": picture(20, 31), "grey": image.convert("L"), "palette": palette}
    images["alpha"] = Image.merge("RGBA", (*image.split(), image.convert("L")))
    for name, content in images.items():
        content.save(tmp_path / f"{name}.png")
    (tmp_path / "text.png").write_bytes(b"hello")
    paths = [*(f"{name}.png" for name in images), "text.png"]
    texts = ["nearest-16-12", "bilinear-23-23", "bicubic-16-12", "lanczos-30-29", "bicubic-squash20-13"]
    decode_shard(tmp_path / "s.h5", tmp_path, paths, [Preprocessing.parse(text) for text in texts], quarantine=True)
    made = {}
    for text in texts:
        with open_pixel_shard(tmp_path / "s.h5", text) as shard:
            made |= {text: shard.read(), "paths": shard.rows.paths, "valid": shard.rows.valid}
    golden_bytes.check("decode", VERSION, made)
