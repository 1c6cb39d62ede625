"""What may come in: by what a file holds, whatever it is called."""

from __future__ import annotations

import io
import shutil
import wave
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from tests.conftest import tone, write_video, write_wav
from tests.wav2lip.serve.conftest import files_in
from wav2lip.errors import InputError
from wav2lip.serve.job import JobOptions
from wav2lip.serve.refusals import Full, NotNow, NotThere, TooLarge


def picture(kind: str = "PNG", size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, kind)
    return file.getvalue()


@pytest.fixture
def uploads(service):
    return service().uploads


def take(uploads, content: bytes, name: str = "a file", kind: str = "any"):  # type: ignore[no-untyped-def]
    return uploads.take("someone", io.BytesIO(content), name, kind)


def test_a_lie_in_the_ending_does_not_matter(uploads, media):
    still = take(uploads, picture(), "sound.wav", "face")
    assert (still.width, still.height, still.still, still.seconds) == (64, 48, True, None)
    video = take(uploads, (media / "face.mp4").read_bytes(), "photo.png", "face")
    assert (video.width, video.height, video.still) == (64, 64, False)
    sound = take(uploads, (media / "sound.wav").read_bytes(), "person.mp4", "audio")
    assert (sound.width, sound.seconds) == (None, pytest.approx(0.4, abs=0.01))


WRONG = {
    "text": b"Dear diary,\n" * 30,
    "nothing": b"",
    "a playlist of HLS": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "a list of files": b"ffconcat version 1.0\nfile sound.wav\n",
    "a manifest of DASH": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="/etc/passwd"/></svg>',
    "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
    "a program": b"\x7fELF" + bytes(4000),
    "a zip file": b"PK\x03\x04" + bytes(4000),
    "half a picture": picture()[:60],
    "HTML": b"<!doctype html><script>alert(1)</script>",
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_media_is_refused_by_the_clients_name_and_nothing_is_kept(uploads, what):
    with pytest.raises(InputError, match="my clip") as refused:
        take(uploads, WRONG[what], "my clip.mp4")
    assert str(uploads.folder) not in str(refused.value)
    assert files_in(uploads.folder) == []


def test_a_playlist_beside_a_real_file_does_not_reach_it(uploads, media):
    shutil.copy(media / "sound.wav", uploads.folder / "sound.wav")
    with pytest.raises(InputError):
        take(uploads, WRONG["a list of files"])
    with pytest.raises(InputError):
        take(uploads, WRONG["a playlist of HLS"].replace(b"file:///etc/passwd", b"sound.wav"))


def test_a_sound_is_no_face_and_a_picture_no_sound(uploads, media):
    with pytest.raises(InputError, match=r"s\.wav: has no pictures; give a video or a picture with a face"):
        take(uploads, (media / "sound.wav").read_bytes(), "s.wav", "face")
    with pytest.raises(InputError, match=r"p\.png: has no sound"):
        take(uploads, picture(), "p.png", "audio")
    assert files_in(uploads.folder) == []


def test_files_that_are_too_large_are_not_kept(service):
    uploads = service(upload_mib=1).uploads
    with pytest.raises(TooLarge, match="larger than 1 MiB"):
        take(uploads, bytes((1 << 20) + 1))
    assert files_in(uploads.folder) == []


def test_sound_longer_than_the_limit_is_refused_whatever_its_header_says(service, tmp_path):
    uploads = service(media_seconds=1.0).uploads
    long = write_wav(tmp_path / "long.wav", tone(1.2)).read_bytes()
    with pytest.raises(InputError, match="longer than 1 s"):
        take(uploads, long)
    stated = take(uploads, long[:40] + (3200).to_bytes(4, "little") + long[44:])  # a header that says 0.1 s
    assert stated.seconds is not None and stated.seconds <= 1.0


def test_a_video_longer_than_the_limit_is_refused(service, tmp_path):
    frames = [np.full((32, 32, 3), level, np.uint8) for level in range(40)]  # 1.6 s
    content = write_video(tmp_path / "long.mp4", frames).read_bytes()
    with pytest.raises(InputError, match="longer than 1 s"):
        take(service(media_seconds=1.0).uploads, content)


def test_frames_larger_than_the_limit_are_refused_before_they_are_decoded(service, media):
    uploads = service(frame_pixels=3000).uploads
    with pytest.raises(InputError, match="64 x 64 pixels are more than 3000"):
        take(uploads, (media / "face.mp4").read_bytes())
    with pytest.raises(InputError, match="64 x 48 pixels"):
        take(uploads, picture())
    assert take(uploads, picture(size=(50, 50))).width == 50


def test_a_frame_in_the_middle_larger_than_the_limit_is_left_out(service, media, tmp_path):
    one = service(frame_pixels=64 * 64)
    face = take(one.uploads, h264(64, 30) + h264(512, 10) + h264(80, 10) + h264(64, 5), "face.h264", "face")
    audio = one.uploads.take("someone", media / "sound.wav", "s", "audio")
    job = one.jobs.submit("someone", face, audio, "", JobOptions(box=(8, 56, 8, 56), silence="off", short="keep"))
    one.start()
    try:
        made = one.jobs.wait("someone", job.id, 60)
    finally:
        one.stop()
    assert (made.state, made.frames) == ("done", 35)


def h264(side: int, frames: int) -> bytes:
    """A bare stream of square frames, to which one of another size may be joined."""
    coder = av.CodecContext.create("libx264", "w")
    coder.width = coder.height = side
    coder.pix_fmt, coder.time_base = "yuv420p", Fraction(1, 25)
    packets = []
    for level in range(frames):
        frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), 5 * level, np.uint8), "rgb24")
        frame.pts = level
        packets += coder.encode(frame)
    return b"".join(map(bytes, packets + coder.encode(None)))


