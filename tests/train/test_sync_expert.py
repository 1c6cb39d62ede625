"""Embeddings of single windows by an expert in training mode."""

import torch

from models import SyncNet
from train.sync_expert import embed


def test_single_window_is_embedded_in_eval_mode():
    torch.manual_seed(0)
    expert = SyncNet(width=0.125)
    mel, lips = torch.rand(2, 1, 80, 16), torch.rand(2, 15, 48, 96)
    single, pair = embed(expert.train(), mel[:1], lips[:1]), embed(expert, mel, lips)
    assert expert.training
    with torch.no_grad():
        fresh = SyncNet(width=0.125)
        fresh.load_state_dict(expert.state_dict())
        torch.testing.assert_close(pair[0], fresh.train()(mel, lips)[0])
    torch.manual_seed(0)
    torch.testing.assert_close(single[0], SyncNet(width=0.125).eval()(mel[:1], lips[:1])[0])
