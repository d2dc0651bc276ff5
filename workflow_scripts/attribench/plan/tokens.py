"""Tokens: what stands for the content of given files in keys, by their records (see `provenance.fingerprints`)."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from attribench.common.errors import InputError
from attribench.common.files import sha256_file
from attribench.download.choice import Downloads
from attribench.download.install import files_below
from attribench.formats.feature_files import files_of
from attribench.formats.manifest import cut_of, shard_slice
from attribench.manifest import given_files
from attribench.plan.paths import Paths
from attribench.plan.settings import Config
from attribench.provenance.fingerprints import (
    Comparison,
    Listed,
    compare,
    note_touched,
    read_listed,
    recorded_files,
    recorded_token,
)
from attribench.provenance.keys import digest


class CollectionState(NamedTuple):
    """Hold the present state of a collection's given files.

    token: stands for their content. listed: how it is, or will be, listed and cut; None where that is not known yet. images:
    in order, those beyond `database_limit` too; None where they are not read, or not there.
    """

    token: str
    listed: Listed | None = None
    images: list[str] | None = None


class Tokens(Paths):
    """Know what stands for the content of given files.

    trust_records: assume that given files are as recorded. A run's jobs do so, to have the keys that the run planned.
    """

    def __init__(self, config: Config, downloads: Downloads, trust_records: bool):
        super().__init__(config)
        self.downloads = downloads
        self._trust_records = trust_records
        self._touched: dict[str, Comparison] = {}

    # --- collections ----------------------------------------------------------------------------------------------------

    def limit(self, collection: str) -> int | None:
        """Return how many images of the collection are taken; None for all, as of a limit that is known to cut off none.

        One that was planned before the images were known stays what it was.
        """
        limit = self._given_limit(collection)
        listed = self.collection(collection).listed if limit else None
        cuts_none = listed is not None and listed.limit != limit and limit >= listed.images
        return None if cuts_none else limit

    def _given_limit(self, collection: str) -> int | None:
        return self.config.database_limit if collection == self.database else None

    def collection_token(self, collection: str) -> str:
        """Return what stands for the content of the collection's given files."""
        return self.collection(collection).token

    @cache  # noqa: B019  a run has one plan
    def collection(self, collection: str) -> CollectionState:
        """Return the present state of the collection's given files."""
        record = self.path("fingerprints", collection=collection)
        recorded, earlier = recorded_token(record), read_listed(record)
        if self._trust_records and recorded:
            return CollectionState(recorded, earlier)
        paths, limit = self.collection_paths(collection), self._given_limit(collection)
        try:
            files, images = self._listed_files(collection)
        except InputError as error:  # not yet rendered or downloaded, or for the job that reads it to refuse
            return CollectionState(digest(recorded, str(error), *self._download_tokens(paths)))
        taken = (images or [])[:limit]
        comparison = self._compare(record, [*files, *taken], (images or [])[len(taken) :])
        token = self._token(record, comparison, paths)
        if token == recorded:
            return CollectionState(token, earlier, images)
        if images is None or token != comparison.token:
            return CollectionState(token, None, images)
        cut = cut_of(len(images), earlier and earlier.cut)
        kept = self._unchanged_shards(collection, files, images, cut, comparison.changed) if earlier else {}
        return CollectionState(token, Listed(len(images), cut, kept, earlier and earlier.limit), images)

    def _listed_files(self, collection: str) -> tuple[list[str], list[str] | None]:
        """Return the given files that list the collection's images, and the images; None where these are not read."""
        listing = self.listing(collection)
        files = given_files(self.config.root, listing, None)
        if listing["origin"] == "features":
            return files, None
        n = sum(len(files_of(path)) for name, path in listing.items() if name not in ("origin", "folder"))
        return files[:n], files[n:]

    def _unchanged_shards(
        self, collection: str, files: list[str], images: list[str], cut: int, changed: frozenset[str]
    ) -> dict[str, str]:
        """Return, by name, the tokens of the shards whose images are those that are recorded, beside other `files`."""
        record = self.path("fingerprints", collection=collection)
        token, earlier = recorded_token(record), read_listed(record)
        recorded = [file for file in recorded_files(record) if file not in files]
        kept = {}
        for shard in self.shards(collection):
            rows = shard_slice(len(images), shard, cut)
            is_same = rows == shard_slice(len(recorded), shard, earlier.cut) and images[rows] == recorded[rows]
            if is_same and changed.isdisjoint(images[rows]):
                kept[shard] = earlier.shards.get(shard, digest(token, shard))
        return kept

    def shard_tokens(self, collection: str, shard: str) -> list[str]:
        """Return what stands for the images of a shard: first for those that a job takes, then for others that serve too.

        With `database_limit`, a job takes the first images alone, but a shard of all of them may be there.
        """
        state, limit = self.collection(collection), self.limit(collection)
        listed = state.listed
        whole = (listed.shards if listed else {}).get(shard, digest(state.token, shard))
        first = digest(whole, "first", limit)
        if listed is None or listed.limit == limit:  # as it was planned before the images were known
            return [whole] if limit is None else [first, whole]
        n = _n_first(None, shard, listed)
        serving = [whole]
        if listed.limit is not None and _n_first(listed.limit, shard, listed) == n:
            serving.append(digest(whole, "first", listed.limit))
        return serving if _n_first(limit, shard, listed) == n else [first, *serving]

    def n_taken(self, collection: str, shard: str) -> int | None:
        """Return how many of a shard's images, its first, are taken; None for all, or if that is not known yet."""
        limit, listed = self.limit(collection), self.collection(collection).listed
        if limit is None or listed is None:
            return None
        return _n_first(limit, shard, listed)

    def how_listed(self, collection: str) -> dict[str, Any]:
        """Return what the manifest's job is to record of the shards, beside numbers of images."""
        listed = self.collection(collection).listed
        shards, limit = (listed.shards, listed.limit) if listed else ({}, self.limit(collection))
        return {"shards": shards, "limit": limit}

    # --- files ----------------------------------------------------------------------------------------------------------

    @cache  # noqa: B019  a run has one plan
    def files_token(self, record: str, *paths: str) -> str:
        """Return what stands for the content of the large given files `paths`, which a job records at `record`."""
        if self._trust_records and (recorded := recorded_token(record)):
            return recorded
        return self._token(record, self._compare(record, list(paths)), list(paths))

    def _compare(self, record: str, files: list[str], unread: list[str] | tuple = ()) -> Comparison:
        comparison = compare(record, self.config.root, files, unread)
        if comparison.touched:
            self._touched[record] = comparison
        return comparison

    def _token(self, record: str, comparison: Comparison, paths: list[str]) -> str:
        to_come = self._download_tokens(paths) if comparison.token != recorded_token(record) else []
        return digest(comparison.token, *to_come) if to_come else comparison.token

    def _download_tokens(self, paths: list[str]) -> list[str]:
        """Return the tokens of the downloads that `paths` wait for."""
        return [self.downloads.token(source) for source in self.downloads.needed(paths)]

    def note_touched_files(self) -> None:
        """Put new time stamps of unchanged files into their records."""
        for record, comparison in self._touched.items():
            note_touched(record, comparison.touched)

    @cache  # noqa: B019  a run has one plan
    def content_token(self, path: str) -> str:
        """Return what stands for the content of a given file or folder of files: the same before and after its download."""
        if token := self.downloads.file_token(path):
            return token
        file = Path(self.in_root(path))
        if file.is_dir():
            return digest([[name, self.content_token(name)] for name in files_below(self.config.root, path)])
        return sha256_file(file) if file.is_file() else "missing"


def _n_first(limit: int | None, shard: str, listed: Listed) -> int:
    """Return how many images a shard has of the collection's first `limit`, or of all."""
    rows = shard_slice(listed.images if limit is None else min(limit, listed.images), shard, listed.cut)
    return rows.stop - rows.start