def test_a_picture_that_unpacks_to_gigabytes_is_refused(uploads):
    # A PNG of 60000 x 60000 pixels in 100 bytes, its header written by hand.
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    bomb = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    bomb += (0).to_bytes(4, "big") + b"IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")
    with pytest.raises(InputError, match="my photo"):
        take(uploads, bomb, "my photo")


def test_no_more_is_kept_than_the_disk_limit_and_room_comes_back(service):
    uploads = service(disk_mib=1).uploads
    big = wav_of(700_000)
    kept = take(uploads, big)
    with pytest.raises(Full, match="no room"):
        take(uploads, big)
    uploads.remove("someone", kept.id)
    assert take(uploads, big).size == len(big)


def test_an_upload_that_waits_for_its_job_cannot_be_removed(service, media):
    one = service()
    face = one.uploads.take("someone", media / "face.mp4", "f", "face")
    audio = one.uploads.take("someone", media / "sound.wav", "s", "audio")
    one.jobs.submit("someone", face, audio)
    with pytest.raises(NotNow, match="is needed by a job"):
        one.uploads.remove("someone", face.id)


def test_what_goes_wrong_after_a_job_was_asked_for_is_said_and_the_job_keeps_its_files(service, media):
    one = service()
    with pytest.raises(ZeroDivisionError), one.uploads.together() as take:
        face, audio = take("ann", media / "face.mp4", "f", "face"), take("ann", media / "sound.wav", "s", "audio")
        unneeded = take("ann", media / "sound.wav", "t", "audio")
        one.jobs.submit("ann", face, audio)
        raise ZeroDivisionError
    assert {path.name for path in files_in(one.uploads.folder)} == {face.id, audio.id}
    assert unneeded.id not in {face.id, audio.id}


def test_another_clients_upload_is_not_there(uploads):
    upload = take(uploads, picture())
    with pytest.raises(NotThere) as refused:
        uploads.get("someone else", upload.id)
    with pytest.raises(NotThere) as never:
        uploads.get("someone else", "x" * 32)
    assert str(refused.value).replace(upload.id, "") == str(never.value).replace("x" * 32, "")


def wav_of(size: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(48_000)
        wav.writeframes(bytes(size))
    return file.getvalue()
