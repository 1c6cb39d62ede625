"""The three trainers: `syncnet`, `wav2lip` and `wav2lip_gan`, over one loop."""
