"""File name suffixes of media, by which the files of a folder are selected."""

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".flv", ".wmv", ".3gp"}
    | {".ogv", ".vob", ".asf", ".mxf", ".dv", ".m2t", ".mpe", ".f4v", ".3g2", ".ogm", ".qt", ".rm", ".rmvb", ".divx"}
    | {".mk3d", ".nut", ".wtv", ".mod", ".tod"}
)
SILENT_VIDEO_SUFFIXES = frozenset(  # of formats without audio: faces for inference, no training data
    {
        ".gif",
        ".apng",
        ".h264",
        ".264",
        ".avc",
        ".hevc",
        ".h265",
        ".265",
        ".m1v",
        ".m2v",
        ".mjpeg",
        ".mjpg",
        ".ivf",
        ".obu",
        ".y4m",
    }
)
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")
AUDIO_SUFFIXES = (
    ".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".wma", ".aiff", ".aif", ".oga", ".mka", ".m4b", ".mp2",
    ".ac3", ".eac3", ".amr", ".caf", ".au", ".w64",
)  # fmt: skip
