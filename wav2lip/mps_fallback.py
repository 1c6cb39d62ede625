"""Operations that Apple's GPUs lack in torch run on the CPU instead of stopping the program.

Torch reads this variable once, when it is imported: `wav2lip.infer` imports this module before anything that imports
torch. A program that uses the library does the same, or sets the variable itself. One that is set stays as it is.
"""

import os

os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
