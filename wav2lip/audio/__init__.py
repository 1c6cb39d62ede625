"""Audio at 16 kHz: loading, mel spectrogram, MFCC, windows per video frame, voice activity."""

from wav2lip.audio.mel import load_wav, melspectrogram

__all__ = ["load_wav", "melspectrogram"]
