"""Errors that a user can cause and fix."""

from __future__ import annotations

import errno

from face_detection.interface import DetectorError
from wav2lip.types import PathType


class InputError(Exception):
    """Invalid input; the message names the file or option, the problem and the remedy."""

    def _render_traceback_(self) -> list[str]:
        """Let IPython print the message without a traceback."""
        return [f"error: {self}"]


# Entry points print the message of these; any other exception is a bug and keeps its traceback.
USER_ERRORS = (InputError, DetectorError)

CHECK_PATH, CHECK_PERMISSIONS = "check the path", "check its permissions, or choose another folder"
REMEDIES = {
    "ENOENT": CHECK_PATH,
    "ENOTDIR": f"a part of the path is a file; {CHECK_PATH}",
    "EISDIR": f"it is a folder, not a file; {CHECK_PATH}",
    "EEXIST": f"a file or folder of that name is in the way; {CHECK_PATH}",
    "ENOTEMPTY": f"a folder of that name is in the way; {CHECK_PATH}",
    "ENAMETOOLONG": "shorten the names of its folders and files",
    "EINVAL": "choose a name that this file system allows",
    "EACCES": CHECK_PERMISSIONS,
    "EPERM": CHECK_PERMISSIONS,
    "EROFS": "the disk is mounted for reading only; choose a folder on another",
    "ENOSPC": "free space, or choose a folder on another disk",
    "EDQUOT": "free space, or raise your quota",
    "EFBIG": "the file system allows no file of this size; choose a folder on another disk",
    "EMFILE": "raise the limit of open files (ulimit -n)",
    "ENFILE": "close other programs, or raise the system's limit of open files",
    "ENOMEM": "close other programs",
    "EBUSY": "close the program that uses it",
    "EIO": "check the disk",
    "ESTALE": "check the network drive",
    "ENOTCONN": "check the network drive",
    "ETIMEDOUT": "check the network drive",
}


def file_error(error: OSError, path: PathType) -> InputError:
    """Build the error for a file that could not be read or written: the file, the system's reason and its remedy.

    path: named where the system's error names no file.
    """
    name = error.filename if isinstance(error.filename, str) else path
    reason = error.strerror or str(error) or type(error).__name__
    remedy = REMEDIES.get(errno.errorcode.get(error.errno or 0, ""), "check the disk and the path")
    return InputError(f"{name}: {reason}; {remedy}")
