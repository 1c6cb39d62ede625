"""Send a WAV file to /v1/live, save what comes: python examples/live_client.py speech.wav --face anna --out frames"""

import argparse
import asyncio
import json
import struct
import wave
from collections.abc import Iterator
from pathlib import Path

import websockets

HEADER = struct.Struct("<dII")  # time in seconds, bytes of the JPEG image, samples
MAX_AHEAD_S = 5.0  # audio sent before it is heard; the server closes the socket at 60 s
parser = argparse.ArgumentParser(description="Send a WAV file to a live session and save its frames and audio.")
parser.add_argument("wav", help="mono, PCM16")
parser.add_argument("--face", required=True, help="name of a prepared face")
parser.add_argument("--out", type=Path, default=Path("frames"), help="folder of the result")
parser.add_argument("--url", default="ws://127.0.0.1:7860/v1/live")
parser.add_argument("--key", default="", help="API key, if the server has keys")


def chunks(wav: wave.Wave_read) -> Iterator[bytes]:  # of 0.1 s; those of a text-to-speech model are sent likewise
    while data := wav.readframes(wav.getframerate() // 10):
        yield data


async def run(args: argparse.Namespace, wav: wave.Wave_read) -> None:
    rate, time, audio = wav.getframerate(), 0.0, bytearray()
    args.out.mkdir(parents=True, exist_ok=True)
    key = {"Authorization": f"Bearer {args.key}"}
    async with websockets.connect(args.url, additional_headers=key) as socket, asyncio.TaskGroup() as tasks:

        async def send() -> None:
            start = {"type": "start", "face": args.face, "sample_rate": rate, "format": "jpeg"}
            await socket.send(json.dumps(start))
            for number, data in enumerate(chunks(wav)):
                while number / 10 > time + MAX_AHEAD_S:
                    await asyncio.sleep(0.1)
                await socket.send(data)
            await socket.send(json.dumps({"type": "end"}))

        tasks.create_task(send())
        async for message in socket:
            if isinstance(message, str):
                print(message)
                continue
            time, size, _ = HEADER.unpack_from(message)
            (args.out / f"{time:09.3f}.jpg").write_bytes(message[HEADER.size : HEADER.size + size])
            audio += message[HEADER.size + size :]
    with wave.open(str(args.out / "audio.wav"), "wb") as result:
        result.setparams((1, 2, rate, 0, "NONE", ""))
        result.writeframes(audio)


if __name__ == "__main__":
    arguments = parser.parse_args()
    with wave.open(arguments.wav) as speech:
        asyncio.run(run(arguments, speech))
