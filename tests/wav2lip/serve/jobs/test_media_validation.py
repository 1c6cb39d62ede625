"""Media validation: content counts, names do not."""

from __future__ import annotations

import io
import shutil
import zlib

import numpy as np
import pytest

from tests.helpers.media import tone, write_video, write_wav
from tests.helpers.serve import list_files, png_bytes, save_upload
from wav2lip.errors import InputError

INVALID = {
    "text": b"Dear diary,\n" * 30,
    "empty": b"",
    "HLS playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat list": b"ffconcat version 1.0\nfile audio.wav\n",
    "DASH manifest": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="/etc/passwd"/></svg>',
    "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
    "executable": b"\x7fELF" + bytes(4000),
    "zip file": b"PK\x03\x04" + bytes(4000),
    "truncated image": png_bytes()[:60],
    "HTML": b"<!doctype html><script>alert(1)</script>",
}


@pytest.fixture
def uploads(make_service):
    return make_service().uploads


def test_file_extension_is_ignored(uploads, media):
    image = save_upload(uploads, png_bytes(), "audio.wav", "face")
    assert (image.width, image.height, image.still, image.seconds) == (64, 48, True, None)
    video = save_upload(uploads, (media / "face.mp4").read_bytes(), "photo.png", "face")
    assert (video.width, video.height, video.still) == (64, 64, False)
    audio = save_upload(uploads, (media / "audio.wav").read_bytes(), "person.mp4", "audio")
    assert (audio.width, audio.seconds) == (None, pytest.approx(0.4, abs=0.01))


@pytest.mark.parametrize("kind", INVALID)
def test_invalid_file_is_rejected_by_clients_name(uploads, kind):
    with pytest.raises(InputError, match="my clip") as error:
        save_upload(uploads, INVALID[kind], "my clip.mp4")
    assert str(uploads.folder) not in str(error.value)
    assert list_files(uploads.folder) == []


def test_playlist_cannot_open_other_files(uploads, media):
    shutil.copy(media / "audio.wav", uploads.folder / "audio.wav")
    with pytest.raises(InputError):
        save_upload(uploads, INVALID["concat list"])
    with pytest.raises(InputError):
        save_upload(uploads, INVALID["HLS playlist"].replace(b"file:///etc/passwd", b"audio.wav"))


def test_missing_stream_is_rejected(uploads, media):
    with pytest.raises(InputError, match=r"s\.wav: .*video"):
        save_upload(uploads, (media / "audio.wav").read_bytes(), "s.wav", "face")
    with pytest.raises(InputError, match=r"p\.png: .*audio"):
        save_upload(uploads, png_bytes(), "p.png", "audio")
    assert list_files(uploads.folder) == []


def test_audio_duration_is_measured_not_read_from_header(make_service, tmp_path):
    uploads = make_service(media_seconds=1.0).uploads
    content = write_wav(tmp_path / "long.wav", tone(1.2)).read_bytes()
    with pytest.raises(InputError, match="longer than 1 s"):
        save_upload(uploads, content)
    header_of_100_ms = content[:40] + (3200).to_bytes(4, "little")
    upload = save_upload(uploads, header_of_100_ms + content[44:])
    assert upload.seconds is not None and upload.seconds <= 1.0


def test_long_video_is_rejected(make_service, tmp_path):
    frames = [np.full((32, 32, 3), level, np.uint8) for level in range(40)]  # 1.6 s
    content = write_video(tmp_path / "long.mp4", frames).read_bytes()
    with pytest.raises(InputError, match="longer than 1 s"):
        save_upload(make_service(media_seconds=1.0).uploads, content)


def test_large_frames_are_rejected_before_decoding(make_service, media):
    uploads = make_service(frame_pixels=3000).uploads
    with pytest.raises(InputError, match=r"64 x 64 .* 3000"):
        save_upload(uploads, (media / "face.mp4").read_bytes())
    with pytest.raises(InputError, match="64 x 48"):
        save_upload(uploads, png_bytes())
    assert save_upload(uploads, png_bytes(size=(50, 50))).width == 50


def test_decompression_bomb_is_rejected(uploads):
    # A PNG of 60000 x 60000 pixels in 100 bytes, with a hand-written header.
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big"))
    file.write((0).to_bytes(4, "big") + b"IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big"))
    with pytest.raises(InputError, match="my photo"):
        save_upload(uploads, file.getvalue(), "my photo")
