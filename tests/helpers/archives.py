"""Archives for the tests, and what folders hold."""

import io
import tarfile
from pathlib import Path

import multivolumefile
import py7zr


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files below `folder`, by path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def make_tree(folder: Path, members: dict[str, bytes]) -> Path:
    """Write `members` below `folder`."""
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def make_7z(folder: Path, members: dict[str, bytes]) -> list[Path]:
    """Pack `members` into a 7z archive."""
    with py7zr.SevenZipFile(folder / "it.7z", "w") as archive:
        for name, content in members.items():
            archive.writestr(content, name)
    return [folder / "it.7z"]


def make_volumes(folder: Path, members: dict[str, bytes], size: int = 64_000) -> list[Path]:
    """Pack `members` into a 7z archive in volumes of `size` bytes."""
    with (
        multivolumefile.MultiVolume(folder / "it.7z", mode="wb", volume=size, ext_digits=3) as file,
        py7zr.SevenZipFile(file, "w") as archive,
    ):
        for name, content in members.items():
            archive.writestr(content, name)
    return sorted(folder.glob("it.7z.*"))


def tar_of(members: dict[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    """Return a tar archive of `members`: files by their content, and entries that are no file as a TarInfo."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def make_tar(folder: Path, members: dict[str, bytes | tarfile.TarInfo], name: str = "it.tar.gz") -> list[Path]:
    """Pack `members` into a tar archive, compressed if its name says so."""
    (folder / name).write_bytes(tar_of(members, "w:gz" if name.endswith("gz") else "w"))
    return [folder / name]
