"""An HDF5 file of features has them itself."""

import h5py
import pytest
from attribench.common.errors import InputError
from attribench.formats.feature_files import open_feature_file
from helpers.feature_files import FEATURES, PATHS, write_feature_file


def virtual(file, source):
    layout = h5py.VirtualLayout(FEATURES.shape, FEATURES.dtype)
    layout[:] = h5py.VirtualSource(source, "features", FEATURES.shape, FEATURES.dtype)
    file.create_virtual_dataset("features", layout)


ELSEWHERE = {
    "a link": lambda file, source: file.__setitem__("features", h5py.ExternalLink(source, "features")),
    "a virtual dataset": virtual,
    "a raw file": lambda file, source: file.create_dataset(
        "features", FEATURES.shape, FEATURES.dtype, external=[(f"{source}.raw", 0, FEATURES.nbytes)]
    ),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_features_that_lie_in_another_file_are_refused(tmp_path, name):
    """It could change, and nothing that was made of it would be made anew."""
    source = write_feature_file(tmp_path, "h5")
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["paths"] = PATHS
        ELSEWHERE[name](file, str(source))
    message = "mine.h5: `features` lies in another file"
    with pytest.raises(InputError, match=message), open_feature_file(tmp_path / "mine.h5"):
        pass
